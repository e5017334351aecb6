// Filters and sums of linear layers modulo 2^(2 * limb), for limbs of 52 or 64 bits. Per target, see kernels.h.
//
// An activation counts modulo 2^limb: one limb. A weight is two limbs, and packed filters hold panels of eight output
// channels: for each term and cell eight low limbs, then eight high limbs. With 52 bits, AVX-512's multipliers take
// eight of them at once.
#pragma once

#include "wide.h"
#ifdef MPCB_TARGET_avx512
#include <immintrin.h>
#endif

namespace mpcb::MPCB_TARGET {

constexpr int64_t kPanel = 8;
// Words of one cell in a panel.
constexpr int64_t kPanelWords = 2 * kPanel;

static inline uint64_t limb_mask(unsigned limb) { return ~uint64_t{0} >> (64 - limb); }

static inline Wide low_limbs(Wide x, unsigned limb) { return limb == 64 ? x : x & ((Wide{1} << 2 * limb) - 1); }

// low + high * 2^limb; the bits of high that do not fit may be anything.
static inline Wide join_limbs(Wide low, uint64_t high, unsigned limb) {
  return low_limbs(low + (static_cast<Wide>(high) << limb), limb);
}

#ifdef MPCB_TARGET_avx512

// Eight sums modulo 2^104 of products of one limb and two: at most 2^11 products each.
struct LimbSums {
  __m512i low = _mm512_setzero_si512(), middle = _mm512_setzero_si512();

  // += x * (w0 + 2^52 * w1), of all factors the low 52 bits
  void add(__m512i x, __m512i w0, __m512i w1) {
    low = _mm512_madd52lo_epu64(low, x, w0);
    middle = _mm512_madd52hi_epu64(middle, x, w0);
    middle = _mm512_madd52lo_epu64(middle, x, w1);
  }

  // Writes the first `count` (1 to 8) sums as wide elements modulo 2^104, or adds them to what is there.
  void store(uint64_t* z, int64_t count, bool accumulate) const {
    __m512i words = _mm512_add_epi64(low, _mm512_slli_epi64(middle, 52));
    __mmask8 carry = _mm512_cmplt_epu64_mask(words, low);
    __m512i high = _mm512_srli_epi64(middle, 12);
    const __m512i one = _mm512_set1_epi64(1);
    high = _mm512_mask_add_epi64(high, carry, high, one);
    const auto mask = [](int64_t pairs) { return static_cast<__mmask8>(pairs >= 4 ? 0xff : (1 << 2 * pairs) - 1); };
    const __mmask8 first = mask(count), second = count > 4 ? mask(count - 4) : static_cast<__mmask8>(0);
    if (accumulate) {
      const __m512i a = _mm512_maskz_loadu_epi64(first, z), b = _mm512_maskz_loadu_epi64(second, z + 8);
      const __m512i sum =
          _mm512_add_epi64(words, _mm512_permutex2var_epi64(a, _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0), b));
      carry = _mm512_cmplt_epu64_mask(sum, words);
      words = sum;
      high = _mm512_add_epi64(high, _mm512_permutex2var_epi64(a, _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1), b));
      high = _mm512_mask_add_epi64(high, carry, high, one);
    }
    high = _mm512_and_si512(high, _mm512_set1_epi64((int64_t{1} << 40) - 1));
    _mm512_mask_storeu_epi64(z, first,
                             _mm512_permutex2var_epi64(words, _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0), high));
    _mm512_mask_storeu_epi64(z + 8, second,
                             _mm512_permutex2var_epi64(words, _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4), high));
  }
};

static inline __m512i broadcast_word(uint64_t x) { return _mm512_set1_epi64(static_cast<int64_t>(x)); }

#endif

}  // namespace mpcb::MPCB_TARGET
