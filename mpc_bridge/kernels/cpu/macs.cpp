// The MAC machine: what a boolean circuit does to the MACs of its wires, one word per wire and lane.
//
// A MAC is linear, so a circuit whose products are opened does nothing to it but XOR it, or AND it with a public bit.
// All registers of 64 lanes stay in the second-level cache while the whole circuit runs over them.
#include <string.h>

#include "kernels.h"
#include "prf.h"

namespace mpcb::MPCB_TARGET {

namespace {

constexpr size_t kLanes = 64;
constexpr size_t kTileBytes = kLanes * sizeof(uint64_t);
constexpr size_t kTileBlocks = kTileBytes / kBlockBytes;

// out ^= a where the lane's bit is set
inline void xor_where(uint64_t* out, const uint64_t* a, uint64_t bits) {
#ifdef MPCB_TARGET_avx512
  for (size_t j = 0; j < kLanes; j += 8) {
    const __m512i was = _mm512_load_si512(out + j);
    _mm512_store_si512(out + j,
                       _mm512_mask_xor_epi64(was, static_cast<__mmask8>(bits >> j), was, _mm512_load_si512(a + j)));
  }
#else
  for (size_t j = 0; j < kLanes; j++) out[j] ^= a[j] & (0 - (bits >> j & 1));
#endif
}

// out ^= key where the lane's bit is set
inline void key_where(uint64_t* out, uint64_t key, uint64_t bits) {
#ifdef MPCB_TARGET_avx512
  const __m512i keys = _mm512_set1_epi64(static_cast<long long>(key));
  for (size_t j = 0; j < kLanes; j += 8) {
    const __m512i was = _mm512_load_si512(out + j);
    _mm512_store_si512(out + j, _mm512_mask_xor_epi64(was, static_cast<__mmask8>(bits >> j), was, keys));
  }
#else
  for (size_t j = 0; j < kLanes; j++) out[j] ^= key & (0 - (bits >> j & 1));
#endif
}

// The 64 bits of a plane from this lane on, zero past its end.
inline uint64_t load_bits(const uint8_t* plane, size_t lanes, size_t lane) {
  const size_t rest = lanes - lane;
  uint64_t bits = 0;
  if (rest >= kLanes) {
    memcpy(&bits, plane + lane / 8, 8);
    return bits;
  }
  memcpy(&bits, plane + lane / 8, (rest + 7) / 8);
  return bits & ((uint64_t{1} << rest) - 1);
}

// The pad of up to 64 lanes; what lies past them is left as it is.
inline void fill_pad(const PrfSchedule& schedule, uint64_t domain, size_t block, size_t count, uint64_t* out) {
  keystream(schedule, domain, block, reinterpret_cast<uint8_t*>(out), (count + 1) / 2);
}

size_t row_blocks(size_t lanes) { return (lanes + kLanes - 1) / kLanes * kTileBlocks; }

void run_tile(const MacRun& run, const PrfSchedule& schedule, size_t lane, uint64_t* words, uint64_t* bits) {
  const size_t blocks = row_blocks(run.lanes), block = lane / kLanes * kTileBlocks;
  const size_t count = run.lanes - lane < kLanes ? run.lanes - lane : kLanes;
  const auto row = [words](int32_t number) { return words + static_cast<size_t>(number) * kLanes; };
  for (size_t i = 0; i < run.instructions; i++) {
    const int32_t* const code = run.code + 4 * i;
    const int32_t d = code[1], a = code[2], b = code[3];
    switch (code[0]) {
      case MPCB_MAC_BIT_ONES:
        bits[d] = ~uint64_t{0};
        break;
      case MPCB_MAC_BIT_LOAD:
        bits[d] = load_bits(run.planes[b], run.lanes, lane);
        break;
      case MPCB_MAC_BIT_XOR:
        bits[d] = bits[a] ^ bits[b];
        break;
      case MPCB_MAC_BIT_AND:
        bits[d] = bits[a] & bits[b];
        break;
      case MPCB_MAC_BIT_NOT:
        bits[d] = ~bits[a];
        break;
      case MPCB_MAC_ZERO:
        memset(row(d), 0, kTileBytes);
        break;
      case MPCB_MAC_LOAD:
        memcpy(row(d), run.in[b] + lane, count * sizeof(uint64_t));
        memset(row(d) + count, 0, kTileBytes - count * sizeof(uint64_t));
        break;
      case MPCB_MAC_PRF:
        fill_pad(schedule, run.domain, static_cast<size_t>(b) * blocks + block, count, row(d));
        break;
      case MPCB_MAC_XOR: {
        uint64_t* const out = row(d);
        const uint64_t *const x = row(a), *const y = row(b);
        for (size_t j = 0; j < kLanes; j++) out[j] = x[j] ^ y[j];
        break;
      }
      case MPCB_MAC_XORAND:
        xor_where(row(d), row(a), bits[b]);
        break;
      case MPCB_MAC_XORKEY:
        key_where(row(d), run.delta, bits[b]);
        break;
      case MPCB_MAC_STORE:
        memcpy(run.out[b] + lane, row(a), count * sizeof(uint64_t));
        break;
    }
  }
}

void run(const MacRun& run, uint64_t* words, uint64_t* bits) {
  PrfSchedule schedule;
  prf_expand(run.key, schedule);
  for (size_t lane = 0; lane < run.lanes; lane += kLanes) run_tile(run, schedule, lane, words, bits);
  wipe(&schedule, sizeof schedule);
}

void deal(const uint8_t* planes, size_t stride, size_t rows, size_t lanes, uint64_t delta, const uint8_t* keys,
          size_t key_count, uint64_t domain, uint64_t* out) {
  PrfSchedule schedules[MPCB_PLANE_KEYS];
  for (size_t key = 0; key < key_count; key++) prf_expand(keys + kBlockBytes * key, schedules[key]);
  const size_t blocks = row_blocks(lanes);
  alignas(64) uint64_t word[kLanes], pad[kLanes];
  for (size_t r = 0; r < rows; r++)
    for (size_t lane = 0; lane < lanes; lane += kLanes) {
      const size_t count = lanes - lane < kLanes ? lanes - lane : kLanes;
      memset(word, 0, sizeof word);
      key_where(word, delta, load_bits(planes + r * stride, lanes, lane));
      for (size_t key = 0; key < key_count; key++) {
        fill_pad(schedules[key], domain, r * blocks + lane / kLanes * kTileBlocks, count, pad);
        for (size_t j = 0; j < count; j++) word[j] ^= pad[j];
      }
      memcpy(out + r * lanes + lane, word, count * sizeof(uint64_t));
    }
  wipe(schedules, sizeof schedules);
  wipe(word, sizeof word);
  wipe(pad, sizeof pad);
}

}  // namespace

const MacKernels mac_kernels = {.run = run, .deal = deal};

}  // namespace mpcb::MPCB_TARGET
