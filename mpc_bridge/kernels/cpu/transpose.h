// Transposition of bits and bytes, 64 elements at a time. Per target, see kernels.h.
//
// A 64 x 64 bit matrix is transposed in two halves: words to byte rows (row b holds byte b of all 64 words), then each
// byte row to eight bit planes. Only the byte rows that are asked for are taken.
#pragma once

#include <cstring>

#include "kernels.h"
#ifndef MPCB_TARGET_portable
#include <immintrin.h>
#endif

namespace mpcb::MPCB_TARGET {

constexpr size_t kLanes = 64;

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

// Byte j of row i becomes byte i of row j, in place.
static inline void transpose_bytes_8x8(uint64_t (&row)[8]) {
  uint64_t mask = 0x00000000ffffffffu;
  for (unsigned half = 4; half != 0; half >>= 1, mask ^= mask << (8 * half))
    for (unsigned i = 0; i < 8; i = ((i | half) + 1) & ~half) {
      const uint64_t swap = ((row[i] >> (8 * half)) ^ row[i | half]) & mask;
      row[i] ^= swap << (8 * half);
      row[i | half] ^= swap;
    }
}

// The 8 x 8 bit matrix whose row i is byte i.
static inline uint64_t transpose_bits_8x8(uint64_t m) {
  uint64_t swap = (m ^ (m >> 7)) & 0x00aa00aa00aa00aau;
  m ^= swap ^ (swap << 7);
  swap = (m ^ (m >> 14)) & 0x0000cccc0000ccccu;
  m ^= swap ^ (swap << 14);
  swap = (m ^ (m >> 28)) & 0x00000000f0f0f0f0u;
  return m ^ swap ^ (swap << 28);
}

using ByteRow = uint8_t[kLanes];

// Eight groups of 64 elements: as [group][plane], or transposed, one cache line of each of eight planes.
constexpr size_t kGroups = 8;
using Lines = uint64_t[8][kGroups];

#if defined(MPCB_TARGET_avx512)

// Qword j of register i becomes qword i of register j.
static inline void transpose_qwords_8x8(__m512i (&v)[8]) {
  __m512i a[8], b[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm512_unpacklo_epi64(v[i], v[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi64(v[i], v[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4)
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
      b[i + j] = _mm512_shuffle_i64x2(a[i + j], a[i + j + 2], 0x88);
      b[i + j + 2] = _mm512_shuffle_i64x2(a[i + j], a[i + j + 2], 0xdd);
    }
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) {
    v[j] = _mm512_shuffle_i64x2(b[j], b[j + 4], 0x88);
    v[j + 4] = _mm512_shuffle_i64x2(b[j], b[j + 4], 0xdd);
  }
}

static inline void transpose_lines(Lines& lines) {
  __m512i v[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) v[i] = _mm512_loadu_si512(lines[i]);
  transpose_qwords_8x8(v);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) _mm512_storeu_si512(lines[i], v[i]);
}

// Byte 8 i + j of a register goes to place 8 j + i: its own inverse.
static inline __m512i transpose_bytes_8x8(__m512i v) {
  const __m512i first =
      _mm512_set_epi64(0x3f372f271f170f07, 0x3e362e261e160e06, 0x3d352d251d150d05, 0x3c342c241c140c04,
                       0x3b332b231b130b03, 0x3a322a221a120a02, 0x3931292119110901, 0x3830282018100800);
  return _mm512_permutexvar_epi8(first, v);
}

// Transposes each 8 x 8 bit matrix (byte i is row i): the matrix times unit vector j is column j. GFNI numbers rows
// from the top byte down, hence the reversal.
static inline __m512i transpose_bits_8x8(__m512i v) {
  const __m512i reversed = _mm512_broadcast_i32x4(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  const __m512i units = _mm512_set1_epi64(static_cast<int64_t>(0x8040201008040201));
  return _mm512_gf2p8affine_epi64_epi8(units, _mm512_shuffle_epi8(v, reversed), 0);
}

static inline void bytes_of_words(const uint64_t* words, ByteRow* rows) {
  __m512i v[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) v[i] = transpose_bytes_8x8(_mm512_loadu_si512(words + 8 * i));
  transpose_qwords_8x8(v);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) _mm512_storeu_si512(rows[i], v[i]);
}

static inline void words_of_bytes(const ByteRow* rows, uint64_t* words) {
  __m512i v[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) v[i] = _mm512_loadu_si512(rows[i]);
  transpose_qwords_8x8(v);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) _mm512_storeu_si512(words + 8 * i, transpose_bytes_8x8(v[i]));
}

static inline void planes_of_bytes(const uint8_t* bytes, uint64_t (&planes)[8]) {
  _mm512_storeu_si512(planes, transpose_bytes_8x8(transpose_bits_8x8(_mm512_loadu_si512(bytes))));
}

static inline void bytes_of_planes(const uint64_t (&planes)[8], uint8_t* bytes) {
  _mm512_storeu_si512(bytes, transpose_bits_8x8(transpose_bytes_8x8(_mm512_loadu_si512(planes))));
}

#else

static inline void transpose_lines(Lines& lines) {
  for (size_t i = 0; i < 8; i++)
    for (size_t j = 0; j < i; j++) {
      const uint64_t word = lines[i][j];
      lines[i][j] = lines[j][i];
      lines[j][i] = word;
    }
}

#endif

#if defined(MPCB_TARGET_avx2)

static inline __m128i load_16(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
static inline void store_16(void* to, __m128i v) { _mm_storeu_si128(static_cast<__m128i*>(to), v); }

// 16 words at a time: bytes of equal index meet in pairs, then fours, eights, sixteens.
static inline void bytes_of_words(const uint64_t* words, ByteRow* rows) {
  const __m128i pair = _mm_set_epi8(15, 7, 14, 6, 13, 5, 12, 4, 11, 3, 10, 2, 9, 1, 8, 0);
  for (int first = 0; first < 64; first += 16) {
    __m128i a[8], b[8], c[8];
    for (int i = 0; i < 8; i++) a[i] = _mm_shuffle_epi8(load_16(words + first + 2 * i), pair);
    for (int i = 0; i < 8; i += 2) {
      b[i] = _mm_unpacklo_epi16(a[i], a[i + 1]);
      b[i + 1] = _mm_unpackhi_epi16(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
      for (int j = 0; j < 2; j++) {
        c[i + 2 * j] = _mm_unpacklo_epi32(b[i + j], b[i + j + 2]);
        c[i + 2 * j + 1] = _mm_unpackhi_epi32(b[i + j], b[i + j + 2]);
      }
    for (int j = 0; j < 4; j++) {
      store_16(rows[2 * j] + first, _mm_unpacklo_epi64(c[j], c[j + 4]));
      store_16(rows[2 * j + 1] + first, _mm_unpackhi_epi64(c[j], c[j + 4]));
    }
  }
}

static inline void words_of_bytes(const ByteRow* rows, uint64_t* words) {
  for (int first = 0; first < 64; first += 16) {
    __m128i a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
      const __m128i even = load_16(rows[i] + first), odd = load_16(rows[i + 1] + first);
      a[i] = _mm_unpacklo_epi8(even, odd);
      a[i + 1] = _mm_unpackhi_epi8(even, odd);
    }
    for (int i = 0; i < 8; i += 4)
      for (int j = 0; j < 2; j++) {
        b[i + 2 * j] = _mm_unpacklo_epi16(a[i + j], a[i + j + 2]);
        b[i + 2 * j + 1] = _mm_unpackhi_epi16(a[i + j], a[i + j + 2]);
      }
    for (int j = 0; j < 4; j++) {
      store_16(words + first + 4 * j, _mm_unpacklo_epi32(b[j], b[j + 4]));
      store_16(words + first + 4 * j + 2, _mm_unpackhi_epi32(b[j], b[j + 4]));
    }
  }
}

static inline void planes_of_bytes(const uint8_t* bytes, uint64_t (&planes)[8]) {
  __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
  __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + 32));
#pragma GCC unroll 8
  for (int b = 7; b >= 0; b--) {
    planes[b] = static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(low))) |
                static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(high))) << 32;
    low = _mm256_add_epi8(low, low);
    high = _mm256_add_epi8(high, high);
  }
}

