// Register tiles of the ring matrix product: z[rows][16] (+)= a[rows][depth] * b[depth][16] modulo 2^64. Per target.
//
// b is one packed panel of 16 columns; a is row major. Loads and stores are unaligned.
#pragma once

#include <cstring>

#include "kernels.h"
#ifndef MPCB_TARGET_portable
#include <immintrin.h>
#endif

namespace mpcb::MPCB_TARGET {

constexpr size_t kPanel = 16;

// Stores one tile row; `columns` <= 16 are real, the rest is padding of the last panel.
static inline void store_row(const uint64_t (&sums)[kPanel], uint64_t* z, size_t columns, bool accumulate) {
  for (size_t c = 0; c < columns; c++) z[c] = accumulate ? z[c] + sums[c] : sums[c];
}

#if defined(MPCB_TARGET_avx512)

// 8 x 16 accumulators fill 16 of the 32 registers and cover the multiplier's latency.
constexpr size_t kTileRows = 8;

template <int Rows>
static inline void tile(const uint64_t* a, size_t a_stride, const uint64_t* b, size_t depth, uint64_t* z,
                        size_t z_stride, size_t columns, bool accumulate) {
  __m512i sum[Rows][2];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; r++) sum[r][0] = sum[r][1] = _mm512_setzero_si512();
  for (size_t k = 0; k < depth; k++) {
    const __m512i b0 = _mm512_loadu_si512(b + kPanel * k), b1 = _mm512_loadu_si512(b + kPanel * k + 8);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
      const __m512i factor = _mm512_set1_epi64(static_cast<int64_t>(a[static_cast<size_t>(r) * a_stride + k]));
      sum[r][0] = _mm512_add_epi64(sum[r][0], _mm512_mullo_epi64(factor, b0));
      sum[r][1] = _mm512_add_epi64(sum[r][1], _mm512_mullo_epi64(factor, b1));
    }
  }
  const __mmask8 low = static_cast<__mmask8>(columns >= 8 ? 0xff : (1u << columns) - 1);
  const __mmask8 high = static_cast<__mmask8>(columns >= 8 ? (1u << (columns - 8)) - 1 : 0);
#pragma GCC unroll 8
  for (int r = 0; r < Rows; r++) {
    uint64_t* row = z + static_cast<size_t>(r) * z_stride;
    if (accumulate) {
      sum[r][0] = _mm512_add_epi64(sum[r][0], _mm512_maskz_loadu_epi64(low, row));
      sum[r][1] = _mm512_add_epi64(sum[r][1], _mm512_maskz_loadu_epi64(high, row + 8));
    }
    _mm512_mask_storeu_epi64(row, low, sum[r][0]);
    _mm512_mask_storeu_epi64(row + 8, high, sum[r][1]);
  }
}

#elif defined(MPCB_TARGET_avx2)

constexpr size_t kTileRows = 4;

// There is no 64-bit multiplier: a * b = al * bl + 2^32 (ah * bl + al * bh), and the two sums are shifted together only
// once.
template <int Rows>
static inline void tile(const uint64_t* a, size_t a_stride, const uint64_t* b, size_t depth, uint64_t* z,
                        size_t z_stride, size_t columns, bool accumulate) {
  uint64_t sums[Rows][kPanel];
  for (size_t c = 0; c < kPanel; c += 4) {
    __m256i low[Rows], cross[Rows];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; r++) low[r] = cross[r] = _mm256_setzero_si256();
    for (size_t k = 0; k < depth; k++) {
      const __m256i b_low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + kPanel * k + c));
      const __m256i b_high = _mm256_srli_epi64(b_low, 32);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; r++) {
        const uint64_t factor = a[static_cast<size_t>(r) * a_stride + k];
        const __m256i a_low = _mm256_set1_epi64x(static_cast<int64_t>(factor));
        const __m256i a_high = _mm256_srli_epi64(a_low, 32);
        low[r] = _mm256_add_epi64(low[r], _mm256_mul_epu32(a_low, b_low));
        cross[r] = _mm256_add_epi64(cross[r],
                                    _mm256_add_epi64(_mm256_mul_epu32(a_high, b_low), _mm256_mul_epu32(a_low, b_high)));
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; r++)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(&sums[r][c]),
                          _mm256_add_epi64(low[r], _mm256_slli_epi64(cross[r], 32)));
  }
  for (int r = 0; r < Rows; r++) store_row(sums[r], z + static_cast<size_t>(r) * z_stride, columns, accumulate);
}

#else

constexpr size_t kTileRows = 2;

// Four columns at a time: the accumulators fit in general registers, whose multiplier is 64 bits wide.
template <int Rows>
static inline void tile(const uint64_t* a, size_t a_stride, const uint64_t* b, size_t depth, uint64_t* z,
                        size_t z_stride, size_t columns, bool accumulate) {
  uint64_t sums[Rows][kPanel];
  for (size_t c = 0; c < kPanel; c += 4) {
    uint64_t sum[Rows][4] = {};
    for (size_t k = 0; k < depth; k++)
#pragma GCC unroll 2
      for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
          sum[r][j] += a[static_cast<size_t>(r) * a_stride + k] * b[kPanel * k + c + static_cast<size_t>(j)];
    for (int r = 0; r < Rows; r++) memcpy(&sums[r][c], sum[r], sizeof sum[r]);
  }
  for (int r = 0; r < Rows; r++) store_row(sums[r], z + static_cast<size_t>(r) * z_stride, columns, accumulate);
}

#endif

// Any number of rows against one panel.
static inline void panel_product(const uint64_t* a, size_t a_stride, size_t rows, const uint64_t* b, size_t depth,
                                 uint64_t* z, size_t z_stride, size_t columns, bool accumulate) {
  size_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows)
    tile<static_cast<int>(kTileRows)>(a + r * a_stride, a_stride, b, depth, z + r * z_stride, z_stride, columns,
                                      accumulate);
  a += r * a_stride;
  z += r * z_stride;
  switch (rows - r) {
#if defined(MPCB_TARGET_avx512)
    case 7:
      return tile<7>(a, a_stride, b, depth, z, z_stride, columns, accumulate);
    case 6:
      return tile<6>(a, a_stride, b, depth, z, z_stride, columns, accumulate);
    case 5:
      return tile<5>(a, a_stride, b, depth, z, z_stride, columns, accumulate);
    case 4:
      return tile<4>(a, a_stride, b, depth, z, z_stride, columns, accumulate);
#endif
#if !defined(MPCB_TARGET_portable)
    case 3:
      return tile<3>(a, a_stride, b, depth, z, z_stride, columns, accumulate);
    case 2:
      return tile<2>(a, a_stride, b, depth, z, z_stride, columns, accumulate);
#endif
    case 1:
      return tile<1>(a, a_stride, b, depth, z, z_stride, columns, accumulate);
    default:
      return;
  }
}

}  // namespace mpcb::MPCB_TARGET
