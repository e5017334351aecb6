// Records of a boolean circuit as rows of field elements: words of a tile, and the weight of each row. Per target, see
// kernels.h.
#pragma once

#include <cstring>

#include "kernels.h"

namespace mpcb::MPCB_TARGET {

// A tile is kParts words of a register: parts of a row, 64 lanes each.
constexpr size_t kParts = 64;
constexpr size_t kTileBytes = 8 * kParts;
constexpr size_t kTileLanes = 64 * kParts;

static inline size_t tiles_of(const GfRecord& record) { return (record.lanes + kTileLanes - 1) / kTileLanes; }

// One register's words in one tile; lanes past the last one are zero.
static inline void load_parts(const GfRecord& record, size_t tile, int32_t number, uint64_t* words) {
  const uint8_t* const from = record.planes + static_cast<size_t>(number) * record.stride + tile * kTileBytes;
  const size_t lanes = record.lanes - tile * kTileLanes;
  if (lanes >= kTileLanes) {
    memcpy(words, from, kTileBytes);
    return;
  }
  const size_t whole = lanes / 64, rest = lanes % 64;
  memset(words, 0, kTileBytes);
  memcpy(words, from, 8 * whole);
  if (rest != 0) {
    memcpy(words + whole, from + 8 * whole, 8);  // rows end at a multiple of 64 bytes
    words[whole] &= (uint64_t{1} << rest) - 1;
  }
}

// The public weights: 64-bit words of a PRF stream by index, made a window at a time.
class Weights {
 public:
  explicit Weights(const GfRecord& record) : key(record.key), domain(record.domain) {}

  uint64_t operator[](uint64_t index) {
    if (index - begin >= made) {
      begin = index & ~uint64_t{1};  // two words in a block
      made = kWindow;
      prf_kernels.fill(key, domain, begin / 2, reinterpret_cast<uint8_t*>(window), sizeof window);
    }
    return window[index - begin];
  }

 private:
  static constexpr uint64_t kWindow = 128;
  const uint8_t* key;
  uint64_t domain, begin = 0, made = 0;
  alignas(64) uint64_t window[kWindow];
};

static inline uint64_t weight_index(const GfRecord& record, size_t tile, size_t group) {
  return record.first + tile * record.groups + group;
}

}  // namespace mpcb::MPCB_TARGET
