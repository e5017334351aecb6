// Bit matrix transposition on 64-bit words. Per target, see kernels.h.
#pragma once

#include "kernels.h"

namespace mpcb::MPCB_TARGET {

// Bit j of row i becomes bit i of row j, in place: swaps ever smaller off-diagonal blocks.
static inline void transpose_64x64(uint64_t (&row)[64]) {
  uint64_t mask = 0x00000000ffffffffu;
  for (unsigned half = 32; half != 0; half >>= 1, mask ^= mask << half)
    for (unsigned i = 0; i < 64; i = ((i | half) + 1) & ~half) {
      const uint64_t swap = ((row[i] >> half) ^ row[i | half]) & mask;
      row[i] ^= swap << half;
      row[i | half] ^= swap;
    }
}

}  // namespace mpcb::MPCB_TARGET
