// Dense 2-D convolution as a sum of ring matrix products: the image is unfolded in cache-sized blocks, never as a
// whole.
#include "gemm.h"
#include "kernels.h"
#include "window.h"

namespace mpcb::MPCB_TARGET {
namespace {

// One unfolded block is kBlockRows x kBlockDepth words (64 KiB); one weight panel of that depth is 16 KiB.
constexpr size_t kBlockRows = 64;
constexpr size_t kBlockDepth = 128;

size_t depth_of(const mpcb_geometry& g) {
  return static_cast<size_t>(g.kernel_height * g.kernel_width * g.in_channels);
}

// Panels of 16 output channels, each [terms][depth][16]; missing channels are zero.
void conv2d_pack(const mpcb_geometry& g, int terms, const uint64_t* const* w, uint64_t* packed) {
  const size_t depth = depth_of(g), channels = static_cast<size_t>(g.out_channels);
  for (size_t first = 0; first < channels; first += kPanel)
    for (int t = 0; t < terms; t++)
      for (size_t k = 0; k < depth; k++)
        for (size_t c = first; c < first + kPanel; c++) *packed++ = c < channels ? w[t][c * depth + k] : 0;
}

// Copies unfolded columns [start, start + depth) of some pixels, minus zero, to the rows of `block`; cells outside are
// 0.
//
// Kernel positions that are neighbours in memory form a run: a whole kernel row where columns are not dilated.
void unfold(const mpcb_geometry& g, const Window* windows, size_t rows, const uint64_t* x, uint64_t zero, int64_t start,
            int64_t depth, uint64_t* block) {
  const int64_t run_columns = g.dilation_width == 1 ? g.kernel_width : 1, run = run_columns * g.in_channels;
  const int64_t runs_per_row = g.kernel_width / run_columns, end = start + depth;
  for (int64_t index = start / run; index * run < end; index++) {
    const int64_t kh = index / runs_per_row, kw = index % runs_per_row * run_columns;
    const int64_t run_offset = (kh * g.dilation_height * g.in_width + kw * g.dilation_width) * g.in_channels;
    // the part of this run inside [start, end), in words from the run's begin
    const int64_t from = index * run < start ? start - index * run : 0;
    const int64_t to = (index + 1) * run > end ? end - index * run : run;
    uint64_t* out = block + (index * run - start);
    for (size_t r = 0; r < rows; r++, out += kBlockDepth) {
      const Window& window = windows[r];
      // of which words [inside, outside) are inside the image
      int64_t inside = from, outside = from;
      if (kh >= window.rows.first && kh < window.rows.last) {
        inside = (window.columns.first - kw) * g.in_channels;
        outside = (window.columns.last - kw) * g.in_channels;
        inside = inside < from ? from : inside > to ? to : inside;
        outside = outside < inside ? inside : outside > to ? to : outside;
      }
      const int64_t cells = window.origin + run_offset;
      for (int64_t i = from; i < inside; i++) out[i] = 0;
      for (int64_t i = inside; i < outside; i++) out[i] = x[cells + i] - zero;
      for (int64_t i = outside; i < to; i++) out[i] = 0;
    }
  }
}

void conv2d(const mpcb_geometry& g, int terms, const uint64_t* const* x, const uint64_t* x_zero, const uint64_t* packed,
            uint64_t* z) {
  const size_t depth = depth_of(g), channels = static_cast<size_t>(g.out_channels);
  const size_t pixels = static_cast<size_t>(g.batch * g.out_height * g.out_width);
  const size_t panel_words = static_cast<size_t>(terms) * depth * kPanel;
  const bool matrix = is_matrix(g);
  Pixels remaining(g);
  Window windows[kBlockRows];
  alignas(64) uint64_t block[kBlockRows * kBlockDepth];

  for (size_t pixel = 0; pixel < pixels; pixel += kBlockRows) {
    const size_t rows = pixels - pixel < kBlockRows ? pixels - pixel : kBlockRows;
    for (size_t r = 0; r < rows; r++) windows[r] = remaining.next();
    bool accumulate = false;
    for (int t = 0; t < terms; t++) {
      const uint64_t zero = x_zero == nullptr ? 0 : x_zero[t];
      for (size_t k = 0; k < depth; k += kBlockDepth) {
        const size_t columns = depth - k < kBlockDepth ? depth - k : kBlockDepth;
        const uint64_t* a = x[t] + pixel * depth + k;
        size_t stride = depth;
        if (!matrix || zero != 0) {
          unfold(g, windows, rows, x[t], zero, static_cast<int64_t>(k), static_cast<int64_t>(columns), block);
          a = block;
          stride = kBlockDepth;
        }
        const uint64_t* b = packed + (static_cast<size_t>(t) * depth + k) * kPanel;
        for (size_t c = 0; c < channels; c += kPanel, b += panel_words)
          panel_product(a, stride, rows, b, columns, z + pixel * channels + c, channels,
                        channels - c < kPanel ? channels - c : kPanel, accumulate);
        accumulate = true;
      }
    }
  }
}

}  // namespace

const DenseKernels dense_kernels = {.conv2d_pack = conv2d_pack, .conv2d = conv2d};

}  // namespace mpcb::MPCB_TARGET
