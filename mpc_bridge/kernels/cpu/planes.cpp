// The bit-plane machine: straight-line microcode on planes of bits, one lane per bit.
//
// Planes are cut into tiles that stay in the first-level caches while all instructions run over them, so a stage of a
// circuit reads and writes memory once, whatever its length.
#include <string.h>

#include "kernels.h"
#include "prf.h"

namespace mpcb::MPCB_TARGET {

namespace {

constexpr size_t kTile = 512;

// may_alias and aligned(1): rows are byte buffers of any alignment.
typedef uint64_t Vector __attribute__((vector_size(64), aligned(1), may_alias));

inline const Vector* vectors(const uint8_t* bytes) { return reinterpret_cast<const Vector*>(bytes); }
inline Vector* vectors(uint8_t* bytes) { return reinterpret_cast<Vector*>(bytes); }

struct Row {
  uint8_t* base;
  size_t stride, offset;
  uint8_t* operator[](int32_t number) const { return base + static_cast<size_t>(number) * stride + offset; }
};

void run_tile(const PlaneRun& run, const PrfSchedule* schedules, size_t offset, size_t length) {
  const Row row{run.planes, run.stride, offset};
  const size_t count = length / sizeof(Vector);
  const size_t blocks_per_plane = (run.bytes + sizeof(Vector) - 1) / sizeof(Vector) * (sizeof(Vector) / kBlockBytes);
  const size_t wire = offset >= run.bytes ? 0 : (run.bytes - offset < length ? run.bytes - offset : length);
  alignas(64) uint8_t pad[kTile];
  for (size_t i = 0; i < run.instructions; i++) {
    const int32_t* const code = run.code + 4 * i;
    const int32_t d = code[1], a = code[2], b = code[3];
    const size_t block = static_cast<size_t>(b) * blocks_per_plane + offset / kBlockBytes;
    switch (code[0]) {
      case MPCB_PLANE_ZERO:
        memset(row[d], 0, length);
        break;
      case MPCB_PLANE_ONES:
        memset(row[d], 0xff, length);
        break;
      case MPCB_PLANE_COPY:
        memmove(row[d], row[a], length);
        break;
      case MPCB_PLANE_XOR: {
        Vector* const out = vectors(row[d]);
        const Vector *const x = vectors(row[a]), *const y = vectors(row[b]);
        for (size_t j = 0; j < count; j++) out[j] = x[j] ^ y[j];
        break;
      }
      case MPCB_PLANE_AND: {
        Vector* const out = vectors(row[d]);
        const Vector *const x = vectors(row[a]), *const y = vectors(row[b]);
        for (size_t j = 0; j < count; j++) out[j] = x[j] & y[j];
        break;
      }
      case MPCB_PLANE_XORAND: {
        Vector* const out = vectors(row[d]);
        const Vector *const x = vectors(row[a]), *const y = vectors(row[b]);
        for (size_t j = 0; j < count; j++) out[j] ^= x[j] & y[j];
        break;
      }
      case MPCB_PLANE_NOT: {
        Vector* const out = vectors(row[d]);
        const Vector* const x = vectors(row[a]);
        for (size_t j = 0; j < count; j++) out[j] = ~x[j];
        break;
      }
      case MPCB_PLANE_PRF:
        keystream(schedules[a], run.domain, block, row[d], length / kBlockBytes);
        break;
      case MPCB_PLANE_XPRF: {
        keystream(schedules[a], run.domain, block, pad, length / kBlockBytes);
        Vector* const out = vectors(row[d]);
        for (size_t j = 0; j < count; j++) out[j] ^= vectors(pad)[j];
        break;
      }
      case MPCB_PLANE_SEND:
        memcpy(run.outgoing + static_cast<size_t>(b) * run.bytes + offset, row[a], wire);
        break;
      case MPCB_PLANE_RECV:
        memcpy(row[d], run.incoming + static_cast<size_t>(b) * run.bytes + offset, wire);
        memset(row[d] + wire, 0, length - wire);
        break;
    }
  }
}

void run(const PlaneRun& run) {
  PrfSchedule schedules[MPCB_PLANE_KEYS];
  for (size_t key = 0; key < run.key_count; key++) prf_expand(run.keys + kBlockBytes * key, schedules[key]);
  const size_t used = (run.bytes + sizeof(Vector) - 1) / sizeof(Vector) * sizeof(Vector);
  for (size_t offset = 0; offset < used; offset += kTile)
    run_tile(run, schedules, offset, used - offset < kTile ? used - offset : kTile);
  wipe(schedules, sizeof schedules);
}

}  // namespace

const PlaneKernels plane_kernels = {.run = run};

}  // namespace mpcb::MPCB_TARGET
