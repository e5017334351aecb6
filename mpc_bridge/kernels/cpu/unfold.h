// Blocks of the unfolded image: a row per output pixel, a column per cell of its window. Per target, see kernels.h.
#pragma once

#include "kernels.h"
#include "window.h"

namespace mpcb::MPCB_TARGET {

// A block is at most kRows pixels by kDepth cells (33 KiB). The padding keeps equal columns of the rows in different
// cache sets.
constexpr int64_t kRows = 16;
constexpr int64_t kDepth = 256;
constexpr int64_t kRowWords = kDepth + 8;

static inline int64_t taps_of(const mpcb_geometry& g) { return g.kernel_height * g.kernel_width; }
static inline int64_t pixels_of(const mpcb_geometry& g) { return g.batch * g.out_height * g.out_width; }

static inline bool holds(const Window& window, int64_t kh, int64_t kw) {
  return kh >= window.rows.first && kh < window.rows.last && kw >= window.columns.first && kw < window.columns.last;
}

// Element offset of channel 0 of the cell at one kernel position.
static inline int64_t cell_offset(const mpcb_geometry& g, const Window& window, int64_t kh, int64_t kw) {
  return window.origin + (kh * g.dilation_height * g.in_width + kw * g.dilation_width) * g.in_channels;
}

// Copies unfolded columns [start, start + depth) of one output pixel; cells outside the image are 0.
static inline void unfold(const mpcb_geometry& g, const uint64_t* x, const Window& window, int64_t start, int64_t depth,
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

// Some rows of the unfolded matrix: in a block, or in the image itself.
struct Rows {
  const uint64_t* first;
  int64_t stride;
};

// Calls body(pixel, rows, start, depth, matrices) for every block; matrices[t] are its rows of x[t]. All terms' blocks
// together are no larger than one.
template <class Body>
static inline void for_each_block(const mpcb_geometry& g, int terms, const uint64_t* const* x, Body body) {
  alignas(64) uint64_t block[kRows * (kRowWords + 8 * kMostTerms)];
  Window windows[kRows];
  Rows matrices[kMostTerms];
  Pixels walk(g);
  const int64_t pixels = pixels_of(g), cells = taps_of(g) * g.in_channels;
  const int64_t most = kDepth / terms, stride = most + 8;
  const bool matrix = is_matrix(g);
  for (int64_t pixel = 0; pixel < pixels; pixel += kRows) {
    const int64_t rows = pixels - pixel < kRows ? pixels - pixel : kRows;
    for (int64_t r = 0; r < rows && !matrix; r++) windows[r] = walk.next();
    for (int64_t start = 0; start < cells; start += most) {
      const int64_t depth = cells - start < most ? cells - start : most;
      for (int t = 0; t < terms; t++) {
        uint64_t* const rows_of_term = block + t * kRows * stride;
        for (int64_t r = 0; r < rows && !matrix; r++)
          unfold(g, x[t], windows[r], start, depth, rows_of_term + r * stride);
        matrices[t] = matrix ? Rows{x[t] + pixel * cells + start, cells} : Rows{rows_of_term, stride};
      }
      body(pixel, rows, start, depth, static_cast<const Rows*>(matrices));
    }
  }
}

}  // namespace mpcb::MPCB_TARGET
