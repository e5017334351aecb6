// GF(2^64) = GF(2)[X] / (X^64 + X^4 + X^3 + X + 1): carry-less products, unreduced and reduced. Per target, see
// kernels.h.
//
// An element is a word, bit i the coefficient of X^i. Products are added before they are reduced. Step is as many
// elements as one instruction of the target multiplies; Sum is the accumulator of their products.
#pragma once

#include <cstring>

#include "kernels.h"
#ifndef MPCB_TARGET_portable
#include <immintrin.h>
#endif

namespace mpcb::MPCB_TARGET {

// A polynomial below degree 128, not reduced.
struct Product {
  uint64_t low, high;
};

// X^64 = X^4 + X^3 + X + 1: the high word times 0x1b, of which up to four bits overflow once more.
static inline uint64_t reduce(Product p) {
  const uint64_t over = p.high >> 60 ^ p.high >> 61 ^ p.high >> 63;
  const uint64_t high = p.high ^ over;
  return p.low ^ high ^ high << 1 ^ high << 3 ^ high << 4;
}

static inline Product operator^(Product a, Product b) { return {a.low ^ b.low, a.high ^ b.high}; }

#ifdef MPCB_TARGET_portable

// Integer products of words with one bit in four: at most eight summands meet in a column, so no carry reaches the next
// one.
static inline uint64_t multiply_half(uint32_t a, uint32_t b) {
  constexpr uint64_t kEvery4th = 0x1111111111111111;
  uint64_t x[4], y[4], sum = 0;
  for (int i = 0; i < 4; i++) {
    x[i] = a & kEvery4th << i;
    y[i] = b & kEvery4th << i;
  }
  for (int i = 0; i < 4; i++) {
    uint64_t column = 0;
    for (int j = 0; j < 4; j++) column ^= x[j] * y[(i - j) & 3];
    sum |= column & kEvery4th << i;
  }
  return sum;
}

// Karatsuba on 32-bit halves.
static inline Product multiply(uint64_t a, uint64_t b) {
  const uint32_t a0 = static_cast<uint32_t>(a), a1 = static_cast<uint32_t>(a >> 32);
  const uint32_t b0 = static_cast<uint32_t>(b), b1 = static_cast<uint32_t>(b >> 32);
  const uint64_t low = multiply_half(a0, b0), high = multiply_half(a1, b1);
  const uint64_t middle = multiply_half(a0 ^ a1, b0 ^ b1) ^ low ^ high;
  return {low ^ middle << 32, high ^ middle >> 32};
}

constexpr size_t kStep = 1;
typedef uint64_t Step;
typedef Product Sum;

static inline Step load_step(const uint64_t* from) { return *from; }
static inline Step load_part(const uint64_t*, size_t) { return 0; }
static inline Step broadcast(uint64_t x) { return x; }
static inline Sum no_sum() { return {0, 0}; }
static inline void add_products(Sum& sum, Step a, Step b) { sum = sum ^ multiply(a, b); }
static inline Product total(Sum sum) { return sum; }

// Elementwise: the products of each element of a Step stay apart until they are reduced.
struct Products {
  Product p = {0, 0};
  void add(Step a, Step b) { p = p ^ multiply(a, b); }
  Step reduced() const { return reduce(p); }
};
static inline void store_step(uint64_t* to, Step x) { *to = x; }
static inline void store_part(uint64_t*, Step, size_t) {}

#else

static inline Product multiply(uint64_t a, uint64_t b) {
  const __m128i p = _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<long long>(a)),
                                         _mm_cvtsi64_si128(static_cast<long long>(b)), 0);
  return {static_cast<uint64_t>(_mm_cvtsi128_si64(p)), static_cast<uint64_t>(_mm_extract_epi64(p, 1))};
}

#ifdef MPCB_TARGET_avx512

constexpr size_t kStep = 8;
typedef __m512i Step;
typedef __m512i Sum;

