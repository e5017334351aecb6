// Runs every kernel at every CPU level under the sanitizers, on heap buffers of exactly the size the ABI asks for, and
// compares each level with the portable one. Lengths are odd and around vector sizes. Exits non-zero on the first
// difference.
#include "levels.h"

using namespace native;

namespace {

void test_prf() {
  const Bytes a = bytes(16), b = bytes(16);
  for (const size_t n : kLengths) {
    for (const uint64_t first : {uint64_t{0}, uint64_t{0xfffffffe}, ~uint64_t{2}})
      same_at_every_level("prf_fill", n, Bytes(n),
                          [&](uint8_t* out) { OK(mpcb_prf_fill(a.data(), 0x8000000000000001, first, out, n)); });
    same_at_every_level("ring_add_zero_share", n, words(n),
                        [&](uint64_t* z) { OK(mpcb_ring_add_zero_share(a.data(), b.data(), 5, z, n)); });
  }
  REFUSED(mpcb_prf_fill(nullptr, 0, 0, nullptr, 0), MPCB_NULL_POINTER);
}

void test_ring() {
  for (const size_t n : kLengths) {
    const Words x = words(n), y = words(n);
    same_at_every_level("ring_add", n, Words(n), [&](uint64_t* out) { OK(mpcb_ring_add(x.data(), y.data(), out, n)); });
    same_at_every_level("ring_sub", n, Words(n), [&](uint64_t* out) { OK(mpcb_ring_sub(x.data(), y.data(), out, n)); });
    same_at_every_level("ring_axpy", n, y, [&](uint64_t* out) { OK(mpcb_ring_axpy(out, x.data(), y.size() + 7, n)); });
    same_at_every_level("ring_add_constant", n, Words(n),
                        [&](uint64_t* out) { OK(mpcb_ring_add_constant(x.data(), ~uint64_t{4}, out, n)); });
    for (const size_t channels : {1, 3, 16, 33}) {
      const size_t size = n * channels;
      const Words data = words(size), m = words(channels), c = words(channels);
      same_at_every_level("ring_channel_affine", size, Words(size), [&](uint64_t* out) {
        OK(mpcb_ring_channel_affine(data.data(), m.data(), c.data(), channels, size, out));
      });
      same_at_every_level("axis_sum", channels, Words(channels),
                          [&](uint64_t* out) { OK(mpcb_axis_sum(data.data(), 1, n, channels, out)); });
    }
  }
  const uint64_t word = 0;
  uint64_t out = 0;
  REFUSED(mpcb_ring_channel_affine(&word, &word, nullptr, 2, 1, &out), MPCB_BAD_SIZE);
  REFUSED(mpcb_ring_add(&word, nullptr, &out, 1), MPCB_NULL_POINTER);
}

void test_bits() {
  for (const size_t n : kLengths) {
    const Words x = words(n);
    const Bytes small = bytes(n);
    const size_t stride = (n + 511) / 512 * 64;
    for (const unsigned low : {0u, 5u, 63u})
      for (const unsigned count : {1u, 8u, 17u, 64u}) {
        if (low + count > 64) continue;
        Bytes planes(count * stride);
        same_at_every_level("bits_slice", planes.size(), bytes(planes.size()), [&](uint8_t* out) {
          OK(mpcb_bits_slice(x.data(), n, low, count, out, stride));
          copy(planes.data(), out, planes.size());
        });
        same_at_every_level("bits_unslice", n, Words(n), [&](uint64_t* out) {
          OK(mpcb_bits_unslice(planes.data(), stride, n, count, out));
          for (size_t i = 0; i < n; i++)
            if (out[i] != (x[i] << (64 - low - count) >> (64 - count))) fail("bits_unslice does not undo bits_slice");
        });
      }
    Bytes planes(8 * stride);
    same_at_every_level("bytes_slice", planes.size(), bytes(planes.size()), [&](uint8_t* out) {
      OK(mpcb_bytes_slice(small.data(), n, 0, 8, out, stride));
      copy(planes.data(), out, planes.size());
    });
    same_at_every_level("bytes_unslice", n, Bytes(n), [&](uint8_t* out) {
      OK(mpcb_bytes_unslice(planes.data(), stride, n, 8, out));
      if (differ(out, small.data(), n)) fail("bytes_unslice does not undo bytes_slice");
    });
    for (unsigned k = 1; k <= 64; k++) {
      Bytes packed((n * k + 7) / 8);
      same_at_every_level("pack_bits", packed.size(), Bytes(packed.size()), [&](uint8_t* out) {
        OK(mpcb_pack_bits(x.data(), n, k, out));
        copy(packed.data(), out, packed.size());
      });
      same_at_every_level("unpack_bits", n, Words(n), [&](uint64_t* out) {
        OK(mpcb_unpack_bits(packed.data(), n, k, out));
        for (size_t i = 0; i < n; i++)
          if (out[i] != x[i] << (64 - k) >> (64 - k)) fail("unpack_bits does not undo pack_bits");
      });
    }
  }
  uint8_t byte = 0;
  uint64_t word = 0;
  REFUSED(mpcb_bits_slice(&word, 1, 1, 64, &byte, 64), MPCB_BAD_ARGUMENT);
  REFUSED(mpcb_bits_slice(&word, 1, 0, 1, &byte, 1), MPCB_BAD_SIZE);
  REFUSED(mpcb_pack_bits(&word, 1, 65, &byte), MPCB_BAD_ARGUMENT);
  const int64_t index[] = {0, 1};
  uint64_t out[2];
  REFUSED(mpcb_gather_u64(&word, 1, index, 2, 0, out), MPCB_INDEX_OUT_OF_RANGE);
}

// Random straight-line code, in every order of registers, on partial tiles and partial vectors.
void test_planes() {
  constexpr int32_t kRegisters = 9, kMessages = 3, kKeys = 2;
  constexpr size_t kCode = 200;
  const Bytes keys = bytes(16 * kKeys);
  for (const size_t n : kLengths) {
    const size_t stride = (n + 63) / 64 * 64;
    const Bytes registers = bytes(kRegisters * stride), incoming = bytes(kMessages * n);
    std::vector<int32_t> code;
    for (size_t i = 0; i < kCode; i++) {
      const auto below = [](int32_t limit) { return static_cast<int32_t>(next() % static_cast<uint64_t>(limit)); };
      const int32_t op = below(MPCB_PLANE_RECV + 1);
      const bool pad = op == MPCB_PLANE_PRF || op == MPCB_PLANE_XPRF;
      const bool message = op == MPCB_PLANE_SEND || op == MPCB_PLANE_RECV;
      code.insert(code.end(),
                  {op, below(kRegisters), below(pad ? kKeys : kRegisters), below(message ? kMessages : kRegisters)});
    }
    const auto run = [&](uint8_t* planes, uint8_t* outgoing) {
      return mpcb_planes_run(planes, kRegisters, stride, n, code.data(), kCode, keys.data(), kKeys, 3, incoming.data(),
                             kMessages, outgoing, kMessages);
    };
    Bytes sent(kMessages * n);
    same_at_every_level("planes_run", registers.size(), registers,
                        [&](uint8_t* planes) { OK(run(planes, sent.data())); });
    same_at_every_level("planes_run messages", sent.size(), Bytes(sent.size()), [&](uint8_t* outgoing) {
      Bytes planes = registers;
      OK(run(planes.data(), outgoing));
    });
    if (n == 0) continue;
    Bytes planes = registers;
    code[1] = kRegisters;
    code[0] = MPCB_PLANE_ZERO;
    REFUSED(run(planes.data(), sent.data()), MPCB_BAD_ARGUMENT);
  }
}

void test_linear(const mpcb_geometry& g, int terms, bool depthwise) {
  const size_t image = static_cast<size_t>(g.batch * g.in_height * g.in_width * g.in_channels);
  const size_t taps = static_cast<size_t>(g.kernel_height * g.kernel_width * g.out_channels);
  const size_t filters = depthwise ? taps : taps * static_cast<size_t>(g.in_channels);
  const size_t size = static_cast<size_t>(g.batch * g.out_height * g.out_width * g.out_channels);
  std::vector<Words> x, w;
  std::vector<const uint64_t*> xs, ws;
  for (int t = 0; t < terms; t++) {
    x.push_back(words(image));
    w.push_back(words(filters));
    xs.push_back(x.back().data());
    ws.push_back(w.back().data());
  }
  const Words zero = words(static_cast<size_t>(terms));
  if (depthwise) {
    same_at_every_level("depthwise2d", size, Words(size),
                        [&](uint64_t* z) { OK(mpcb_depthwise2d(&g, terms, xs.data(), zero.data(), ws.data(), z)); });
    return;
  }
  size_t elements;
  OK(mpcb_conv2d_packed_size(&g, terms, &elements));
  Words packed(elements);
  OK(mpcb_conv2d_pack(&g, terms, ws.data(), packed.data()));
  for (const uint64_t* zeros : {zero.data(), static_cast<const uint64_t*>(nullptr)})
    same_at_every_level("conv2d", size, Words(size),
                        [&](uint64_t* z) { OK(mpcb_conv2d(&g, terms, xs.data(), zeros, packed.data(), z)); });
}

void test_convolutions() {
  const mpcb_geometry dense[] = {
      {2, 7, 5, 3, 7, 5, 17, 3, 3, 1, 1, 1, 1, 1, 1},     {1, 9, 11, 50, 5, 6, 33, 3, 5, 2, 2, 2, 2, 2, 4},
      {1, 12, 13, 3, 12, 13, 16, 3, 3, 1, 1, 2, 1, 2, 1}, {1, 4, 4, 30, 2, 2, 5, 4, 4, 3, 3, 1, 1, 3, 3},
      {9, 1, 1, 129, 1, 1, 31, 1, 1, 1, 1, 1, 1, 0, 0},   {1, 10, 13, 130, 10, 13, 15, 1, 1, 1, 1, 1, 1, 0, 0},
      {1, 3, 3, 2, 5, 5, 9, 1, 1, 3, 3, 1, 1, 6, 6}};
  for (const mpcb_geometry& g : dense)
    for (int terms = 1; terms <= 3; terms++) test_linear(g, terms, false);
  for (int64_t rows = 1; rows <= 9; rows++)
    for (const int64_t columns : {1, 7, 8, 9, 17})
      test_linear({rows, 1, 1, 5, 1, 1, columns, 1, 1, 1, 1, 1, 1, 0, 0}, 1, false);
  for (const int64_t channels : {1, 3, 8, 13, 33, 67})
    for (const int64_t multiplier : {1, 2, 8})
      test_linear({2, 7, 5, channels, 4, 3, channels * multiplier, 3, 3, 2, 2, 1, 1, 1, 1}, 2, true);

  const mpcb_geometry pool = {2, 7, 5, 9, 4, 3, 9, 3, 3, 2, 2, 1, 1, 1, 1};
  const Words x = words(2 * 7 * 5 * 9);
  same_at_every_level("window_sum", 2 * 4 * 3 * 9, Words(2 * 4 * 3 * 9),
                      [&](uint64_t* z) { OK(mpcb_window_sum(&pool, x.data(), z)); });
  mpcb_geometry broken = pool;
  broken.stride_width = 0;
  size_t elements;
  REFUSED(mpcb_conv2d_packed_size(&broken, 1, &elements), MPCB_BAD_GEOMETRY);
  REFUSED(mpcb_conv2d_packed_size(&pool, 0, &elements), MPCB_BAD_ARGUMENT);
}

}  // namespace

int main() {
  test_prf();
  test_ring();
  test_bits();
  test_planes();
  test_convolutions();
  test_wide();
  test_field();
  test_transfer();
  printf("native kernels: all levels of %llu agree\n", static_cast<unsigned long long>(mpcb_cpu_features()));
  return 0;
}
