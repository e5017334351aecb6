// C entry points of the linear layers.
#include "check.h"

using mpcb::active;
using mpcb::any_null;

namespace {

constexpr int64_t kPanel = 16;

int check_terms(const mpcb_geometry* geometry, int terms) {
  if (const int status = mpcb::check_geometry(geometry)) return status;
  return terms < 1 || terms > mpcb::kMostTerms ? MPCB_BAD_ARGUMENT : MPCB_OK;
}

int check_arrays(int terms, const uint64_t* const* arrays) {
  if (arrays == nullptr) return MPCB_NULL_POINTER;
  for (int t = 0; t < terms; t++)
    if (arrays[t] == nullptr) return MPCB_NULL_POINTER;
  return MPCB_OK;
}

}  // namespace

extern "C" {

int mpcb_conv2d_packed_size(const mpcb_geometry* geometry, int terms, size_t* elements) {
  if (const int status = check_terms(geometry, terms)) return status;
  if (elements == nullptr) return MPCB_NULL_POINTER;
  const int64_t panels = (geometry->out_channels + kPanel - 1) / kPanel;
  if (!mpcb::element_count(elements, panels, int64_t{terms}, geometry->kernel_height, geometry->kernel_width,
                           geometry->in_channels, kPanel))
    return MPCB_BAD_GEOMETRY;
  return MPCB_OK;
}

int mpcb_conv2d_pack(const mpcb_geometry* geometry, int terms, const uint64_t* const* w, uint64_t* packed) {
  size_t elements;
  if (const int status = mpcb_conv2d_packed_size(geometry, terms, &elements)) return status;
  if (const int status = check_arrays(terms, w)) return status;
  if (any_null(packed)) return MPCB_NULL_POINTER;
  active().dense->conv2d_pack(*geometry, terms, w, packed);
  return MPCB_OK;
}

int mpcb_conv2d(const mpcb_geometry* geometry, int terms, const uint64_t* const* x, const uint64_t* x_zero,
                const uint64_t* packed, uint64_t* z) {
  size_t elements;
  if (const int status = mpcb_conv2d_packed_size(geometry, terms, &elements)) return status;
  if (const int status = check_arrays(terms, x)) return status;
  if (any_null(packed, z)) return MPCB_NULL_POINTER;
  active().dense->conv2d(*geometry, terms, x, x_zero, packed, z);
  return MPCB_OK;
}

int mpcb_depthwise2d(const mpcb_geometry* geometry, int terms, const uint64_t* const* x, const uint64_t* x_zero,
                     const uint64_t* const* w, uint64_t* z) {
  if (const int status = check_terms(geometry, terms)) return status;
  if (geometry->out_channels % geometry->in_channels != 0) return MPCB_BAD_GEOMETRY;
  if (const int status = check_arrays(terms, x)) return status;
  if (const int status = check_arrays(terms, w)) return status;
  if (any_null(z)) return MPCB_NULL_POINTER;
  active().depthwise->depthwise2d(*geometry, terms, x, x_zero, w, z);
  return MPCB_OK;
}
}
