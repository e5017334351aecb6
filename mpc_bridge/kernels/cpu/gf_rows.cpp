// The first step of boolean verification: all cross products of the parts of weighted rows, and the weighted sum of
// results.
#include "gf.h"
#include "gf_record.h"

namespace mpcb::MPCB_TARGET {
namespace {

// Products that are multiplied together: their operands stay in the second-level cache while the accumulators pass by.
constexpr size_t kBatch = 64;

// Left and right operands whose cross products left[i] & right[k] add up, group by group: [begin[g], begin[g + 1]) have
// weight[g]. An even number of groups is worked on at once, so there is room for one more.
struct Batch {
  alignas(64) uint64_t left[kBatch][kParts], right[kBatch][kParts];
  uint64_t weight[kBatch + 1];
  size_t begin[kBatch + 2];
  size_t groups = 0, products = 0;

  void open(uint64_t group_weight) {
    weight[groups] = group_weight;
    begin[groups++] = products;
  }
  // After the last product; a group that has none makes their number even.
  void close() {
    if (groups % 2 != 0) open(0);
    begin[groups] = products;
  }
  void clear() { groups = products = 0; }
};

#if defined(MPCB_TARGET_avx512)

// acc[i, k] ^= sum over groups of weight * (sum of the group's cross products), for 4 by 16 pairs: their products fill
// 16 registers. Two groups' products are added at once.
void add_block(const Batch& in, size_t i0, size_t k0, uint64_t* acc) {
  __m512i sum[4][2][2];  // part i, eight parts k, even or odd of them
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++)
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) sum[i][v][0] = sum[i][v][1] = _mm512_setzero_si512();
  for (size_t g = 0; g < in.groups; g += 2) {
    const __m512i weight[2] = {broadcast(in.weight[g]), broadcast(in.weight[g + 1])};
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++) {
      __m512i cross[2][4];
#pragma GCC unroll 2
      for (size_t which = 0; which < 2; which++) {
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++) cross[which][i] = _mm512_setzero_si512();
        for (size_t p = in.begin[g + which]; p < in.begin[g + which + 1]; p++) {
          const __m512i right = _mm512_load_si512(&in.right[p][k0 + 8 * v]);
#pragma GCC unroll 4
          for (size_t i = 0; i < 4; i++)
            cross[which][i] = _mm512_ternarylogic_epi64(cross[which][i], broadcast(in.left[p][i0 + i]), right, 0x78);
        }
      }
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; i++) {
        sum[i][v][0] = _mm512_ternarylogic_epi64(sum[i][v][0], _mm512_clmulepi64_epi128(cross[0][i], weight[0], 0x00),
                                                 _mm512_clmulepi64_epi128(cross[1][i], weight[1], 0x00), 0x96);
        sum[i][v][1] = _mm512_ternarylogic_epi64(sum[i][v][1], _mm512_clmulepi64_epi128(cross[0][i], weight[0], 0x11),
                                                 _mm512_clmulepi64_epi128(cross[1][i], weight[1], 0x11), 0x96);
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

void add_batch(const Batch& in, uint64_t* acc) {
  for (size_t i = 0; i < kParts; i += 4)
    for (size_t k = 0; k < kParts; k += 16) add_block(in, i, k, acc);
}

#elif defined(MPCB_TARGET_avx2)

// acc[i, k] ^= sum over groups of weight * (sum of the group's cross products), for 2 by 4 pairs: their products fill 8
// registers.
void add_block(const Batch& in, size_t i0, size_t k0, uint64_t* acc) {
  __m128i sum[2][4];
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++)
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) sum[i][k] = _mm_setzero_si128();
  for (size_t g = 0; g < in.groups; g++) {
    const __m128i weight = broadcast(in.weight[g]);
    __m256i cross[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t p = in.begin[g]; p < in.begin[g + 1]; p++) {
      const __m256i right = _mm256_load_si256(reinterpret_cast<const __m256i*>(&in.right[p][k0]));
#pragma GCC unroll 2
      for (size_t i = 0; i < 2; i++) {
        const __m256i left = _mm256_set1_epi64x(static_cast<long long>(in.left[p][i0 + i]));
        cross[i] = _mm256_xor_si256(cross[i], _mm256_and_si256(left, right));
      }
    }
#pragma GCC unroll 2
    for (size_t i = 0; i < 2; i++) {
      const __m128i low = _mm256_castsi256_si128(cross[i]), high = _mm256_extracti128_si256(cross[i], 1);
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

void add_batch(const Batch& in, uint64_t* acc) {
  for (size_t i = 0; i < kParts; i += 2)
    for (size_t k = 0; k < kParts; k += 4) add_block(in, i, k, acc);
}

#else

// Weights are public, so they may choose addresses: for each bit of the weights, the cross products whose weight has it
// set are added, four groups at a time out of a table of their sums; the bits' sums then join by Horner's rule.
void add_batch(const Batch& in, uint64_t* acc) {
  typedef uint64_t Pair __attribute__((vector_size(16)));
  constexpr size_t kFours = kBatch / 4 + 1;
  const size_t fours = (in.groups + 3) / 4;
  uint8_t chosen[64][kFours] = {};  // bit j: group 4 f + j has the weight bit
  for (size_t g = 0; g < in.groups; g++)
    for (unsigned b = 0; b < 64; b++)
      chosen[b][g / 4] = static_cast<uint8_t>(chosen[b][g / 4] | (in.weight[g] >> b & 1) << g % 4);
  for (size_t i = 0; i < kParts; i++)
    for (size_t k = 0; k < kParts; k += 2) {
      Pair sums[kFours][16];
      for (size_t f = 0; f < fours; f++) {
        Pair(&table)[16] = sums[f];
        table[0] = Pair{};
        for (size_t j = 0; j < 4; j++) {
          const size_t g = 4 * f + j;
          Pair cross = {};
          for (size_t p = g < in.groups ? in.begin[g] : in.products; g < in.groups && p < in.begin[g + 1]; p++) {
            Pair right;
            memcpy(&right, &in.right[p][k], sizeof right);
            cross ^= right & in.left[p][i];
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

// The sum of two registers, either of which may be absent; false where both are.
bool load_sum(const GfRecord& record, size_t tile, int32_t a, int32_t b, uint64_t* words) {
  if (a < 0 && b < 0) return false;
  load_parts(record, tile, a < 0 ? b : a, words);
  if (a >= 0 && b >= 0) {
    uint64_t other[kParts];
    load_parts(record, tile, b, other);
    for (size_t i = 0; i < kParts; i++) words[i] ^= other[i];
  }
  return true;
}

// The cross term x_own (y_own + y_next) + x_next y_own, as two products or as one where a component is absent.
void add_products_of(const GfRecord& record, size_t tile, const int32_t* row, Batch& out) {
  const auto add = [&](int32_t l0, int32_t l1, int32_t r0, int32_t r1) {
    if (load_sum(record, tile, l0, l1, out.left[out.products]) &&
        load_sum(record, tile, r0, r1, out.right[out.products]))
      out.products++;
  };
  if (row[1] < 0) {
    add(row[0], -1, row[2], row[3]);
  } else {
    add(row[0], -1, row[3], -1);
    add(row[0], row[1], row[2], -1);
  }
}

void first_fold(const GfRecord& record, uint64_t* acc) {
  Weights weights(record);
  Batch batch;
  for (size_t tile = 0; tile < tiles_of(record); tile++)
    for (size_t m = 0; m < record.row_count; m++) {
      if (batch.products + 2 > kBatch || batch.groups == kBatch) {
        batch.close();
        add_batch(batch, acc);
        batch.clear();
      }
      if (batch.groups == 0 || m == 0 || record.group[m] != record.group[m - 1])
        batch.open(weights[weight_index(record, tile, static_cast<size_t>(record.group[m]))]);
      add_products_of(record, tile, record.rows + 4 * m, batch);
    }
  batch.close();
  add_batch(batch, acc);
}

void z_sum(const GfRecord& record, const int32_t* z, const uint64_t* nu, uint64_t* out) {
  Weights weights(record);
  Product sums[2] = {};
  for (size_t tile = 0; tile < tiles_of(record); tile++)
    for (size_t g = 0; g < record.groups; g++) {
      const uint64_t weight = weights[weight_index(record, tile, g)];
      for (size_t component = 0; component < 2; component++) {
        if (z[2 * g + component] < 0) continue;
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
