// Arithmetic over GF(2^64) and batch verification at every CPU level.
#include <algorithm>

#include "levels.h"

namespace native {
namespace {

constexpr size_t kParts = 64, kTileLanes = 4096;

void test_vectors() {
  const Bytes a = bytes(16), b = bytes(16);
  for (const size_t n : kLengths) {
    const Words x = words(n), y = words(n), products = words(2 * n);
    same_at_every_level("gf_mul", n, x, [&](uint64_t* out) { OK(mpcb_gf_mul(out, y.data(), out, n)); });
    same_at_every_level("gf_reduce", n, Words(n), [&](uint64_t* out) { OK(mpcb_gf_reduce(products.data(), n, out)); });
    same_at_every_level("gf_add_zero_share", n, x,
                        [&](uint64_t* z) { OK(mpcb_gf_add_zero_share(a.data(), b.data(), 5, z, n)); });
    const Words a_next = words(n), b_own = words(n), b_next = words(n);
    for (const size_t arity : {2, 4, 7, 32}) {
      const Words u = words(arity);
      const size_t piece = (n + arity - 1) / arity;
      same_at_every_level("gf_fold_products", arity * arity, Words(arity * arity), [&](uint64_t* out) {
        OK(mpcb_gf_fold_products(x.data(), a_next.data(), b_own.data(), b_next.data(), n, arity, out));
      });
      same_at_every_level("gf_fold", piece, Words(piece),
                          [&](uint64_t* out) { OK(mpcb_gf_fold(x.data(), n, arity, u.data(), out)); });
      same_at_every_level("gf_fold in place", n, x,
                          [&](uint64_t* out) { OK(mpcb_gf_fold(out, n, arity, u.data(), out)); });
    }
  }
  uint64_t word = 0;
  REFUSED(mpcb_gf_fold(&word, 1, 1, &word, &word), MPCB_BAD_ARGUMENT);
  REFUSED(mpcb_gf_fold(&word, 1, 33, &word, &word), MPCB_BAD_ARGUMENT);
  REFUSED(mpcb_gf_fold_products(&word, &word, &word, &word, 1, 33, &word), MPCB_BAD_ARGUMENT);
  REFUSED(mpcb_gf_mul(&word, nullptr, &word, 1), MPCB_NULL_POINTER);
}

// Registers are used by several rows, and junk fills the planes past the last lane.
void test_record(size_t lanes, size_t row_count, size_t groups, uint64_t first) {
  constexpr size_t kRegisters = 7;
  const size_t stride = (lanes + 511) / 512 * 64, tiles = (lanes + kTileLanes - 1) / kTileLanes;
  const Bytes planes = bytes(kRegisters * stride), key = bytes(16);
  const auto numbers = [](size_t n, size_t limit) {
    std::vector<int32_t> v(n);
    for (int32_t& number : v) number = static_cast<int32_t>(next() % limit);
    return v;
  };
  const auto components = [&](size_t n) {
    std::vector<int32_t> v = numbers(n, kRegisters + 2);
    for (int32_t& number : v)
      if (number >= static_cast<int32_t>(kRegisters)) number = MPCB_GF_ABSENT;
    return v;
  };
  std::vector<int32_t> rows = components(4 * row_count), group = numbers(row_count, groups);
  if (row_count % 2 != 0) std::sort(group.begin(), group.end());
  std::vector<int32_t> z = components(2 * groups);
  const Words u = words(kParts), v = words(kParts);
  const auto first_fold = [&](uint64_t* acc) {
    return mpcb_gf_first_fold(planes.data(), kRegisters, stride, lanes, rows.data(), group.data(), row_count, groups,
                              key.data(), 9, first, acc);
  };
  const auto z_sum = [&](uint64_t* out) {
    return mpcb_gf_z_sum(planes.data(), kRegisters, stride, lanes, z.data(), groups, key.data(), 9, first, u.data(),
                         out);
  };
  const Words acc = words(2 * kParts * kParts);
  same_at_every_level("gf_first_fold", acc.size(), acc, [&](uint64_t* out) { OK(first_fold(out)); });
  same_at_every_level("gf_z_sum", 2, words(2), [&](uint64_t* out) { OK(z_sum(out)); });
  // factors of one row, then of one to three
  for (const uint64_t most : {1, 3}) {
    std::vector<int32_t> factor(row_count);
    for (size_t m = 1; m < row_count; m++) factor[m] = factor[m - 1] + (next() % most == 0);
    const size_t factors = static_cast<size_t>(factor.back()) + 1, size = tiles * factors * 64;
    const auto lift = [&](uint64_t* const* arrays) {
      return mpcb_gf_lift(planes.data(), kRegisters, stride, lanes, rows.data(), group.data(), row_count, groups,
                          key.data(), 9, first, factor.data(), factors, u.data(), v.data(), arrays[0], arrays[1],
                          arrays[2], arrays[3]);
    };
    for (size_t which = 0; which < 4; which++)
      same_at_every_level("gf_lift", size, Words(size), [&](uint64_t* out) {
        Words others[4] = {Words(size), Words(size), Words(size), Words(size)};
        uint64_t* arrays[4] = {others[0].data(), others[1].data(), others[2].data(), others[3].data()};
        arrays[which] = out;
        OK(lift(arrays));
      });
    uint64_t* const none[4] = {};
    REFUSED(lift(none), MPCB_NULL_POINTER);
    factor[0] = 1;
    Words other(size + 64);
    uint64_t* const arrays[4] = {other.data(), other.data(), other.data(), other.data()};
    REFUSED(lift(arrays), MPCB_INDEX_OUT_OF_RANGE);
  }
  Words out = acc;
  rows.back() = kRegisters;
  REFUSED(first_fold(out.data()), MPCB_INDEX_OUT_OF_RANGE);
  rows.back() = 0;
  group.back() = -1;
  REFUSED(first_fold(out.data()), MPCB_INDEX_OUT_OF_RANGE);
  z.back() = kRegisters;
  REFUSED(z_sum(out.data()), MPCB_INDEX_OUT_OF_RANGE);
}

}  // namespace

void test_field() {
  test_vectors();
  for (const size_t lanes : {1, 63, 64, 511, 513, 4095, 4096, 4097, 12345})
    for (const size_t rows : {1, 5, 33}) test_record(lanes, rows, rows, 3 * lanes);
  test_record(5000, 40, 301, ~uint64_t{0} - 602);
  const Bytes planes(64), key(16);
  const int32_t row[4] = {}, group = 0;
  Words acc(2 * kParts * kParts);
  const auto first_fold = [&](size_t stride, size_t lanes, uint64_t first) {
    return mpcb_gf_first_fold(planes.data(), 1, stride, lanes, row, &group, 1, 1, key.data(), 0, first, acc.data());
  };
  REFUSED(first_fold(64, 513, 0), MPCB_BAD_SIZE);
  REFUSED(first_fold(65, 1, 0), MPCB_BAD_SIZE);
  REFUSED(first_fold(64, 1, ~uint64_t{0}), MPCB_BAD_ARGUMENT);
}

}  // namespace native