static inline __mmask8 first_lanes(size_t count) { return static_cast<__mmask8>((1u << count) - 1); }
static inline Step load_step(const uint64_t* from) { return _mm512_loadu_si512(from); }
static inline Step load_part(const uint64_t* from, size_t count) {
  return _mm512_maskz_loadu_epi64(first_lanes(count), from);
}
static inline void store_step(uint64_t* to, Step x) { _mm512_storeu_si512(to, x); }
static inline void store_part(uint64_t* to, Step x, size_t count) {
  _mm512_mask_storeu_epi64(to, first_lanes(count), x);
}
static inline Step broadcast(uint64_t x) { return _mm512_set1_epi64(static_cast<long long>(x)); }
static inline Sum no_sum() { return _mm512_setzero_si512(); }
static inline void add_products(Sum& sum, Step a, Step b) {
  sum =
      _mm512_ternarylogic_epi64(sum, _mm512_clmulepi64_epi128(a, b, 0x00), _mm512_clmulepi64_epi128(a, b, 0x11), 0x96);
}
static inline Product total(Sum sum) {
  const __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
  const __m128i p = _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  return {static_cast<uint64_t>(_mm_cvtsi128_si64(p)), static_cast<uint64_t>(_mm_extract_epi64(p, 1))};
}

// Elementwise: the products of each element of a Step stay apart until they are reduced.
struct Products {
  __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();
  void add(Step a, Step b) {
    even = _mm512_xor_si512(even, _mm512_clmulepi64_epi128(a, b, 0x00));
    odd = _mm512_xor_si512(odd, _mm512_clmulepi64_epi128(a, b, 0x11));
  }
  Step reduced() const {
    const __m512i low = _mm512_unpacklo_epi64(even, odd), high = _mm512_unpackhi_epi64(even, odd);
    const __m512i over = _mm512_ternarylogic_epi64(_mm512_srli_epi64(high, 60), _mm512_srli_epi64(high, 61),
                                                   _mm512_srli_epi64(high, 63), 0x96);
    const __m512i h = _mm512_xor_si512(high, over);
    const __m512i s = _mm512_ternarylogic_epi64(low, h, _mm512_slli_epi64(h, 1), 0x96);
    return _mm512_ternarylogic_epi64(s, _mm512_slli_epi64(h, 3), _mm512_slli_epi64(h, 4), 0x96);
  }
};

#else

constexpr size_t kStep = 2;
typedef __m128i Step;
typedef __m128i Sum;

static inline Step load_step(const uint64_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }
static inline Step load_part(const uint64_t* from, size_t count) {
  return count == 0 ? _mm_setzero_si128() : _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
}
static inline void store_step(uint64_t* to, Step x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), x); }
static inline void store_part(uint64_t* to, Step x, size_t count) {
  if (count != 0) _mm_storel_epi64(reinterpret_cast<__m128i*>(to), x);
}
static inline Step broadcast(uint64_t x) { return _mm_set1_epi64x(static_cast<long long>(x)); }
static inline Sum no_sum() { return _mm_setzero_si128(); }
static inline void add_products(Sum& sum, Step a, Step b) {
  sum = _mm_xor_si128(sum, _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x00), _mm_clmulepi64_si128(a, b, 0x11)));
}
static inline Product total(Sum p) {
  return {static_cast<uint64_t>(_mm_cvtsi128_si64(p)), static_cast<uint64_t>(_mm_extract_epi64(p, 1))};
}

// Elementwise: the products of each element of a Step stay apart until they are reduced.
struct Products {
  __m128i even = _mm_setzero_si128(), odd = _mm_setzero_si128();
  void add(Step a, Step b) {
    even = _mm_xor_si128(even, _mm_clmulepi64_si128(a, b, 0x00));
    odd = _mm_xor_si128(odd, _mm_clmulepi64_si128(a, b, 0x11));
  }
  Step reduced() const {
    const __m128i low = _mm_unpacklo_epi64(even, odd), high = _mm_unpackhi_epi64(even, odd);
    const __m128i over =
        _mm_xor_si128(_mm_xor_si128(_mm_srli_epi64(high, 60), _mm_srli_epi64(high, 61)), _mm_srli_epi64(high, 63));
    const __m128i h = _mm_xor_si128(high, over);
    return _mm_xor_si128(_mm_xor_si128(_mm_xor_si128(low, h), _mm_slli_epi64(h, 1)),
                         _mm_xor_si128(_mm_slli_epi64(h, 3), _mm_slli_epi64(h, 4)));
  }
};

#endif
#endif

static inline uint64_t times(uint64_t a, uint64_t b) { return reduce(multiply(a, b)); }

}  // namespace mpcb::MPCB_TARGET
