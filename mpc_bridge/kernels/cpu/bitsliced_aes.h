// AES on bit planes: every operation is on whole machine words, so nothing secret becomes an address or a branch.
//
// The S-box inverts in the tower field GF(((2^2)^2)^2): GF(4) = GF(2)[w]/(w^2 + w + 1), GF(16) = GF(4)[x]/(x^2 + x +
// w), GF(256) = GF(16)[y]/(y^2 + y + w x). Bits, low to high: 1, w, x, wx, y, wy, xy, wxy. The two matrices below
// change basis (X of FIPS-197 maps to the tower element 122) and back, the latter composed with the S-box's affine map.
#pragma once

#include "kernels.h"

namespace mpcb::MPCB_TARGET {

template <class W>
struct Gf4 {
  W c0, c1;
};
template <class W>
static inline Gf4<W> operator^(Gf4<W> a, Gf4<W> b) {
  return {a.c0 ^ b.c0, a.c1 ^ b.c1};
}
template <class W>
static inline Gf4<W> operator*(Gf4<W> a, Gf4<W> b) {
  const W low = a.c0 & b.c0;
  return {low ^ (a.c1 & b.c1), ((a.c0 ^ a.c1) & (b.c0 ^ b.c1)) ^ low};
}
template <class W>
static inline Gf4<W> square(Gf4<W> a) {
  return {a.c0 ^ a.c1, a.c1};
}
template <class W>
static inline Gf4<W> times_w(Gf4<W> a) {
  return {a.c1, a.c0 ^ a.c1};
}

template <class W>
struct Gf16 {
  Gf4<W> c0, c1;
};
template <class W>
static inline Gf16<W> operator^(Gf16<W> a, Gf16<W> b) {
  return {a.c0 ^ b.c0, a.c1 ^ b.c1};
}
template <class W>
static inline Gf16<W> operator*(Gf16<W> a, Gf16<W> b) {
  const Gf4<W> low = a.c0 * b.c0;
  return {low ^ times_w(a.c1 * b.c1), ((a.c0 ^ a.c1) * (b.c0 ^ b.c1)) ^ low};
}
template <class W>
static inline Gf16<W> square(Gf16<W> a) {
  const Gf4<W> high = square(a.c1);
  return {square(a.c0) ^ times_w(high), high};
}
template <class W>
static inline Gf16<W> times_wx(Gf16<W> a) {
  return {times_w(times_w(a.c1)), times_w(a.c0 ^ a.c1)};
}
// The conjugate over the norm; in GF(4) the inverse is the square. Zero maps to zero.
template <class W>
static inline Gf16<W> inverse(Gf16<W> a) {
  const Gf4<W> norm = times_w(square(a.c1)) ^ (a.c0 * a.c1) ^ square(a.c0);
  const Gf4<W> unnorm = square(norm);
  return {(a.c0 ^ a.c1) * unnorm, a.c1 * unnorm};
}

// out[i] = sum of in[j] over the set bits j of rows[i].
template <class W>
static inline void change_basis(const uint8_t (&rows)[8], const W (&in)[8], W (&out)[8]) {
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    W sum{};
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
      if (rows[i] >> j & 1) sum ^= in[j];
    out[i] = sum;
  }
}

// SubBytes on eight bit planes, low to high.
template <class W>
static inline void sub_bytes(W (&plane)[8]) {
  static constexpr uint8_t to_tower[8] = {0x05, 0xc2, 0x24, 0xca, 0xa2, 0x72, 0x7e, 0xa0};
  static constexpr uint8_t from_tower_affine[8] = {0x35, 0x07, 0x03, 0x75, 0x39, 0x3c, 0xd0, 0x54};
  W t[8];
  change_basis(to_tower, plane, t);
  const Gf16<W> low = {{t[0], t[1]}, {t[2], t[3]}}, high = {{t[4], t[5]}, {t[6], t[7]}};
  const Gf16<W> unnorm = inverse(times_wx(square(high)) ^ (low * high) ^ square(low));
  const Gf16<W> inverse_low = (low ^ high) * unnorm, inverse_high = high * unnorm;
  const W u[8] = {inverse_low.c0.c0,  inverse_low.c0.c1,  inverse_low.c1.c0,  inverse_low.c1.c1,
                  inverse_high.c0.c0, inverse_high.c0.c1, inverse_high.c1.c0, inverse_high.c1.c1};
  change_basis(from_tower_affine, u, plane);
  // + 0x63
  plane[0] = ~plane[0];
  plane[1] = ~plane[1];
  plane[5] = ~plane[5];
  plane[6] = ~plane[6];
}

}  // namespace mpcb::MPCB_TARGET
