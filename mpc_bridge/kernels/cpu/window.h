// Which cells of a window lie inside the image. Per target, see kernels.h.
#pragma once

#include "kernels.h"

namespace mpcb::MPCB_TARGET {

// Kernel positions [first, last) whose cell is inside the image.
struct Taps {
  int64_t first, last;
};

static inline Taps valid_taps(int64_t start, int64_t dilation, int64_t kernel, int64_t extent) {
  // start + k * dilation >= 0 and < extent
  int64_t first = start >= 0 ? 0 : (-start + dilation - 1) / dilation;
  int64_t last = start >= extent ? 0 : (extent - start + dilation - 1) / dilation;
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

// Element offset of channel 0 of the cell that output (b, oh, ow) reads at kernel position (kh, kw).
static inline int64_t cell_offset(const mpcb_geometry& g, int64_t b, int64_t oh, int64_t ow, int64_t kh, int64_t kw) {
  const int64_t ih = oh * g.stride_height - g.pad_top + kh * g.dilation_height;
  const int64_t iw = ow * g.stride_width - g.pad_left + kw * g.dilation_width;
  return ((b * g.in_height + ih) * g.in_width + iw) * g.in_channels;
}

}  // namespace mpcb::MPCB_TARGET
