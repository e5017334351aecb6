// C entry points of the ring array kernels.
#include "check.h"

using mpcb::active;
using mpcb::any_null;

extern "C" {

int mpcb_ring_channel_affine(const uint64_t* x, const uint64_t* m, const uint64_t* c, size_t channels, size_t n,
                             uint64_t* out) {
  if (channels == 0 || n % channels != 0) return MPCB_BAD_SIZE;
  if (n == 0) return MPCB_OK;
  if (any_null(x, m, out)) return MPCB_NULL_POINTER;
  active().ring->channel_affine(x, m, c, channels, n, out);
  return MPCB_OK;
}

int mpcb_ring_axpy(uint64_t* y, const uint64_t* x, uint64_t a, size_t n) {
  if (n == 0) return MPCB_OK;
  if (any_null(y, x)) return MPCB_NULL_POINTER;
  active().ring->axpy(y, x, a, n);
  return MPCB_OK;
}

int mpcb_ring_add(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n) {
  if (n == 0) return MPCB_OK;
  if (any_null(x, y, out)) return MPCB_NULL_POINTER;
  active().ring->add(x, y, out, n);
  return MPCB_OK;
}

int mpcb_ring_sub(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n) {
  if (n == 0) return MPCB_OK;
  if (any_null(x, y, out)) return MPCB_NULL_POINTER;
  active().ring->sub(x, y, out, n);
  return MPCB_OK;
}

int mpcb_ring_add_constant(const uint64_t* x, uint64_t a, uint64_t* out, size_t n) {
  if (n == 0) return MPCB_OK;
  if (any_null(x, out)) return MPCB_NULL_POINTER;
  active().ring->add_constant(x, a, out, n);
  return MPCB_OK;
}

int mpcb_window_sum(const mpcb_geometry* geometry, const uint64_t* x, uint64_t* z) {
  if (const int status = mpcb::check_geometry(geometry)) return status;
  if (geometry->in_channels != geometry->out_channels) return MPCB_BAD_GEOMETRY;
  if (any_null(x, z)) return MPCB_NULL_POINTER;
  active().ring->window_sum(*geometry, x, z);
  return MPCB_OK;
}

int mpcb_axis_sum(const uint64_t* x, size_t outer, size_t axis, size_t inner, uint64_t* z) {
  if (outer == 0 || inner == 0) return MPCB_OK;
  if (any_null(z) || (axis != 0 && any_null(x))) return MPCB_NULL_POINTER;
  active().ring->axis_sum(x, outer, axis, inner, z);
  return MPCB_OK;
}

int mpcb_ring_unmask_bits(const uint8_t* opened, const uint64_t* masks, unsigned width, int add_opened, size_t n,
                          uint64_t* out) {
  if (width > 8) return MPCB_BAD_SIZE;
  if (n == 0) return MPCB_OK;
  if (any_null(opened, out) || (width != 0 && any_null(masks))) return MPCB_NULL_POINTER;
  active().ring->unmask_bits(opened, masks, width, add_opened != 0, n, out);
  return MPCB_OK;
}
}
