// The second step of boolean verification: the parts of a row become one element per lane.
//
// Lane b of a row turns into the sum of u_i over the parts i whose bit b is set: a 64 x 64 bit matrix, the same for all
// lanes, times the lane's 64 bits. The matrix is public, the bits are not: no address depends on them.
#include "gf.h"
#include "gf_record.h"
#include "transpose.h"

namespace mpcb::MPCB_TARGET {
namespace {

#if defined(MPCB_TARGET_portable)

// Before the transposition: plane c of the result is the sum of the parts i with bit c of u_i set, four parts at a time
// out of a table of their sums.
class LinearMap {
 public:
  explicit LinearMap(const uint64_t* u) {
    memset(chosen, 0, sizeof chosen);
    for (size_t i = 0; i < kParts; i++)
      for (unsigned c = 0; c < 64; c++)
        chosen[c][i / 4] = static_cast<uint8_t>(chosen[c][i / 4] | (u[i] >> c & 1) << i % 4);
  }

  void operator()(const uint64_t* parts, uint64_t* elements) const {
    uint64_t sums[kParts / 4][16], planes[64] = {};
    for (size_t f = 0; f < kParts / 4; f++) {
      sums[f][0] = 0;
      for (size_t j = 0; j < 4; j++)
        for (size_t below = 0; below < size_t{1} << j; below++)
          sums[f][(size_t{1} << j) + below] = sums[f][below] ^ parts[4 * f + j];
    }
    for (size_t c = 0; c < 64; c++)
      for (size_t f = 0; f < kParts / 4; f++) planes[c] ^= sums[f][chosen[c][f]];
    transpose_64x64(planes);
    memcpy(elements, planes, sizeof planes);
  }

 private:
  uint8_t chosen[64][kParts / 4];  // bit j: u_{4 f + j} has bit c
};

#else

// Byte row h holds, for each lane, the bits of parts 8 h ... 8 h + 7.
static inline void byte_rows(const uint64_t* parts, ByteRow (&rows)[8]) {
  for (size_t h = 0; h < 8; h++) {
    uint64_t planes[8];
    memcpy(planes, parts + 8 * h, sizeof planes);
    bytes_of_planes(planes, rows[h]);
  }
}

#if defined(MPCB_TARGET_avx512)

// GFNI multiplies all bytes of a register by one 8 x 8 bit matrix; matrix[q][h] takes byte row h to byte q of the
// result. Byte 7 - i of a matrix is the row of result bit i.
class LinearMap {
 public:
  explicit LinearMap(const uint64_t* u) {
    for (size_t q = 0; q < 8; q++)
      for (size_t h = 0; h < 8; h++) {
        uint64_t m = 0;
        for (unsigned i = 0; i < 8; i++)
          for (unsigned p = 0; p < 8; p++) m |= (u[8 * h + p] >> (8 * q + i) & 1) << (8 * (7 - i) + p);
        matrix[q][h] = m;
      }
  }

  void operator()(const uint64_t* parts, uint64_t* elements) const {
    ByteRow in[8], out[8];
    byte_rows(parts, in);
    __m512i row[8];
#pragma GCC unroll 8
    for (size_t h = 0; h < 8; h++) row[h] = _mm512_loadu_si512(in[h]);
    for (size_t q = 0; q < 8; q++) {
      const auto term = [&](size_t h) { return _mm512_gf2p8affine_epi64_epi8(row[h], broadcast(matrix[q][h]), 0); };
      __m512i sum = _mm512_ternarylogic_epi64(term(0), term(1), term(2), 0x96);
      sum = _mm512_ternarylogic_epi64(sum, term(3), term(4), 0x96);
      sum = _mm512_ternarylogic_epi64(sum, term(5), term(6), 0x96);
      _mm512_storeu_si512(out[q], _mm512_xor_si512(sum, term(7)));
    }
    words_of_bytes(out, elements);
  }

