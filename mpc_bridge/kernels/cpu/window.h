// Which cells of a window lie inside the image. Per target, see kernels.h.
#pragma once

#include "kernels.h"

namespace mpcb::MPCB_TARGET {

// Kernel positions [first, last) whose cell is inside the image.
struct Taps {
  int64_t first, last;
};

static inline Taps valid_taps(int64_t start, int64_t dilation, int64_t kernel, int64_t extent) {
  // start + k * dilation >= 0 and < extent; divisions are slow and dilation is rare
  int64_t first = start >= 0 ? 0 : -start;
  int64_t last = start >= extent ? 0 : extent - start;
  if (dilation != 1) {
    first = (first + dilation - 1) / dilation;
    last = (last + dilation - 1) / dilation;
  }
  if (last > kernel) last = kernel;
  if (first > last) first = last;
  return {first, last};
}

static inline Taps valid_rows(const mpcb_geometry& g, int64_t oh) {
  return valid_taps(oh * g.stride_height - g.pad_top, g.dilation_height, g.kernel_height, g.in_height);
}

static inline Taps valid_columns(const mpcb_geometry& g, int64_t ow) {
  return valid_taps(ow * g.stride_width - g.pad_left, g.dilation_width, g.kernel_width, g.in_width);
}

// One output pixel: where its window starts (element offset of kernel position (0, 0), perhaps outside) and its valid
// taps.
struct Window {
  int64_t origin;
  Taps rows, columns;
};

// A 1x1 convolution of the whole image, or a matrix product: x already is the unfolded matrix.
static inline bool is_matrix(const mpcb_geometry& g) {
  return g.kernel_height == 1 && g.kernel_width == 1 && g.stride_height == 1 && g.stride_width == 1 && g.pad_top == 0 &&
         g.pad_left == 0 && g.in_height == g.out_height && g.in_width == g.out_width;
}

// Output pixels in memory order.
class Pixels {
 public:
  explicit Pixels(const mpcb_geometry& geometry) : g(geometry) {}

  Window next() {
    const int64_t ih = oh * g.stride_height - g.pad_top, iw = ow * g.stride_width - g.pad_left;
    const Window window = {((b * g.in_height + ih) * g.in_width + iw) * g.in_channels, rows, valid_columns(g, ow)};
    if (++ow == g.out_width) {
      ow = 0;
      if (++oh == g.out_height) {
        oh = 0;
        b++;
      }
      rows = valid_rows(g, oh);
    }
    return window;
  }

 private:
  const mpcb_geometry& g;
  int64_t b = 0, oh = 0, ow = 0;
  Taps rows = valid_rows(g, 0);
};

}  // namespace mpcb::MPCB_TARGET
