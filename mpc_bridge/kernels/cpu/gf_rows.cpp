// The first step of boolean verification: all cross products of the parts of weighted rows, and the weighted sum of
// results.
#include "gf.h"
#include "gf_record.h"

namespace mpcb::MPCB_TARGET {
namespace {

// Rows that are multiplied together: their operands stay in the second-level cache while the accumulators pass by.
constexpr size_t kRows = 32;

// The operands of some rows. With x_both = x_own ^ x_next, a row's local cross term of parts i and k is
// (x_own[i] & y_next[k]) ^ (x_both[i] & y_own[k]).
struct Operands {
  alignas(64) uint64_t x_own[kRows][kParts], x_both[kRows][kParts], y_own[kRows][kParts], y_next[kRows][kParts];
  uint64_t weight[kRows];
  size_t rows = 0;
};

#if defined(MPCB_TARGET_avx512)

// acc[i, k] ^= sum over rows of weight * cross term, for 4 by 16 pairs: their products fill 16 registers.
void add_block(const Operands& in, size_t i0, size_t k0, uint64_t* acc) {
  __m512i sum[4][2][2];  // part i, eight parts k, even or odd of them
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++)
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) sum[i][v][0] = sum[i][v][1] = _mm512_setzero_si512();
  for (size_t r = 0; r < in.rows; r++) {
    const __m512i weight = broadcast(in.weight[r]);
    __m512i own[2], next[2];
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++) {
      own[v] = _mm512_load_si512(&in.y_own[r][k0 + 8 * v]);
      next[v] = _mm512_load_si512(&in.y_next[r][k0 + 8 * v]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
      const __m512i x = broadcast(in.x_own[r][i0 + i]), both = broadcast(in.x_both[r][i0 + i]);
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) {
        const __m512i cross = _mm512_ternarylogic_epi64(_mm512_and_si512(x, next[v]), both, own[v], 0x78);
        sum[i][v][0] = _mm512_xor_si512(sum[i][v][0], _mm512_clmulepi64_epi128(cross, weight, 0x00));
        sum[i][v][1] = _mm512_xor_si512(sum[i][v][1], _mm512_clmulepi64_epi128(cross, weight, 0x11));
      }
    }
  }
  const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0),
                second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; i++)
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++) {
      uint64_t* const out = acc + 2 * ((i0 + i) * kParts + k0 + 8 * v);
      const __m512i a = _mm512_permutex2var_epi64(sum[i][v][0], first, sum[i][v][1]);
      const __m512i b = _mm512_permutex2var_epi64(sum[i][v][0], second, sum[i][v][1]);
      _mm512_storeu_si512(out, _mm512_xor_si512(_mm512_loadu_si512(out), a));
      _mm512_storeu_si512(out + 8, _mm512_xor_si512(_mm512_loadu_si512(out + 8), b));
    }
}

void add_rows(const Operands& in, uint64_t* acc) {
  for (size_t i = 0; i < kParts; i += 4)
    for (size_t k = 0; k < kParts; k += 16) add_block(in, i, k, acc);
}

#elif defined(MPCB_TARGET_avx2)

// acc[i, k] ^= sum over rows of weight * cross term, for 2 by 4 pairs: their products fill 8 registers.
void add_block(const Operands& in, size_t i0, size_t k0, uint64_t* acc) {
  __m128i sum[2][4];
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++)
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) sum[i][k] = _mm_setzero_si128();
  for (size_t r = 0; r < in.rows; r++) {
    const __m128i weight = broadcast(in.weight[r]);
    const __m256i own = _mm256_load_si256(reinterpret_cast<const __m256i*>(&in.y_own[r][k0]));
    const __m256i next = _mm256_load_si256(reinterpret_cast<const __m256i*>(&in.y_next[r][k0]));
#pragma GCC unroll 2
    for (size_t i = 0; i < 2; i++) {
      const __m256i x = _mm256_set1_epi64x(static_cast<long long>(in.x_own[r][i0 + i]));
      const __m256i both = _mm256_set1_epi64x(static_cast<long long>(in.x_both[r][i0 + i]));
      const __m256i cross = _mm256_xor_si256(_mm256_and_si256(x, next), _mm256_and_si256(both, own));
      const __m128i low = _mm256_castsi256_si128(cross), high = _mm256_extracti128_si256(cross, 1);
      sum[i][0] = _mm_xor_si128(sum[i][0], _mm_clmulepi64_si128(low, weight, 0x00));
      sum[i][1] = _mm_xor_si128(sum[i][1], _mm_clmulepi64_si128(low, weight, 0x01));
      sum[i][2] = _mm_xor_si128(sum[i][2], _mm_clmulepi64_si128(high, weight, 0x00));
      sum[i][3] = _mm_xor_si128(sum[i][3], _mm_clmulepi64_si128(high, weight, 0x01));
    }
  }
  for (size_t i = 0; i < 2; i++)
    for (size_t k = 0; k < 4; k++) {
      __m128i* const out = reinterpret_cast<__m128i*>(acc + 2 * ((i0 + i) * kParts + k0 + k));
      _mm_storeu_si128(out, _mm_xor_si128(_mm_loadu_si128(out), sum[i][k]));
    }
}

