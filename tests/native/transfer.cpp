// Oblivious-transfer kernels at every CPU level.
#include "levels.h"

namespace native {

void test_transfer() {
  const Bytes key = bytes(16);
  for (const unsigned depth : {1u, 4u, 8u})
    for (const size_t size : {size_t{64}, size_t{2048}, size_t{2112}}) {
      constexpr size_t kTrees = 2;
      const Bytes seeds = bytes(16 * kTrees << depth);
      Bytes other(kTrees * depth * size);
      same_at_every_level("ot_expand sums", kTrees * size, Bytes(kTrees * size), [&](uint8_t* sums) {
        OK(mpcb_ot_expand(seeds.data(), kTrees, depth, 7, size, sums, other.data()));
      });
      Bytes sums(kTrees * size);
      same_at_every_level("ot_expand weighted", other.size(), Bytes(other.size()), [&](uint8_t* weighted) {
        OK(mpcb_ot_expand(seeds.data(), kTrees, depth, 7, size, sums.data(), weighted));
      });
    }
  for (const size_t n : kLengths) {
    const Words low = words(n), high = words(n), m = words(3), rows = words(3 * n), chi = words(n);
    for (const bool second : {false, true})
      same_at_every_level("ot_hash", n, Words(n), [&](uint64_t* out) {
        Words other(n);
        OK(mpcb_ot_hash(key.data(), low.data(), high.data(), n, 5, ~uint64_t{3}, 11, 13, second ? other.data() : out,
                        second ? out : other.data()));
      });
    same_at_every_level("ot_combine", n, words(n),
                        [&](uint64_t* acc) { OK(mpcb_ot_combine(rows.data(), m.data(), 3, n, acc)); });
    same_at_every_level("ot_inner", 3, Words(3),
                        [&](uint64_t* out) { OK(mpcb_ot_inner(rows.data(), 3, n, chi.data(), n, out)); });
    for (const unsigned depth : {1u, 4u}) {
      const Words leaves = words(4ul << depth);
      Words sums(2 * n);
      same_at_every_level("ot_digits", n, words(n), [&](uint64_t* acc) {
        OK(mpcb_ot_digits(key.data(), leaves.data(), 2, depth, 3, n, ~uint64_t{15}, sums.data(), acc));
      });
      Words acc(n);
      same_at_every_level("ot_digits sums", 2 * n, Words(2 * n), [&](uint64_t* out) {
        OK(mpcb_ot_digits(key.data(), leaves.data(), 2, depth, 3, n, 1, out, acc.data()));
      });
    }
  }
  uint64_t word = 0;
  uint8_t byte = 0;
  REFUSED(mpcb_ot_expand(&byte, 1, 9, 0, 64, &byte, &byte), MPCB_BAD_ARGUMENT);
  REFUSED(mpcb_ot_expand(&byte, 1, 4, 0, 65, &byte, &byte), MPCB_BAD_SIZE);
  REFUSED(mpcb_ot_hash(&byte, &word, nullptr, 1, 0, 0, 0, 0, &word, &word), MPCB_NULL_POINTER);
  REFUSED(mpcb_ot_digits(&byte, &word, 1, 0, 0, 1, 1, &word, &word), MPCB_BAD_ARGUMENT);
  REFUSED(mpcb_ot_combine(nullptr, &word, 1, 1, &word), MPCB_NULL_POINTER);
  REFUSED(mpcb_ot_inner(&word, 1, 1, &word, 2, &word), MPCB_BAD_SIZE);
}

}  // namespace native
