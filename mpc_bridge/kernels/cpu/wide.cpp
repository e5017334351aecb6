// Arrays of elements modulo 2^128: arithmetic, zero shares and packing.
#include "wide.h"

#include <cstring>

#include "prf.h"

namespace mpcb::MPCB_TARGET {
namespace {

void add_zero_share(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n) {
  constexpr size_t kBlocks = 256;  // one element each; both buffers stay in the first-level cache
  alignas(64) uint64_t a[2 * kBlocks], b[2 * kBlocks];
  PrfSchedule schedule_a, schedule_b;
  prf_expand(key_a, schedule_a);
  prf_expand(key_b, schedule_b);
  for (size_t base = 0; base < n; base += kBlocks) {
    const size_t blocks = n - base < kBlocks ? n - base : kBlocks;
    keystream(schedule_a, domain, base, reinterpret_cast<uint8_t*>(a), blocks);
    keystream(schedule_b, domain, base, reinterpret_cast<uint8_t*>(b), blocks);
    uint64_t* out = z + 2 * base;
    for (size_t i = 0; i < 2 * blocks; i += 2)
      store_wide(out + i, load_wide(out + i) + load_wide(a + i) - load_wide(b + i));
  }
  wipe(a, sizeof a);
  wipe(b, sizeof b);
  wipe(&schedule_a, sizeof schedule_a);
  wipe(&schedule_b, sizeof schedule_b);
}

void add_channel(uint64_t* z, const uint64_t* b, size_t channels, size_t n) {
  for (size_t base = 0; base < n; base += channels, z += 2 * channels)
    for (size_t i = 0; i < 2 * channels; i += 2) store_wide(z + i, load_wide(z + i) + load_wide(b + i));
}

void add(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n) {
  for (size_t i = 0; i < 2 * n; i += 2) store_wide(out + i, load_wide(x + i) + load_wide(y + i));
}

void sub(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n) {
  for (size_t i = 0; i < 2 * n; i += 2) store_wide(out + i, load_wide(x + i) - load_wide(y + i));
}

void mul(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n) {
  for (size_t i = 0; i < 2 * n; i += 2) store_wide(out + i, load_wide(x + i) * load_wide(y + i));
}

void scale(const uint64_t* x, uint64_t m_low, uint64_t m_high, uint64_t* out, size_t n) {
  const Wide m = wide(m_low, m_high);
  for (size_t i = 0; i < 2 * n; i += 2) store_wide(out + i, load_wide(x + i) * m);
}

void channel_affine(const uint64_t* x, const uint64_t* m, const uint64_t* c, size_t channels, size_t n, uint64_t* out) {
  for (size_t base = 0; base < n; base += channels, x += 2 * channels, out += 2 * channels)
    for (size_t i = 0; i < 2 * channels; i += 2) {
      const Wide product = load_wide(x + i) * load_wide(m + i);
      store_wide(out + i, c == nullptr ? product : product + load_wide(c + i));
    }
}

void unmask_bits(const uint64_t* opened, const uint64_t* masks, unsigned width, const uint64_t* factor, size_t n,
                 uint64_t* out) {
  const Wide times = load_wide(factor);
  for (size_t i = 0; i < n; i++) {
    Wide sum = times * opened[i];
    for (unsigned b = 0; b < width; b++) {
      const Wide negative = static_cast<Wide>(0) - (opened[i] >> b & 1);  // all ones or zero: no branch
      sum += ((load_wide(masks + 2 * (b * n + i)) ^ negative) - negative) << b;
    }
    store_wide(out + 2 * i, sum);
  }
}

void dot(const uint64_t* x, const uint64_t* y, size_t n, uint64_t* out) {
  Wide sum = 0;
  for (size_t i = 0; i < 2 * n; i += 2) sum += load_wide(x + i) * load_wide(y + i);
  store_wide(out, sum);
}

void shift_left(const uint64_t* x, unsigned s, uint64_t* out, size_t n) {
  for (size_t i = 0; i < 2 * n; i += 2) store_wide(out + i, load_wide(x + i) << s);
}

void from_ring(const uint64_t* x, size_t n, uint64_t* out) {
  for (size_t i = 0; i < n; i++) store_wide(out + 2 * i, x[i]);
}

uint64_t low_bits(unsigned k) { return k == 64 ? ~uint64_t{0} : (uint64_t{1} << k) - 1; }

void low(const uint64_t* x, size_t n, unsigned k, uint64_t* out) {
  const uint64_t mask = low_bits(k);
  for (size_t i = 0; i < n; i++) out[i] = x[2 * i] & mask;
}

// Whole bytes per element: 16-byte stores that the next one overlaps, then the last elements by bytes.
void pack_bytes(const uint64_t* x, size_t n, size_t width, uint8_t* out) {
  size_t i = 0;
  for (; (n - i) * width >= 16; i++) memcpy(out + i * width, x + 2 * i, 16);
  for (; i < n; i++) memcpy(out + i * width, x + 2 * i, width);
}

// Collects pieces of up to 64 bits and writes whole words.
struct BitWriter {
  uint8_t* out;
  uint64_t word = 0;  // the `filled` low bits wait to be written
  unsigned filled = 0;

  // piece < 2^bits
  void append(uint64_t piece, unsigned bits) {
    word |= piece << filled;
    const unsigned free = 64 - filled;
    filled += bits;
    if (bits >= free) {
      memcpy(out, &word, 8);
      out += 8;
      filled -= 64;
      word = free == 64 ? 0 : piece >> free;
    }
  }
};

void pack(const uint64_t* x, size_t n, unsigned bits, uint8_t* out) {
  if (bits % 8 == 0) return pack_bytes(x, n, bits / 8, out);
  const unsigned first = bits < 64 ? bits : 64, second = bits - first;
  const uint64_t first_mask = low_bits(first), second_mask = low_bits(second);
  BitWriter writer{out};
  for (size_t i = 0; i < n; i++) {
    writer.append(x[2 * i] & first_mask, first);
    writer.append(x[2 * i + 1] & second_mask, second);
  }
  memcpy(writer.out, &writer.word, (writer.filled + 7) / 8);
}

void unpack(const uint8_t* in, size_t n, unsigned bits, uint64_t* x) {
  const Wide mask = bits == 128 ? ~Wide{0} : (Wide{1} << bits) - 1;
  const size_t bytes = (n * bits + 7) / 8;
  // the 16 bytes from an element's first bit on and the byte after them cover bits + 7 <= 135 bits
  const auto element = [&](const uint8_t* from, unsigned shift) {
    uint64_t words[2];
    memcpy(words, from, 16);
    const Wide top = from[16];
    return (load_wide(words) >> shift | top << 1 << (127 - shift)) & mask;
  };
  size_t i = 0;
  for (; i < n && i * bits / 8 + 17 <= bytes; i++) store_wide(x + 2 * i, element(in + i * bits / 8, i * bits % 8));
  for (; i < n; i++) {
    uint8_t rest[17] = {};
    const size_t begin = i * bits / 8;
    memcpy(rest, in + begin, bytes - begin);
    store_wide(x + 2 * i, element(rest, i * bits % 8));
  }
}

}  // namespace

const WideKernels wide_kernels = {
    .add_zero_share = add_zero_share,
    .add_channel = add_channel,
    .add = add,
    .sub = sub,
    .mul = mul,
    .scale = scale,
    .channel_affine = channel_affine,
    .unmask_bits = unmask_bits,
    .dot = dot,
    .shift_left = shift_left,
    .from_ring = from_ring,
    .low = low,
    .pack = pack,
    .unpack = unpack,
};

}  // namespace mpcb::MPCB_TARGET
