// Elements modulo 2^128: two little-endian words in memory, one 128-bit integer in registers. Per target, see
// kernels.h.
#pragma once

#include "kernels.h"

namespace mpcb::MPCB_TARGET {

typedef unsigned __int128 Wide;

static inline Wide wide(uint64_t low, uint64_t high) { return static_cast<Wide>(high) << 64 | low; }

static inline Wide load_wide(const uint64_t* from) { return wide(from[0], from[1]); }

static inline void store_wide(uint64_t* to, Wide x) {
  to[0] = static_cast<uint64_t>(x);
  to[1] = static_cast<uint64_t>(x >> 64);
}

// A public constant that a signed word holds, modulo 2^128.
static inline Wide wide_constant(int64_t x) { return static_cast<Wide>(static_cast<__int128>(x)); }

// x * y for a ring element y and one word x: two multiplications instead of three.
static inline Wide times_word(uint64_t x, const uint64_t* y) { return static_cast<Wide>(x) * y[0] + wide(0, x * y[1]); }

}  // namespace mpcb::MPCB_TARGET
