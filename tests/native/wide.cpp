// Arithmetic modulo 2^128 at every CPU level.
#include "levels.h"

namespace native {
namespace {

void test_arrays() {
  const Bytes a = bytes(16), b = bytes(16);
  for (const size_t n : kLengths) {
    const Words x = words(2 * n), y = words(2 * n), single = words(n);
    const auto wide = [&](const char* name, auto call) { same_at_every_level(name, 2 * n, x, call); };
    wide("wide_add", [&](uint64_t* out) { OK(mpcb_wide_add(out, y.data(), out, n)); });
    wide("wide_sub", [&](uint64_t* out) { OK(mpcb_wide_sub(y.data(), out, out, n)); });
    wide("wide_mul", [&](uint64_t* out) { OK(mpcb_wide_mul(out, y.data(), out, n)); });
    wide("wide_scale", [&](uint64_t* out) { OK(mpcb_wide_scale(out, 3, ~uint64_t{0}, out, n)); });
    wide("wide_shift_left", [&](uint64_t* out) { OK(mpcb_wide_shift_left(out, 65, out, n)); });
    wide("wide_add_zero_share", [&](uint64_t* z) { OK(mpcb_wide_add_zero_share(a.data(), b.data(), 5, z, n)); });
    wide("wide_from_ring", [&](uint64_t* out) { OK(mpcb_wide_from_ring(single.data(), n, out)); });
    same_at_every_level("wide_low", n, Words(n), [&](uint64_t* out) { OK(mpcb_wide_low(x.data(), n, 61, out)); });
    same_at_every_level("wide_dot", 2, Words(2), [&](uint64_t* out) { OK(mpcb_wide_dot(x.data(), y.data(), n, out)); });
    for (const size_t channels : {1, 3, 16}) {
      const Words bias = words(2 * channels);
      same_at_every_level("wide_add_channel", 2 * n * channels, words(2 * n * channels),
                          [&](uint64_t* z) { OK(mpcb_wide_add_channel(z, bias.data(), channels, n * channels)); });
    }
    for (unsigned k = 1; k <= 128; k++) {
      Bytes packed((n * k + 7) / 8);
      same_at_every_level("wide_pack", packed.size(), Bytes(packed.size()), [&](uint8_t* out) {
        OK(mpcb_wide_pack(x.data(), n, k, out));
        copy(packed.data(), out, packed.size());
      });
      same_at_every_level("wide_unpack", 2 * n, Words(2 * n), [&](uint64_t* out) {
        OK(mpcb_wide_unpack(packed.data(), n, k, out));
        const unsigned low = k < 64 ? k : 64, high = k - low;
        for (size_t i = 0; i < n; i++)
          if (out[2 * i] != x[2 * i] << (64 - low) >> (64 - low) ||
              out[2 * i + 1] != (high == 0 ? 0 : x[2 * i + 1] << (64 - high) >> (64 - high)))
            fail("wide_unpack does not undo wide_pack");
      });
    }
  }
  uint64_t element[2] = {};
  uint8_t byte = 0;
  REFUSED(mpcb_wide_shift_left(element, 128, element, 1), MPCB_BAD_ARGUMENT);
  REFUSED(mpcb_wide_pack(element, 1, 129, &byte), MPCB_BAD_ARGUMENT);
  REFUSED(mpcb_wide_low(element, 1, 65, element), MPCB_BAD_ARGUMENT);
  REFUSED(mpcb_wide_add_channel(element, element, 2, 1), MPCB_BAD_SIZE);
  REFUSED(mpcb_wide_add(element, nullptr, element, 1), MPCB_NULL_POINTER);
}

void test_layer(const mpcb_geometry& g, int terms) {
  const size_t image = static_cast<size_t>(g.batch * g.in_height * g.in_width * g.in_channels);
  const size_t taps = static_cast<size_t>(g.kernel_height * g.kernel_width);
  const size_t cells = taps * static_cast<size_t>(g.in_channels), outputs = static_cast<size_t>(g.out_channels);
  const size_t pixels = static_cast<size_t>(g.batch * g.out_height * g.out_width);
  std::vector<Words> x, w;
  std::vector<const uint64_t*> xs, ws;
  std::vector<int64_t> zero;
  for (int t = 0; t < terms; t++) {
    x.push_back(words(image));
    w.push_back(words(2 * cells * outputs));
    xs.push_back(x.back().data());
    ws.push_back(w.back().data());
    zero.push_back(static_cast<int64_t>(next()));
  }
  for (const unsigned limb : {52u, 64u}) {
    const auto pack = [&](int depthwise) {
      size_t elements = 0;
      OK(mpcb_wide_packed_size(&g, terms, depthwise, &elements));
      Words packed(elements);
      same_at_every_level("wide_pack_filters", elements, packed, [&](uint64_t* out) {
        OK(mpcb_wide_pack_filters(&g, terms, depthwise, ws.data(), limb, out));
        copy(packed.data(), out, 8 * elements);
      });
      return packed;
    };
    Words z(2 * pixels * outputs);
    const Words dense = pack(0);
    for (const int64_t* zeros : {static_cast<const int64_t*>(nullptr), static_cast<const int64_t*>(zero.data())})
      same_at_every_level("wide_conv2d", z.size(), Words(z.size()), [&](uint64_t* out) {
        OK(mpcb_wide_conv2d(&g, terms, xs.data(), zeros, dense.data(), limb, out));
        copy(z.data(), out, 8 * z.size());
      });
    if (outputs % static_cast<size_t>(g.in_channels) == 0) {
      std::vector<Words> filters;
      const std::vector<const uint64_t*> before = ws;
      for (int t = 0; t < terms; t++) {
        filters.push_back(words(2 * taps * outputs));
        ws[static_cast<size_t>(t)] = filters.back().data();
      }
      const Words depthwise = pack(1);
      same_at_every_level("wide_depthwise2d", z.size(), Words(z.size()), [&](uint64_t* out) {
        OK(mpcb_wide_depthwise2d(&g, terms, xs.data(), zero.data(), depthwise.data(), limb, out));
      });
      ws = before;
    }
    if (terms != 1) continue;
    // the linear check: what is combined of the operands gives what is combined of the results
    const Words psi = words(2 * pixels), chi = words(2 * outputs);
    Words a(2 * cells), b(2 * cells), c(2), product(2);
    same_at_every_level("wide_combine_weights", a.size(), a, [&](uint64_t* out) {
      OK(mpcb_wide_combine_weights(chi.data(), w[0].data(), outputs, cells, out));
      copy(a.data(), out, 8 * a.size());
    });
    same_at_every_level("wide_combine_patches", b.size(), b, [&](uint64_t* out) {
      OK(mpcb_wide_combine_patches(&g, psi.data(), x[0].data(), zero[0], limb, out));
      copy(b.data(), out, 8 * b.size());
    });
    same_at_every_level("wide_bilinear", c.size(), c, [&](uint64_t* out) {
      OK(mpcb_wide_bilinear(psi.data(), chi.data(), z.data(), pixels, outputs, out));
      copy(c.data(), out, 8 * c.size());
    });
    OK(mpcb_wide_dot(a.data(), b.data(), cells, product.data()));
    const uint64_t known = limb == 64 ? ~uint64_t{0} : (uint64_t{1} << (2 * limb - 64)) - 1;
    if (product[0] != c[0] || ((product[1] ^ c[1]) & known) != 0)
      fail("the combinations of operands and results disagree");
  }
}

}  // namespace

void test_wide() {
  test_arrays();
  const mpcb_geometry geometries[] = {{2, 7, 5, 3, 7, 5, 6, 3, 3, 1, 1, 1, 1, 1, 1},
                                      {1, 9, 11, 50, 5, 6, 3, 3, 5, 2, 2, 2, 2, 2, 4},
                                      {9, 1, 1, 129, 1, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0},
                                      {1, 10, 3, 65, 10, 3, 7, 2, 2, 1, 1, 1, 1, 0, 0},
                                      {1, 2, 2, 2, 6, 6, 4, 2, 2, 1, 1, 1, 1, 4, 4}};
  for (const mpcb_geometry& g : geometries)
    for (int terms = 1; terms <= 2; terms++) test_layer(g, terms);
  mpcb_geometry broken = geometries[0];
  uint64_t z[2];
  const uint64_t* arrays[] = {z};
  size_t elements;
  REFUSED(mpcb_wide_conv2d(&broken, 0, arrays, nullptr, z, 52, z), MPCB_BAD_ARGUMENT);
  REFUSED(mpcb_wide_conv2d(&broken, 1, arrays, nullptr, z, 53, z), MPCB_BAD_ARGUMENT);
  REFUSED(mpcb_wide_conv2d(&broken, 1, arrays, nullptr, nullptr, 52, z), MPCB_NULL_POINTER);
  REFUSED(mpcb_wide_packed_size(&broken, 1, 0, nullptr), MPCB_NULL_POINTER);
  broken.out_channels = 7;
  REFUSED(mpcb_wide_packed_size(&broken, 1, 1, &elements), MPCB_BAD_GEOMETRY);
  broken.dilation_width = 0;
  REFUSED(mpcb_wide_conv2d(&broken, 1, arrays, nullptr, z, 52, z), MPCB_BAD_GEOMETRY);
}

}  // namespace native
