// The random combinations of a linear layer's operands and results that the linear check takes.
#include <string.h>

#include "unfold.h"
#include "wide_limbs.h"

namespace mpcb::MPCB_TARGET {
namespace {

void combine_weights(const uint64_t* chi, const uint64_t* w, size_t outputs, size_t inputs, uint64_t* out) {
  constexpr size_t kBlock = 512;  // sums of one block stay in the first-level cache
  for (size_t base = 0; base < inputs; base += kBlock) {
    const size_t block = inputs - base < kBlock ? inputs - base : kBlock;
    memset(out + 2 * base, 0, block * sizeof(Wide));
    for (size_t o = 0; o < outputs; o++) {
      const Wide factor = load_wide(chi + 2 * o);
      const uint64_t* const row = w + 2 * (o * inputs + base);
      for (size_t i = 0; i < 2 * block; i += 2)
        store_wide(out + 2 * base + i, load_wide(out + 2 * base + i) + factor * load_wide(row + i));
    }
  }
}

// out[k] += sum over rows of psi[row] * x[row][k].
void scalar_columns(const Rows& x, int64_t rows, int64_t depth, const uint64_t* psi, unsigned limb, uint64_t* out) {
  const uint64_t mask = limb_mask(limb);
  for (int64_t k = 0; k < depth; k++) {
    Wide sum = load_wide(out + 2 * k);
    for (int64_t r = 0; r < rows; r++) sum += times_word(x.first[r * x.stride + k] & mask, psi + 2 * r);
    store_wide(out + 2 * k, low_limbs(sum, limb));
  }
}

#ifdef MPCB_TARGET_avx512

void add_columns(const Rows& x, int64_t rows, int64_t depth, const uint64_t* psi, unsigned limb, uint64_t* out) {
  if (limb != 52) return scalar_columns(x, rows, depth, psi, limb, out);
  uint64_t limbs[kRows][2];
  for (int64_t r = 0; r < rows; r++) {
    limbs[r][0] = psi[2 * r];  // the multipliers take the low 52 bits
    limbs[r][1] = static_cast<uint64_t>(load_wide(psi + 2 * r) >> 52);
  }
  for (int64_t k = 0; k < depth; k += 8) {
    const int64_t columns = depth - k < 8 ? depth - k : 8;
    const __mmask8 real = static_cast<__mmask8>((1u << columns) - 1);
    LimbSums sums;
    for (int64_t r = 0; r < rows; r++)
      sums.add(_mm512_maskz_loadu_epi64(real, x.first + r * x.stride + k), broadcast_word(limbs[r][0]),
               broadcast_word(limbs[r][1]));
    sums.store(out + 2 * k, columns, true);
  }
}

#else

void add_columns(const Rows& x, int64_t rows, int64_t depth, const uint64_t* psi, unsigned limb, uint64_t* out) {
  scalar_columns(x, rows, depth, psi, limb, out);
}

#endif

void combine_patches(const mpcb_geometry& g, const uint64_t* psi, const uint64_t* x, int64_t x_zero, unsigned limb,
                     uint64_t* out) {
  const int64_t taps = taps_of(g);
  for (int64_t tap = 0; tap < taps; tap++) {
    Wide under_cell = 0;  // sum of psi over the pixels that read a cell here
    Pixels walk(g);
    for (int64_t pixel = 0; x_zero != 0 && pixel < pixels_of(g); pixel++)
      if (holds(walk.next(), tap / g.kernel_width, tap % g.kernel_width)) under_cell += load_wide(psi + 2 * pixel);
    const Wide start = low_limbs(-(wide_constant(x_zero) * under_cell), limb);
    for (int64_t i = 0; i < g.in_channels; i++) store_wide(out + 2 * (tap * g.in_channels + i), start);
  }
  for_each_block(g, 1, &x, [&](int64_t pixel, int64_t rows, int64_t start, int64_t depth, const Rows* block) {
    add_columns(*block, rows, depth, psi + 2 * pixel, limb, out + 2 * start);
  });
}

void bilinear(const uint64_t* psi, const uint64_t* chi, const uint64_t* z, size_t pixels, size_t outputs,
              uint64_t* out) {
  Wide total = 0;
  for (size_t p = 0; p < pixels; p++, z += 2 * outputs) {
    Wide sum = 0;
    for (size_t o = 0; o < 2 * outputs; o += 2) sum += load_wide(chi + o) * load_wide(z + o);
    total += load_wide(psi + 2 * p) * sum;
  }
  store_wide(out, total);
}

}  // namespace

const WideLinearKernels wide_linear_kernels = {
    .combine_weights = combine_weights,
    .combine_patches = combine_patches,
    .bilinear = bilinear,
};

}  // namespace mpcb::MPCB_TARGET
