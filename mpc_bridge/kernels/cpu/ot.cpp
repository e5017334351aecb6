// Oblivious transfer: streams of punctured trees, the correlation-robust hash, products by digits.
#include <cstring>

#include "gf.h"
#include "prf.h"

namespace mpcb::MPCB_TARGET {
namespace {

constexpr unsigned kMostLeaves = 1u << MPCB_OT_MOST_DEPTH;

void expand(const uint8_t* seeds, size_t trees, unsigned depth, uint64_t domain, size_t bytes, uint8_t* sums,
            uint8_t* weighted) {
  constexpr size_t kTile = 256;  // words: all accumulators of a tile stay in the first-level cache
  const unsigned leaves = 1u << depth;
  PrfSchedule schedules[kMostLeaves];
  alignas(64) uint64_t stream[kTile], sum[kTile], part[MPCB_OT_MOST_DEPTH][kTile];
  for (size_t t = 0; t < trees; t++) {
    for (unsigned y = 0; y < leaves; y++) prf_expand(seeds + kBlockBytes * (t * leaves + y), schedules[y]);
    for (size_t base = 0; base < bytes; base += 8 * kTile) {
      const size_t now = bytes - base < 8 * kTile ? bytes - base : 8 * kTile;
      memset(sum, 0, sizeof sum);
      memset(part, 0, depth * sizeof part[0]);
      for (unsigned y = 0; y < leaves; y++) {
        keystream(schedules[y], domain, base / kBlockBytes, reinterpret_cast<uint8_t*>(stream), now / kBlockBytes);
        for (size_t i = 0; i < now / 8; i++) sum[i] ^= stream[i];
        for (unsigned b = 0; b < depth; b++)
          if (y >> b & 1)
            for (size_t i = 0; i < now / 8; i++) part[b][i] ^= stream[i];
      }
      memcpy(sums + t * bytes + base, sum, now);
      for (unsigned b = 0; b < depth; b++) memcpy(weighted + (t * depth + b) * bytes + base, part[b], now);
    }
  }
  wipe(schedules, sizeof schedules);
  wipe(stream, sizeof stream);
}

void hash(const uint8_t* key, const uint64_t* low, const uint64_t* high, size_t n, uint64_t domain, uint64_t first,
          uint64_t delta_low, uint64_t delta_high, uint64_t* out_low, uint64_t* out_high) {
  constexpr size_t kTile = 64;
  alignas(64) uint64_t inner[2 * kTile], outer[2 * kTile];
  PrfSchedule schedule;
  prf_expand(key, schedule);
  for (size_t base = 0; base < n; base += kTile) {
    const size_t now = n - base < kTile ? n - base : kTile;
    for (size_t i = 0; i < now; i++) {
      inner[2 * i] = low[base + i] ^ delta_low;
      inner[2 * i + 1] = high[base + i] ^ delta_high;
    }
    encrypt_blocks(schedule, inner, now);
    for (size_t i = 0; i < now; i++) {
      outer[2 * i] = inner[2 * i] ^ domain;
      outer[2 * i + 1] = inner[2 * i + 1] ^ (first + base + i);
    }
    encrypt_blocks(schedule, outer, now);
    for (size_t i = 0; i < now; i++) {
      out_low[base + i] = inner[2 * i] ^ outer[2 * i];
      out_high[base + i] = inner[2 * i + 1] ^ outer[2 * i + 1];
    }
  }
  wipe(inner, sizeof inner);
  wipe(outer, sizeof outer);
}

// The words of blocks [first, first + count) of a leaf; p(x) is `leaf`.
void leaf_words(const PrfSchedule& schedule, const uint64_t* leaf, uint64_t domain, size_t first, size_t count,
                uint64_t* words) {
  const uint64_t low = leaf[0], high = leaf[1];
  for (size_t j = 0; j < count; j++) {
    words[2 * j] = low ^ domain;
    words[2 * j + 1] = high ^ (first + j);
  }
  encrypt_blocks(schedule, words, count);
  for (size_t j = 0; j < count; j++) {
    words[2 * j] ^= low;
    words[2 * j + 1] ^= high;
  }
}

void digits(const uint8_t* key, const uint64_t* leaves, size_t trees, unsigned depth, uint64_t domain, size_t n,
            uint64_t scale, uint64_t* sums, uint64_t* acc) {
  constexpr size_t kTile = 128;  // words
  const unsigned width = 1u << depth;
  alignas(64) uint64_t permuted[2 * kMostLeaves], words[kTile], sum[kTile], weighted[kTile];
  PrfSchedule schedule;
  prf_expand(key, schedule);
  for (size_t t = 0; t < trees; t++) {
    memcpy(permuted, leaves + 2 * width * t, 16 * width);
    encrypt_blocks(schedule, permuted, width);
    for (size_t base = 0; base < n; base += kTile) {
      const size_t now = n - base < kTile ? n - base : kTile;
      const size_t blocks = (now + 1) / 2;
      memset(sum, 0, sizeof sum);
      memset(weighted, 0, sizeof weighted);
      // adding up the sums of the leaves from the last one on counts each as often as its number says
      for (unsigned y = width - 1; y > 0; y--) {
        leaf_words(schedule, permuted + 2 * y, domain, base / 2, blocks, words);
        for (size_t i = 0; i < 2 * blocks; i++) {
          sum[i] += words[i];
          weighted[i] += sum[i];
        }
      }
      leaf_words(schedule, permuted, domain, base / 2, blocks, words);
      for (size_t i = 0; i < now; i++) {
        sums[t * n + base + i] = sum[i] + words[i];
        acc[base + i] += scale * weighted[i];
      }
    }
  }
  wipe(permuted, sizeof permuted);
  wipe(words, sizeof words);
}

void combine(const uint64_t* x, const uint64_t* m, size_t rows, size_t n, uint64_t* acc) {
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < n; i++) acc[i] += m[r] * x[r * n + i];
}

void inner(const uint64_t* rows, size_t count, size_t stride, const uint64_t* chi, size_t n, uint64_t* out) {
  for (size_t r = 0; r < count; r++) {
    const uint64_t* row = rows + r * stride;
    Sum sum = no_sum();
    size_t i = 0;
    for (; i + kStep <= n; i += kStep) add_products(sum, load_step(row + i), load_step(chi + i));
    if (i < n) add_products(sum, load_part(row + i, n - i), load_part(chi + i, n - i));
    out[r] = reduce(total(sum));
  }
}

}  // namespace

const OtKernels ot_kernels = {.expand = expand, .hash = hash, .digits = digits, .combine = combine, .inner = inner};

}  // namespace mpcb::MPCB_TARGET