 private:
  uint64_t matrix[8][8];
};

#else

// Shuffles look up 32 nibbles at once in a register: table[q][2 h + n] takes nibble n of byte row h to byte q of the
// result.
class LinearMap {
 public:
  explicit LinearMap(const uint64_t* u) {
    for (size_t q = 0; q < 8; q++)
      for (size_t f = 0; f < 16; f++) {
        table[q][f][0] = 0;
        for (size_t j = 0; j < 4; j++)
          for (size_t below = 0; below < size_t{1} << j; below++)
            table[q][f][(size_t{1} << j) + below] = static_cast<uint8_t>(table[q][f][below] ^ u[4 * f + j] >> 8 * q);
      }
  }

  void operator()(const uint64_t* parts, uint64_t* elements) const {
    const __m256i nibble = _mm256_set1_epi8(15);
    ByteRow in[8], out[8];
    byte_rows(parts, in);
    for (size_t half = 0; half < 64; half += 32) {
      __m256i index[16];
      for (size_t h = 0; h < 8; h++) {
        const __m256i row = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in[h] + half));
        index[2 * h] = _mm256_and_si256(row, nibble);
        index[2 * h + 1] = _mm256_and_si256(_mm256_srli_epi64(row, 4), nibble);
      }
      for (size_t q = 0; q < 8; q++) {
        __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 16
        for (size_t f = 0; f < 16; f++) {
          const __m128i entries = _mm_load_si128(reinterpret_cast<const __m128i*>(table[q][f]));
          sum = _mm256_xor_si256(sum, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), index[f]));
        }
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out[q] + half), sum);
      }
    }
    words_of_bytes(out, elements);
  }

 private:
  alignas(16) uint8_t table[8][16][16];
};

#endif
#endif

// The sum over a factor's rows of weight * element, lane by lane, not reduced; and whether any row came.
class WeightedSum {
 public:
  void clear() {
    for (Products& sum : sums) sum = Products{};
    any = false;
  }

  void add(uint64_t weight, const uint64_t* elements) {
    const Step w = broadcast(weight);
    for (size_t j = 0; j < kSteps; j++) sums[j].add(load_step(elements + j * kStep), w);
    any = true;
  }

  // times X^b in lane b
  void store(const uint64_t* powers, uint64_t* out) const {
    if (!any) {
      memset(out, 0, 64 * sizeof *out);
      return;
    }
    for (size_t j = 0; j < kSteps; j++) {
      Products p;
      p.add(sums[j].reduced(), load_step(powers + j * kStep));
      store_step(out + j * kStep, p.reduced());
    }
  }

 private:
  static constexpr size_t kSteps = 64 / kStep;
  Products sums[kSteps];
  bool any = false;
};

void lift(const GfRecord& record, const int32_t* factor, size_t factors, const uint64_t* u, const uint64_t* v,
          uint64_t* a_own, uint64_t* a_next, uint64_t* b_own, uint64_t* b_next) {
  const LinearMap left(u), right(v);
  Weights weights(record);
  alignas(64) uint64_t powers[64], parts[kParts], elements[64];
  for (size_t b = 0; b < 64; b++) powers[b] = uint64_t{1} << b;
  WeightedSum sums[2];
  for (size_t tile = 0; tile < tiles_of(record); tile++)
    for (size_t m = 0; m < record.row_count; m++) {
      const int32_t* const row = record.rows + 4 * m;
      const size_t out = (tile * factors + static_cast<size_t>(factor[m])) * 64;
      uint64_t* const a[2] = {a_own + out, a_next + out};
      uint64_t* const b[2] = {b_own + out, b_next + out};
      const bool first = m == 0 || factor[m] != factor[m - 1];
      const bool last = m + 1 == record.row_count || factor[m] != factor[m + 1];
      const uint64_t weight = weights[weight_index(record, tile, static_cast<size_t>(record.group[m]))];
      for (size_t component = 0; component < 2; component++) {
        WeightedSum& sum = sums[component];
        if (first) sum.clear();
        if (row[component] >= 0) {
          load_parts(record, tile, row[component], parts);
          left(parts, elements);
          sum.add(weight, elements);
        }
        if (!last) continue;
        sum.store(powers, a[component]);
        if (row[2 + component] >= 0) {
          load_parts(record, tile, row[2 + component], parts);
          right(parts, b[component]);
        } else {
          memset(b[component], 0, 64 * sizeof *b[component]);
        }
      }
    }
}

}  // namespace

const GfLiftKernels gf_lift_kernels = {.lift = lift};

}  // namespace mpcb::MPCB_TARGET
