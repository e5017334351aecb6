// Linear layers modulo 2^128, and the random combinations of their operands and results that the linear check takes.
//
// Activations are single words: a component is canonical in [0, 2^k). A public zero point z is subtracted from the
// result, not from the operand (x - z needs 65 bits): the weights under the valid cells are summed once for each
// position of the window.
#include <stdlib.h>
#include <string.h>

#include "wide.h"
#include "window.h"

namespace mpcb::MPCB_TARGET {
namespace {

// An unfolded block is kRows pixels by kDepth cells (33 KiB). The padding keeps equal columns of the rows in different
// cache sets.
constexpr int64_t kRows = 16;
constexpr int64_t kDepth = 256;
constexpr int64_t kRowWords = kDepth + 8;

int64_t taps_of(const mpcb_geometry& g) { return g.kernel_height * g.kernel_width; }
int64_t pixels_of(const mpcb_geometry& g) { return g.batch * g.out_height * g.out_width; }

bool holds(const Window& window, int64_t kh, int64_t kw) {
  return kh >= window.rows.first && kh < window.rows.last && kw >= window.columns.first && kw < window.columns.last;
}

bool same_taps(const Window& a, const Window& b) {
  return a.rows.first == b.rows.first && a.rows.last == b.rows.last && a.columns.first == b.columns.first &&
         a.columns.last == b.columns.last;
}

// Element offset of channel 0 of the cell at one kernel position.
int64_t cell_offset(const mpcb_geometry& g, const Window& window, int64_t kh, int64_t kw) {
  return window.origin + (kh * g.dilation_height * g.in_width + kw * g.dilation_width) * g.in_channels;
}

// Copies unfolded columns [start, start + depth) of one output pixel; cells outside the image are 0.
void unfold(const mpcb_geometry& g, const uint64_t* x, const Window& window, int64_t start, int64_t depth,
            uint64_t* row) {
  const int64_t end = start + depth;
  for (int64_t tap = start / g.in_channels; tap * g.in_channels < end; tap++) {
    const int64_t kh = tap / g.kernel_width, kw = tap % g.kernel_width, base = tap * g.in_channels;
    const int64_t from = base < start ? start - base : 0;
    const int64_t to = base + g.in_channels > end ? end - base : g.in_channels;
    uint64_t* out = row + (base - start);
    if (holds(window, kh, kw)) {
      const uint64_t* cell = x + cell_offset(g, window, kh, kw);
      for (int64_t i = from; i < to; i++) out[i] = cell[i];
    } else {
      for (int64_t i = from; i < to; i++) out[i] = 0;
    }
  }
}

// Calls body(pixel, rows, start, depth, block) for every unfolded block of one term.
template <class Body>
static inline void for_each_block(const mpcb_geometry& g, const uint64_t* x, Body body) {
  alignas(64) uint64_t block[kRows * kRowWords];
  Window windows[kRows];
  Pixels walk(g);
  const int64_t pixels = pixels_of(g), cells = taps_of(g) * g.in_channels;
  for (int64_t pixel = 0; pixel < pixels; pixel += kRows) {
    const int64_t rows = pixels - pixel < kRows ? pixels - pixel : kRows;
    for (int64_t r = 0; r < rows; r++) windows[r] = walk.next();
    for (int64_t start = 0; start < cells; start += kDepth) {
      const int64_t depth = cells - start < kDepth ? cells - start : kDepth;
      for (int64_t r = 0; r < rows; r++) unfold(g, x, windows[r], start, depth, block + r * kRowWords);
      body(pixel, rows, start, depth, static_cast<const uint64_t*>(block));
    }
  }
}

// z[r] += sum_k a[r][k] * w[k] for rows whose sums stay in general registers. Products with the high words of w need no
// carries: their sum waits in one register until the end.
template <int Rows>
static inline void tile(const uint64_t* a, const uint64_t* w, int64_t depth, uint64_t* z, int64_t z_stride) {
  Wide low[Rows] = {};
  uint64_t high[Rows] = {};
  for (int64_t k = 0; k < depth; k++)
#pragma GCC unroll 2
    for (int r = 0; r < Rows; r++) {
      const uint64_t factor = a[r * kRowWords + k];
      low[r] += static_cast<Wide>(factor) * w[2 * k];
      high[r] += factor * w[2 * k + 1];
    }
  for (int r = 0; r < Rows; r++, z += z_stride) store_wide(z, load_wide(z) + low[r] + wide(0, high[r]));
}

bool all_zero(int terms, const int64_t* x_zero) {
  for (int t = 0; t < terms; t++)
    if (x_zero != nullptr && x_zero[t] != 0) return false;
  return true;
}

// z = - sum over terms and valid cells of x_zero[t] * w_t. False where memory is short.
bool subtract_zeros(const mpcb_geometry& g, int terms, const int64_t* x_zero, const uint64_t* const* w, uint64_t* z) {
  const size_t taps = static_cast<size_t>(taps_of(g)), channels = static_cast<size_t>(g.out_channels);
  const size_t depth = static_cast<size_t>(g.in_channels);
  // [taps][channels] sums under one cell, then [channels] under the window of the current pixel
  uint64_t* const under_cell = static_cast<uint64_t*>(malloc((taps + 1) * channels * sizeof(Wide)));
  if (under_cell == nullptr) return false;
  uint64_t* const under_window = under_cell + 2 * taps * channels;
  for (size_t tap = 0; tap < taps; tap++)
    for (size_t c = 0; c < channels; c++) {
      Wide total = 0;
      for (int t = 0; t < terms; t++) {
        const uint64_t* const cells = w[t] + 2 * (c * taps + tap) * depth;
        Wide sum = 0;
        for (size_t i = 0; i < depth; i++) sum += load_wide(cells + 2 * i);
        total += sum * wide_constant(x_zero[t]);
      }
      store_wide(under_cell + 2 * (tap * channels + c), total);
    }
  Pixels walk(g);
  Window summed;
  for (int64_t pixel = 0; pixel < pixels_of(g); pixel++) {
    const Window window = walk.next();
    if (pixel == 0 || !same_taps(window, summed)) {
      summed = window;
      memset(under_window, 0, channels * sizeof(Wide));
      for (int64_t kh = window.rows.first; kh < window.rows.last; kh++)
        for (int64_t kw = window.columns.first; kw < window.columns.last; kw++) {
          const uint64_t* const cell = under_cell + 2 * static_cast<size_t>(kh * g.kernel_width + kw) * channels;
          for (size_t c = 0; c < 2 * channels; c += 2)
            store_wide(under_window + c, load_wide(under_window + c) - load_wide(cell + c));
        }
    }
    memcpy(z + 2 * static_cast<size_t>(pixel) * channels, under_window, channels * sizeof(Wide));
  }
  free(under_cell);
  return true;
}

bool conv2d(const mpcb_geometry& g, int terms, const uint64_t* const* x, const int64_t* x_zero,
            const uint64_t* const* w, uint64_t* z) {
  if (all_zero(terms, x_zero)) {
    memset(z, 0, static_cast<size_t>(pixels_of(g) * g.out_channels) * sizeof(Wide));
  } else if (!subtract_zeros(g, terms, x_zero, w, z)) {
    return false;
  }
  const int64_t w_stride = 2 * taps_of(g) * g.in_channels, z_stride = 2 * g.out_channels;
  for (int t = 0; t < terms; t++)
    for_each_block(g, x[t], [&](int64_t pixel, int64_t rows, int64_t start, int64_t depth, const uint64_t* block) {
      const uint64_t* filter = w[t] + 2 * start;
      for (int64_t c = 0; c < g.out_channels; c++, filter += w_stride) {
        uint64_t* const out = z + pixel * z_stride + 2 * c;
        int64_t r = 0;
        for (; r + 2 <= rows; r += 2) tile<2>(block + r * kRowWords, filter, depth, out + r * z_stride, z_stride);
        if (r < rows) tile<1>(block + r * kRowWords, filter, depth, out + r * z_stride, z_stride);
      }
    });
  return true;
}

void depthwise2d(const mpcb_geometry& g, int terms, const uint64_t* const* x, const int64_t* x_zero,
                 const uint64_t* const* w, uint64_t* z) {
  const int64_t multiplier = g.out_channels / g.in_channels;
  Pixels walk(g);
  for (int64_t pixel = 0; pixel < pixels_of(g); pixel++, z += 2 * g.out_channels) {
    const Window window = walk.next();
    memset(z, 0, static_cast<size_t>(g.out_channels) * sizeof(Wide));
    for (int t = 0; t < terms; t++) {
      const Wide zero = x_zero == nullptr ? 0 : wide_constant(x_zero[t]);
      for (int64_t kh = window.rows.first; kh < window.rows.last; kh++)
        for (int64_t kw = window.columns.first; kw < window.columns.last; kw++) {
          const uint64_t* const cell = x[t] + cell_offset(g, window, kh, kw);
          const uint64_t* const filter = w[t] + 2 * (kh * g.kernel_width + kw) * g.out_channels;
          for (int64_t i = 0, c = 0; i < g.in_channels; i++) {
            const Wide difference = cell[i] - zero;
            for (const int64_t last = c + multiplier; c < last; c++)
              store_wide(z + 2 * c, load_wide(z + 2 * c) + difference * load_wide(filter + 2 * c));
          }
        }
    }
  }
}

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

void combine_patches(const mpcb_geometry& g, const uint64_t* psi, const uint64_t* x, int64_t x_zero, uint64_t* out) {
  const int64_t taps = taps_of(g);
  for (int64_t tap = 0; tap < taps; tap++) {
    Wide under_cell = 0;  // sum of psi over the pixels that read a cell here
    Pixels walk(g);
    for (int64_t pixel = 0; x_zero != 0 && pixel < pixels_of(g); pixel++)
      if (holds(walk.next(), tap / g.kernel_width, tap % g.kernel_width)) under_cell += load_wide(psi + 2 * pixel);
    const Wide start = -(wide_constant(x_zero) * under_cell);
    for (int64_t i = 0; i < g.in_channels; i++) store_wide(out + 2 * (tap * g.in_channels + i), start);
  }
  for_each_block(g, x, [&](int64_t pixel, int64_t rows, int64_t start, int64_t depth, const uint64_t* block) {
    for (int64_t k = 0; k < depth; k++) {
      uint64_t* const cell = out + 2 * (start + k);
      Wide sum = load_wide(cell);
      for (int64_t r = 0; r < rows; r++) sum += times_word(block[r * kRowWords + k], psi + 2 * (pixel + r));
      store_wide(cell, sum);
    }
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
    .conv2d = conv2d,
    .depthwise2d = depthwise2d,
    .combine_weights = combine_weights,
    .combine_patches = combine_patches,
    .bilinear = bilinear,
};

}  // namespace mpcb::MPCB_TARGET
