// Vectors over GF(2^64): products, zero shares, and folding a sum of products to a shorter one.
#include "gf.h"

#include "prf.h"

namespace mpcb::MPCB_TARGET {
namespace {

void mul(const uint64_t* a, const uint64_t* b, uint64_t* out, size_t n) {
  size_t j = 0;
  for (; j + kStep <= n; j += kStep) {
    Products p;
    p.add(load_step(a + j), load_step(b + j));
    store_step(out + j, p.reduced());
  }
  for (; j < n; j++) out[j] = times(a[j], b[j]);
}

void weighted_sum(const uint64_t* x, size_t n, const uint8_t* key, uint64_t domain, uint64_t first, uint64_t* out) {
  constexpr size_t kWords = 512;  // of the stream per pass
  alignas(64) uint64_t weights[kWords];
  PrfSchedule schedule;
  prf_expand(key, schedule);
  Sum sum = no_sum();
  Product rest = {0, 0};
  for (size_t base = 0; base < n; base += kWords) {
    const size_t count = n - base < kWords ? n - base : kWords;
    keystream(schedule, domain, (first + base) / 2, reinterpret_cast<uint8_t*>(weights), (count + 1) / 2);
    size_t j = 0;
    for (; j + kStep <= count; j += kStep) add_products(sum, load_step(x + base + j), load_step(weights + j));
    for (; j < count; j++) rest = rest ^ multiply(x[base + j], weights[j]);
  }
  *out = reduce(total(sum) ^ rest);
  wipe(&schedule, sizeof schedule);
}

void reduce_all(const uint64_t* products, size_t n, uint64_t* out) {
  for (size_t i = 0; i < n; i++) out[i] = reduce({products[2 * i], products[2 * i + 1]});
}

void add_zero_share(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n) {
  constexpr size_t kWords = 512;  // per stream and pass: both buffers stay in the first-level cache
  alignas(64) uint64_t a[kWords], b[kWords];
  PrfSchedule schedule_a, schedule_b;
  prf_expand(key_a, schedule_a);
  prf_expand(key_b, schedule_b);
  for (size_t base = 0; base < n; base += kWords) {
    const size_t count = n - base < kWords ? n - base : kWords;
    keystream(schedule_a, domain, base / 2, reinterpret_cast<uint8_t*>(a), (count + 1) / 2);
    keystream(schedule_b, domain, base / 2, reinterpret_cast<uint8_t*>(b), (count + 1) / 2);
    for (size_t i = 0; i < count; i++) z[base + i] ^= a[i] ^ b[i];
  }
  wipe(a, sizeof a);
  wipe(b, sizeof b);
  wipe(&schedule_a, sizeof schedule_a);
  wipe(&schedule_b, sizeof schedule_b);
}

// A vector cut into `arity` pieces of `piece` elements; elements past its end are zero.
struct Pieces {
  size_t length, piece;

  // Elements j, j + 1, ... of piece i, zero past the piece and the vector.
  Step load(const uint64_t* vector, size_t i, size_t j) const {
    const size_t index = i * piece + j;
    const size_t in_piece = piece - j, in_vector = index < length ? length - index : 0;
    const size_t count = in_piece < in_vector ? in_piece : in_vector;
    return count >= kStep ? load_step(vector + index) : load_part(vector + index, count);
  }
};

// Accumulators of one tile of pairs (i, k): they and one row of operands stay in registers.
#ifdef MPCB_TARGET_avx512
constexpr size_t kTile = 4;
#else
constexpr size_t kTile = 2;
#endif
// Elements of each piece that are multiplied by all others while they are in the caches.
constexpr size_t kSpan = 128;

template <size_t Rows, size_t Columns>
static inline void fold_tile(const uint64_t* a_own, const uint64_t* a_next, const uint64_t* b_own,
                             const uint64_t* b_next, Pieces pieces, size_t arity, size_t i0, size_t k0, size_t first,
                             size_t last, Product* sums) {
  Sum sum[Rows][Columns];
  for (size_t i = 0; i < Rows; i++)
    for (size_t k = 0; k < Columns; k++) sum[i][k] = no_sum();
  for (size_t j = first; j < last; j += kStep) {
    Step own[Columns], both[Columns];
#pragma GCC unroll 4
    for (size_t k = 0; k < Columns; k++) {
      own[k] = pieces.load(b_own, k0 + k, j);
      both[k] = own[k] ^ pieces.load(b_next, k0 + k, j);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < Rows; i++) {
      const Step x = pieces.load(a_own, i0 + i, j), y = pieces.load(a_next, i0 + i, j);
#pragma GCC unroll 4
      for (size_t k = 0; k < Columns; k++) {
        add_products(sum[i][k], x, both[k]);
        add_products(sum[i][k], y, own[k]);
      }
    }
  }
  for (size_t i = 0; i < Rows; i++)
    for (size_t k = 0; k < Columns; k++) {
      Product& out = sums[(i0 + i) * arity + k0 + k];
      out = out ^ total(sum[i][k]);
    }
}

void fold_products(const uint64_t* a_own, const uint64_t* a_next, const uint64_t* b_own, const uint64_t* b_next,
                   size_t length, size_t arity, uint64_t* out) {
  const Pieces pieces = {length, (length + arity - 1) / arity};
  Product sums[MPCB_GF_MOST_ARITY * MPCB_GF_MOST_ARITY] = {};
  for (size_t first = 0; first < pieces.piece; first += kSpan) {
    const size_t last = pieces.piece - first < kSpan ? pieces.piece : first + kSpan;
    for (size_t i = 0; i < arity; i += kTile)
      for (size_t k = 0; k < arity; k += kTile)
        if (arity - i >= kTile && arity - k >= kTile) {
          fold_tile<kTile, kTile>(a_own, a_next, b_own, b_next, pieces, arity, i, k, first, last, sums);
        } else {
          for (size_t r = i; r < arity && r < i + kTile; r++)
            for (size_t c = k; c < arity && c < k + kTile; c++)
              fold_tile<1, 1>(a_own, a_next, b_own, b_next, pieces, arity, r, c, first, last, sums);
        }
  }
  for (size_t i = 0; i < arity * arity; i++) out[i] = reduce(sums[i]);
}

// In place too: element j of the result depends on elements from j on only.
void fold(const uint64_t* a, size_t length, size_t arity, const uint64_t* u, uint64_t* out) {
  const Pieces pieces = {length, (length + arity - 1) / arity};
  Step factors[MPCB_GF_MOST_ARITY];
  for (size_t i = 0; i < arity; i++) factors[i] = broadcast(u[i]);
  for (size_t j = 0; j < pieces.piece; j += kStep) {
    Products p;
    for (size_t i = 0; i < arity; i++) p.add(pieces.load(a, i, j), factors[i]);
    if (pieces.piece - j >= kStep) {
      store_step(out + j, p.reduced());
    } else {
      store_part(out + j, p.reduced(), pieces.piece - j);
    }
  }
}

}  // namespace

const GfKernels gf_kernels = {
    .mul = mul,
    .weighted_sum = weighted_sum,
    .reduce = reduce_all,
    .add_zero_share = add_zero_share,
    .fold_products = fold_products,
    .fold = fold,
};

}  // namespace mpcb::MPCB_TARGET
