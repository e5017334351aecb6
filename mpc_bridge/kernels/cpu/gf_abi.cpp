// C entry points of the arithmetic over GF(2^64).
#include "check.h"

using mpcb::active;
using mpcb::any_null;

namespace {

constexpr size_t kTileLanes = 4096;

bool too_many(size_t n) { return n >= (size_t{1} << 40); }

bool below(int32_t number, size_t count) { return number >= 0 && static_cast<size_t>(number) < count; }
bool is_register(int32_t number, size_t count) { return number == MPCB_GF_ABSENT || below(number, count); }

// The record itself; rows may be absent. Weight indices stay below 2^64 - 1.
int check_record(const mpcb::GfRecord& record) {
  if (too_many(record.lanes) || too_many(record.registers) || too_many(record.groups) || too_many(record.row_count))
    return MPCB_BAD_SIZE;
  if (record.stride % 64 != 0 || record.stride < (record.lanes + 7) / 8) return MPCB_BAD_SIZE;
  const size_t tiles = (record.lanes + kTileLanes - 1) / kTileLanes;
  uint64_t weights, last;
  if (__builtin_mul_overflow(uint64_t{tiles}, uint64_t{record.groups}, &weights) ||
      __builtin_add_overflow(record.first, weights, &last))
    return MPCB_BAD_ARGUMENT;
  if (any_null(record.planes, record.key) || (record.row_count != 0 && any_null(record.rows, record.group)))
    return MPCB_NULL_POINTER;
  for (size_t m = 0; m < record.row_count; m++) {
    for (size_t i = 0; i < 4; i++)
      if (!is_register(record.rows[4 * m + i], record.registers)) return MPCB_INDEX_OUT_OF_RANGE;
    if (!below(record.group[m], record.groups)) return MPCB_INDEX_OUT_OF_RANGE;
  }
  return MPCB_OK;
}

}  // namespace

extern "C" {

int mpcb_gf_mul(const uint64_t* a, const uint64_t* b, uint64_t* out, size_t n) {
  if (n == 0) return MPCB_OK;
  if (any_null(a, b) || any_null(out)) return MPCB_NULL_POINTER;
  active().gf->mul(a, b, out, n);
  return MPCB_OK;
}

int mpcb_gf_weighted_sum(const uint64_t* x, size_t n, const uint8_t* key, uint64_t domain, uint64_t first,
                         uint64_t* out) {
  if (too_many(n)) return MPCB_BAD_SIZE;
  if (first % 2 != 0 || first >= (uint64_t{1} << 62)) return MPCB_BAD_ARGUMENT;
  if (any_null(key) || any_null(out) || (n != 0 && any_null(x))) return MPCB_NULL_POINTER;
  active().gf->weighted_sum(x, n, key, domain, first, out);
  return MPCB_OK;
}

int mpcb_gf_reduce(const uint64_t* products, size_t n, uint64_t* out) {
  if (n == 0) return MPCB_OK;
  if (any_null(products) || any_null(out)) return MPCB_NULL_POINTER;
  active().gf->reduce(products, n, out);
  return MPCB_OK;
}

int mpcb_gf_add_zero_share(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n) {
  if (any_null(key_a, key_b)) return MPCB_NULL_POINTER;
  if (n == 0) return MPCB_OK;
  if (any_null(z)) return MPCB_NULL_POINTER;
  active().gf->add_zero_share(key_a, key_b, domain, z, n);
  return MPCB_OK;
}

int mpcb_gf_fold_products(const uint64_t* a_own, const uint64_t* a_next, const uint64_t* b_own, const uint64_t* b_next,
                          size_t length, size_t arity, uint64_t* out) {
  if (arity < 2 || arity > MPCB_GF_MOST_ARITY) return MPCB_BAD_ARGUMENT;
  if (too_many(length)) return MPCB_BAD_SIZE;
  if (any_null(out) || (length != 0 && any_null(a_own, a_next, b_own, b_next))) return MPCB_NULL_POINTER;
  active().gf->fold_products(a_own, a_next, b_own, b_next, length, arity, out);
  return MPCB_OK;
}

int mpcb_gf_fold(const uint64_t* a, size_t length, size_t arity, const uint64_t* u, uint64_t* out) {
  if (arity < 2 || arity > MPCB_GF_MOST_ARITY) return MPCB_BAD_ARGUMENT;
  if (too_many(length)) return MPCB_BAD_SIZE;
  if (length == 0) return MPCB_OK;
  if (any_null(a, u) || any_null(out)) return MPCB_NULL_POINTER;
  active().gf->fold(a, length, arity, u, out);
  return MPCB_OK;
}

int mpcb_gf_first_fold(const uint8_t* planes, size_t registers, size_t stride, size_t lanes, const int32_t* rows,
                       const int32_t* group, size_t row_count, size_t groups, const uint8_t* key, uint64_t domain,
                       uint64_t first, uint64_t* acc) {
  const mpcb::GfRecord record = {planes, registers, stride, lanes, rows, group, row_count, groups, key, domain, first};
  if (lanes == 0 || row_count == 0) return MPCB_OK;
  if (const int status = check_record(record)) return status;
  if (any_null(acc)) return MPCB_NULL_POINTER;
  active().gf_rows->first_fold(record, acc);
  return MPCB_OK;
}

int mpcb_gf_z_sum(const uint8_t* planes, size_t registers, size_t stride, size_t lanes, const int32_t* z, size_t groups,
                  const uint8_t* key, uint64_t domain, uint64_t first, const uint64_t* nu, uint64_t* out) {
  const mpcb::GfRecord record = {planes, registers, stride, lanes, nullptr, nullptr, 0, groups, key, domain, first};
  if (lanes == 0 || groups == 0) return MPCB_OK;
  if (const int status = check_record(record)) return status;
  if (any_null(z) || any_null(nu) || any_null(out)) return MPCB_NULL_POINTER;
  for (size_t i = 0; i < 2 * groups; i++)
    if (!is_register(z[i], registers)) return MPCB_INDEX_OUT_OF_RANGE;
  active().gf_rows->z_sum(record, z, nu, out);
  return MPCB_OK;
}

int mpcb_gf_lift(const uint8_t* planes, size_t registers, size_t stride, size_t lanes, const int32_t* rows,
                 const int32_t* group, size_t row_count, size_t groups, const uint8_t* key, uint64_t domain,
                 uint64_t first, const int32_t* factor, size_t factors, const uint64_t* u, const uint64_t* v,
                 uint64_t* a_own, uint64_t* a_next, uint64_t* b_own, uint64_t* b_next) {
  const mpcb::GfRecord record = {planes, registers, stride, lanes, rows, group, row_count, groups, key, domain, first};
  if (lanes == 0 || row_count == 0) return factors == 0 || lanes == 0 ? MPCB_OK : MPCB_BAD_SIZE;
  if (const int status = check_record(record)) return status;
  if (any_null(u, v) || any_null(factor) || any_null(a_own, a_next, b_own, b_next)) return MPCB_NULL_POINTER;
  // every factor is written: they are numbered 0, 1, ... in the order of the rows
  if (factor[0] != 0) return MPCB_INDEX_OUT_OF_RANGE;
  for (size_t m = 1; m < row_count; m++)
    if (factor[m] != factor[m - 1] && factor[m] != factor[m - 1] + 1) return MPCB_INDEX_OUT_OF_RANGE;
  if (static_cast<size_t>(factor[row_count - 1]) + 1 != factors) return MPCB_BAD_SIZE;
  active().gf_lift->lift(record, factor, factors, u, v, a_own, a_next, b_own, b_next);
  return MPCB_OK;
}
}
