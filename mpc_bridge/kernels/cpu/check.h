// Argument checks shared by the C entry points.
#pragma once

#include <initializer_list>

#include "kernels.h"

namespace mpcb {

// Extents are at least 1 and small enough that no product of indices overflows 64 bits.
inline bool valid_extent(int64_t extent) { return extent >= 1 && extent <= (int64_t{1} << 24); }

// The product of valid extents, or false where it reaches 2^40 elements.
template <class... Factors>
inline bool element_count(size_t* count, Factors... factors) {
  uint64_t product = 1;
  for (const int64_t factor : {static_cast<int64_t>(factors)...}) {
    product *= static_cast<uint64_t>(factor);  // below 2^40 * 2^24: no overflow
    if (product >= (uint64_t{1} << 40)) return false;
  }
  *count = static_cast<size_t>(product);
  return true;
}

inline int check_geometry(const mpcb_geometry* g) {
  if (g == nullptr) return MPCB_NULL_POINTER;
  for (const int64_t extent :
       {g->batch, g->in_height, g->in_width, g->in_channels, g->out_height, g->out_width, g->out_channels,
        g->kernel_height, g->kernel_width, g->stride_height, g->stride_width, g->dilation_height, g->dilation_width})
    if (!valid_extent(extent)) return MPCB_BAD_GEOMETRY;
  if (g->pad_top < 0 || g->pad_left < 0 || g->pad_top >= (1 << 24) || g->pad_left >= (1 << 24))
    return MPCB_BAD_GEOMETRY;
  size_t count;
  if (!element_count(&count, g->batch, g->in_height, g->in_width, g->in_channels) ||
      !element_count(&count, g->batch, g->out_height, g->out_width, g->out_channels) ||
      !element_count(&count, g->kernel_height, g->kernel_width, g->in_channels, g->out_channels))
    return MPCB_BAD_GEOMETRY;
  return MPCB_OK;
}

template <class... Pointers>
inline bool any_null(Pointers... pointers) {
  return ((pointers == nullptr) || ...);
}

}  // namespace mpcb
