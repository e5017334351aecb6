// C entry points of the PRF kernels.
#include "check.h"

using mpcb::active;
using mpcb::any_null;

extern "C" {

int mpcb_prf_fill(const uint8_t* key, uint64_t domain, uint64_t first_block, uint8_t* out, size_t bytes) {
  if (any_null(key)) return MPCB_NULL_POINTER;
  if (bytes == 0) return MPCB_OK;
  if (any_null(out)) return MPCB_NULL_POINTER;
  active().prf->fill(key, domain, first_block, out, bytes);
  return MPCB_OK;
}

int mpcb_ring_add_zero_share(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n) {
  if (any_null(key_a, key_b)) return MPCB_NULL_POINTER;
  if (n == 0) return MPCB_OK;
  if (any_null(z)) return MPCB_NULL_POINTER;
  active().prf->add_zero_share(key_a, key_b, domain, z, n);
  return MPCB_OK;
}
}