// The bit matrices of transpose_bits_8x8, four at a time.
static inline __m256i transpose_bits_8x8(__m256i m) {
  __m256i swap = _mm256_and_si256(_mm256_xor_si256(m, _mm256_srli_epi64(m, 7)), _mm256_set1_epi64x(0x00aa00aa00aa00aa));
  m = _mm256_xor_si256(m, _mm256_xor_si256(swap, _mm256_slli_epi64(swap, 7)));
  swap = _mm256_and_si256(_mm256_xor_si256(m, _mm256_srli_epi64(m, 14)), _mm256_set1_epi64x(0x0000cccc0000cccc));
  m = _mm256_xor_si256(m, _mm256_xor_si256(swap, _mm256_slli_epi64(swap, 14)));
  swap = _mm256_and_si256(_mm256_xor_si256(m, _mm256_srli_epi64(m, 28)), _mm256_set1_epi64x(0x00000000f0f0f0f0));
  return _mm256_xor_si256(m, _mm256_xor_si256(swap, _mm256_slli_epi64(swap, 28)));
}

static inline void bytes_of_planes(const uint64_t (&planes)[8], uint8_t* bytes) {
  __m128i a[4], b[4];
  for (int i = 0; i < 4; i++) {
    const __m128i pair = load_16(planes + 2 * i);
    a[i] = _mm_unpacklo_epi8(pair, _mm_unpackhi_epi64(pair, pair));
  }
  for (int i = 0; i < 4; i += 2) {
    b[i] = _mm_unpacklo_epi16(a[i], a[i + 1]);
    b[i + 1] = _mm_unpackhi_epi16(a[i], a[i + 1]);
  }
  for (int j = 0; j < 2; j++) {
    const __m256i words = _mm256_set_m128i(_mm_unpackhi_epi32(b[j], b[j + 2]), _mm_unpacklo_epi32(b[j], b[j + 2]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes + 32 * j), transpose_bits_8x8(words));
  }
}