void add_rows(const Operands& in, uint64_t* acc) {
  for (size_t i = 0; i < kParts; i += 2)
    for (size_t k = 0; k < kParts; k += 4) add_block(in, i, k, acc);
}

#else

// Weights are public, so they may choose addresses: for each bit of the weights, the cross terms whose weight has it
// set are added, four at a time out of a table of their sums; the bits' sums then join by Horner's rule.
void add_rows(const Operands& in, uint64_t* acc) {
  typedef uint64_t Pair __attribute__((vector_size(16)));
  constexpr size_t kFours = kRows / 4;
  const size_t fours = (in.rows + 3) / 4;
  uint8_t chosen[64][kFours] = {};  // bit j: row 4 f + j has the weight bit
  for (size_t r = 0; r < in.rows; r++)
    for (unsigned b = 0; b < 64; b++)
      chosen[b][r / 4] = static_cast<uint8_t>(chosen[b][r / 4] | (in.weight[r] >> b & 1) << r % 4);
  for (size_t i = 0; i < kParts; i++)
    for (size_t k = 0; k < kParts; k += 2) {
      Pair sums[kFours][16];
      for (size_t f = 0; f < fours; f++) {
        Pair(&table)[16] = sums[f];
        table[0] = Pair{};
        for (size_t j = 0; j < 4; j++) {
          const size_t r = 4 * f + j;
          Pair cross = {};
          if (r < in.rows) {
            Pair own, next;
            memcpy(&own, &in.y_own[r][k], sizeof own);
            memcpy(&next, &in.y_next[r][k], sizeof next);
            cross = (next & in.x_own[r][i]) ^ (own & in.x_both[r][i]);
          }
          for (size_t below = 0; below < size_t{1} << j; below++)
            table[(size_t{1} << j) + below] = table[below] ^ cross;
        }
      }
      Pair low = {}, high = {};
      for (size_t b = 64; b-- > 0;) {
        high = high << 1 | low >> 63;
        low <<= 1;
        for (size_t f = 0; f < fours; f++) low ^= sums[f][chosen[b][f]];
      }
      for (size_t lane = 0; lane < 2; lane++) {
        uint64_t* const out = acc + 2 * (i * kParts + k + lane);
        out[0] ^= low[lane];
        out[1] ^= high[lane];
      }
    }
}

#endif

void first_fold(const GfRecord& record, uint64_t* acc) {
  Weights weights(record);
  Operands in;
  for (size_t tile = 0; tile < tiles_of(record); tile++)
    for (size_t m = 0; m < record.row_count; m++) {
      const int32_t* const row = record.rows + 4 * m;
      const size_t r = in.rows++;
      load_parts(record, tile, row[0], in.x_own[r]);
      load_parts(record, tile, row[1], in.x_both[r]);
      for (size_t i = 0; i < kParts; i++) in.x_both[r][i] ^= in.x_own[r][i];
      load_parts(record, tile, row[2], in.y_own[r]);
      load_parts(record, tile, row[3], in.y_next[r]);
      in.weight[r] = weights[weight_index(record, tile, static_cast<size_t>(record.group[m]))];
      if (in.rows == kRows) {
        add_rows(in, acc);
        in.rows = 0;
      }
    }
  if (in.rows != 0) add_rows(in, acc);
}

void z_sum(const GfRecord& record, const int32_t* z, const uint64_t* nu, uint64_t* out) {
  Weights weights(record);
  Product sums[2] = {};
  for (size_t tile = 0; tile < tiles_of(record); tile++)
    for (size_t g = 0; g < record.groups; g++) {
      const uint64_t weight = weights[weight_index(record, tile, g)];
      for (size_t component = 0; component < 2; component++) {
        uint64_t words[kParts];
        load_parts(record, tile, z[2 * g + component], words);
        Sum sum = no_sum();
        for (size_t i = 0; i < kParts; i += kStep) add_products(sum, load_step(words + i), load_step(nu + i));
        sums[component] = sums[component] ^ multiply(weight, reduce(total(sum)));
      }
    }
  for (size_t component = 0; component < 2; component++) out[component] ^= reduce(sums[component]);
}

}  // namespace

const GfRowKernels gf_row_kernels = {.first_fold = first_fold, .z_sum = z_sum};

}  // namespace mpcb::MPCB_TARGET
