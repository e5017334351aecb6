// C entry points of the oblivious-transfer kernels.
#include "check.h"

using mpcb::active;
using mpcb::any_null;

extern "C" {

int mpcb_ot_expand(const uint8_t* seeds, size_t trees, unsigned depth, uint64_t domain, size_t bytes, uint8_t* sums,
                   uint8_t* weighted) {
  if (depth == 0 || depth > MPCB_OT_MOST_DEPTH) return MPCB_BAD_ARGUMENT;
  if (bytes % 64 != 0) return MPCB_BAD_SIZE;
  if (trees == 0 || bytes == 0) return MPCB_OK;
  if (any_null(seeds, sums, weighted)) return MPCB_NULL_POINTER;
  active().ot->expand(seeds, trees, depth, domain, bytes, sums, weighted);
  return MPCB_OK;
}

int mpcb_ot_hash(const uint8_t* key, const uint64_t* low, const uint64_t* high, size_t n, uint64_t domain,
                 uint64_t first, uint64_t delta_low, uint64_t delta_high, uint64_t* out_low, uint64_t* out_high) {
  if (n == 0) return MPCB_OK;
  if (any_null(key, low, high, out_low, out_high)) return MPCB_NULL_POINTER;
  active().ot->hash(key, low, high, n, domain, first, delta_low, delta_high, out_low, out_high);
  return MPCB_OK;
}

int mpcb_ot_digits(const uint8_t* key, const uint64_t* leaves, size_t trees, unsigned depth, uint64_t domain, size_t n,
                   uint64_t scale, uint64_t* sums, uint64_t* acc) {
  if (depth == 0 || depth > MPCB_OT_MOST_DEPTH) return MPCB_BAD_ARGUMENT;
  if (trees == 0 || n == 0) return MPCB_OK;
  if (any_null(key, leaves, sums, acc)) return MPCB_NULL_POINTER;
  active().ot->digits(key, leaves, trees, depth, domain, n, scale, sums, acc);
  return MPCB_OK;
}

int mpcb_ot_combine(const uint64_t* x, const uint64_t* m, size_t rows, size_t n, uint64_t* acc) {
  if (rows == 0 || n == 0) return MPCB_OK;
  if (any_null(x, m, acc)) return MPCB_NULL_POINTER;
  active().ot->combine(x, m, rows, n, acc);
  return MPCB_OK;
}

int mpcb_ot_inner(const uint64_t* rows, size_t count, size_t stride, const uint64_t* chi, size_t n, uint64_t* out) {
  if (n > stride) return MPCB_BAD_SIZE;
  if (count == 0) return MPCB_OK;
  if (any_null(out) || (n != 0 && any_null(rows, chi))) return MPCB_NULL_POINTER;
  active().ot->inner(rows, count, stride, chi, n, out);
  return MPCB_OK;
}
}