#elif defined(MPCB_TARGET_portable)

static inline void bytes_of_words(const uint64_t* words, ByteRow* rows) {
  for (int first = 0; first < 64; first += 8) {
    uint64_t block[8];
    memcpy(block, words + first, sizeof block);
    transpose_bytes_8x8(block);
    for (int b = 0; b < 8; b++) memcpy(rows[b] + first, &block[b], 8);
  }
}

static inline void words_of_bytes(const ByteRow* rows, uint64_t* words) {
  for (int first = 0; first < 64; first += 8) {
    uint64_t block[8];
    for (int b = 0; b < 8; b++) memcpy(&block[b], rows[b] + first, 8);
    transpose_bytes_8x8(block);
    memcpy(words + first, block, sizeof block);
  }
}

static inline void planes_of_bytes(const uint8_t* bytes, uint64_t (&planes)[8]) {
  memcpy(planes, bytes, sizeof planes);
  for (int i = 0; i < 8; i++) planes[i] = transpose_bits_8x8(planes[i]);
  transpose_bytes_8x8(planes);
}

static inline void bytes_of_planes(const uint64_t (&planes)[8], uint8_t* bytes) {
  uint64_t row[8];
  memcpy(row, planes, sizeof row);
  transpose_bytes_8x8(row);
  for (int i = 0; i < 8; i++) row[i] = transpose_bits_8x8(row[i]);
  memcpy(bytes, row, sizeof row);
}

#endif

}  // namespace mpcb::MPCB_TARGET
