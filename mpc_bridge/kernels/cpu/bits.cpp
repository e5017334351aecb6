// Between elements and bit planes, and between elements and packed bits.
#include "kernels.h"
#include "transpose.h"

namespace mpcb::MPCB_TARGET {
namespace {

// A plane row is cut into cache lines of 512 elements; whole lines are moved, so that planes whose stride is a power of
// two do not evict one another while eight bytes of each are in flight.
constexpr size_t kLine = kLanes * kGroups;

void store_lines(const Lines& lines, unsigned planes, uint8_t* row, size_t stride) {
  for (unsigned b = 0; b < planes; b++) memcpy(row + b * stride, lines[b], sizeof lines[b]);
}

// Missing planes are zero.
void load_lines(const uint8_t* row, size_t stride, unsigned planes, Lines& lines) {
  for (unsigned b = 0; b < 8; b++) {
    if (b < planes) {
      memcpy(lines[b], row + b * stride, sizeof lines[b]);
    } else {
      memset(lines[b], 0, sizeof lines[b]);
    }
  }
}

void zero_row_ends(size_t from, unsigned count, uint8_t* planes, size_t stride) {
  for (unsigned b = 0; b < count; b++) memset(planes + b * stride + from, 0, stride - from);
}

unsigned least(size_t a, size_t b) { return static_cast<unsigned>(a < b ? a : b); }

void bits_slice(const uint64_t* x, size_t n, unsigned low, unsigned count, uint8_t* planes, size_t stride) {
  size_t base = 0;
  for (; base < n; base += kLine) {
    ByteRow bytes[kGroups][8];
    const unsigned elements = least(n - base, kLine);
    uint64_t words[kLine];
    for (unsigned i = 0; i < elements; i++) words[i] = x[base + i] >> low;
    memset(words + elements, 0, 8 * (kLine - elements));
    for (size_t group = 0; group < kGroups; group++) bytes_of_words(words + kLanes * group, bytes[group]);
    for (unsigned b = 0; b < count; b += 8) {
      Lines lines;
      for (size_t group = 0; group < kGroups; group++) planes_of_bytes(bytes[group][b / 8], lines[group]);
      transpose_lines(lines);
      store_lines(lines, least(count - b, 8), planes + b * stride + base / 8, stride);
    }
  }
  zero_row_ends(base / 8, count, planes, stride);
}

void bytes_slice(const uint8_t* x, size_t n, unsigned low, unsigned count, uint8_t* planes, size_t stride) {
  size_t base = 0;
  for (; base < n; base += kLine) {
    const unsigned elements = least(n - base, kLine);
    uint8_t rest[kLine];
    const uint8_t* bytes = x + base;
    if (elements < kLine) {
      memcpy(rest, bytes, elements);
      memset(rest + elements, 0, kLine - elements);
      bytes = rest;
    }
    Lines lines;
    for (size_t group = 0; group < kGroups; group++) planes_of_bytes(bytes + kLanes * group, lines[group]);
    transpose_lines(lines);
    for (unsigned b = 0; b < count; b++) memcpy(planes + b * stride + base / 8, lines[low + b], sizeof lines[0]);
  }
  zero_row_ends(base / 8, count, planes, stride);
}

void bits_unslice(const uint8_t* planes, size_t stride, size_t n, unsigned count, uint64_t* x) {
  ByteRow bytes[kGroups][8] = {};
  for (size_t base = 0; base < n; base += kLine) {
    for (unsigned b = 0; b < count; b += 8) {
      Lines lines;
      load_lines(planes + b * stride + base / 8, stride, least(count - b, 8), lines);
      transpose_lines(lines);
      for (size_t group = 0; group < kGroups; group++) bytes_of_planes(lines[group], bytes[group][b / 8]);
    }
    for (size_t group = 0; group < kGroups && base + kLanes * group < n; group++) {
      uint64_t* out = x + base + kLanes * group;
      const size_t left = n - base - kLanes * group;
      if (left >= kLanes) {
        words_of_bytes(bytes[group], out);
      } else {
        uint64_t words[kLanes];
        words_of_bytes(bytes[group], words);
        memcpy(out, words, 8 * left);
      }
    }
  }
}

void bytes_unslice(const uint8_t* planes, size_t stride, size_t n, unsigned count, uint8_t* x) {
  for (size_t base = 0; base < n; base += kLine) {
    Lines lines;
    load_lines(planes + base / 8, stride, count, lines);
    transpose_lines(lines);
    uint8_t bytes[kLine];
    for (size_t group = 0; group < kGroups; group++) bytes_of_planes(lines[group], bytes + kLanes * group);
    memcpy(x + base, bytes, least(n - base, kLine));
  }
}

uint64_t low_bits(unsigned k) { return k == 64 ? ~uint64_t{0} : (uint64_t{1} << k) - 1; }

// Whole bytes per element: eight-byte stores that the next one overlaps, then the last elements by bytes.
void pack_bytes(const uint64_t* x, size_t n, size_t width, uint8_t* out) {
  size_t i = 0;
  for (; (n - i) * width >= 8; i++) memcpy(out + i * width, &x[i], 8);
  for (; i < n; i++) memcpy(out + i * width, &x[i], width);
}

void unpack_bytes(const uint8_t* in, size_t n, size_t width, uint64_t* x) {
  const uint64_t mask = low_bits(static_cast<unsigned>(8 * width));
  size_t i = 0;
  for (; (n - i) * width >= 8; i++) {
    uint64_t word;
    memcpy(&word, in + i * width, 8);
    x[i] = word & mask;
  }
  for (; i < n; i++) {
    x[i] = 0;
    memcpy(&x[i], in + i * width, width);
  }
}

void pack_bits(const uint64_t* x, size_t n, unsigned k, uint8_t* out) {
  if (k % 8 == 0) return pack_bytes(x, n, k / 8, out);
  const uint64_t mask = low_bits(k);
  uint64_t word = 0;  // the `filled` low bits wait to be written
  unsigned filled = 0;
  for (size_t i = 0; i < n; i++) {
    const uint64_t element = x[i] & mask;
    word |= element << filled;
    filled += k;
    if (filled >= 64) {
      memcpy(out, &word, 8);
      out += 8;
      filled -= 64;
      // of `element`, k - filled bits are written; k - filled is 64 only when nothing is left (k = 64, excluded above)
      word = element >> (k - filled);
    }
  }
  memcpy(out, &word, (filled + 7) / 8);
}

void unpack_bits(const uint8_t* in, size_t n, unsigned k, uint64_t* x) {
  if (k % 8 == 0) return unpack_bytes(in, n, k / 8, x);
  const uint64_t mask = low_bits(k);
  const size_t bytes = (n * k + 7) / 8;
  size_t i = 0;
  // two eight-byte loads, the second one byte later, cover k + 7 <= 71 bits
  for (size_t bit = 0; i < n && bit / 8 + 9 <= bytes; i++, bit += k) {
    uint64_t word;
    memcpy(&word, in + bit / 8, 8);
    const unsigned shift = bit % 8;
    const uint64_t top = in[bit / 8 + 8];
    x[i] = (word >> shift | top << 1 << (63 - shift)) & mask;
  }
  for (; i < n; i++) {
    uint64_t word = 0;
    for (unsigned b = 0; b < k; b++) {
      const size_t bit = i * k + b;
      word |= static_cast<uint64_t>(in[bit / 8] >> (bit % 8) & 1) << b;
    }
    x[i] = word;
  }
}

void bytes_xor(const uint8_t* x, const uint8_t* y, uint8_t* out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = static_cast<uint8_t>(x[i] ^ y[i]);
}

}  // namespace

const BitsKernels bits_kernels = {
    .bits_slice = bits_slice,
    .bytes_slice = bytes_slice,
    .bits_unslice = bits_unslice,
    .bytes_unslice = bytes_unslice,
    .pack_bits = pack_bits,
    .unpack_bits = unpack_bits,
    .bytes_xor = bytes_xor,
};

}  // namespace mpcb::MPCB_TARGET
