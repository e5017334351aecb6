// Ring arrays modulo 2^64: plain loops, which the compiler vectorises for each target.
#include "kernels.h"
#include "window.h"

namespace mpcb::MPCB_TARGET {
namespace {

void channel_affine(const uint64_t* x, const uint64_t* m, const uint64_t* c, size_t channels, size_t n, uint64_t* out) {
  if (channels == 1) {
    const uint64_t factor = m[0], constant = c == nullptr ? 0 : c[0];
    for (size_t i = 0; i < n; i++) out[i] = x[i] * factor + constant;
    return;
  }
  for (size_t base = 0; base < n; base += channels) {
    if (c == nullptr) {
      for (size_t i = 0; i < channels; i++) out[base + i] = x[base + i] * m[i];
    } else {
      for (size_t i = 0; i < channels; i++) out[base + i] = x[base + i] * m[i] + c[i];
    }
  }
}

void axpy(uint64_t* y, const uint64_t* x, uint64_t a, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

void add(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = x[i] + y[i];
}

void sub(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = x[i] - y[i];
}

void add_constant(const uint64_t* x, uint64_t a, uint64_t* out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = x[i] + a;
}

void window_sum(const mpcb_geometry& g, const uint64_t* x, uint64_t* z) {
  const int64_t channels = g.in_channels;
  Pixels remaining(g);
  for (int64_t pixel = g.batch * g.out_height * g.out_width; pixel != 0; pixel--, z += channels) {
    const Window window = remaining.next();
    for (int64_t c = 0; c < channels; c++) z[c] = 0;
    for (int64_t kh = window.rows.first; kh < window.rows.last; kh++)
      for (int64_t kw = window.columns.first; kw < window.columns.last; kw++) {
        const uint64_t* cell =
            x + window.origin + (kh * g.dilation_height * g.in_width + kw * g.dilation_width) * channels;
        for (int64_t c = 0; c < channels; c++) z[c] += cell[c];
      }
  }
}

void axis_sum(const uint64_t* x, size_t outer, size_t axis, size_t inner, uint64_t* z) {
  for (size_t o = 0; o < outer; o++, z += inner) {
    for (size_t i = 0; i < inner; i++) z[i] = 0;
    for (size_t a = 0; a < axis; a++, x += inner)
      for (size_t i = 0; i < inner; i++) z[i] += x[i];
  }
}

void unmask_bits(const uint8_t* opened, const uint64_t* masks, unsigned width, bool add_opened, size_t n,
                 uint64_t* out) {
  for (size_t i = 0; i < n; i++) out[i] = add_opened ? opened[i] : 0;
  for (unsigned b = 0; b < width; b++, masks += n)
    for (size_t i = 0; i < n; i++) {
      const uint64_t set = opened[i] >> b & 1;
      out[i] += ((masks[i] ^ (0 - set)) + set) << b;
    }
}

}  // namespace

const RingKernels ring_kernels = {
    .channel_affine = channel_affine,
    .axpy = axpy,
    .add = add,
    .sub = sub,
    .add_constant = add_constant,
    .window_sum = window_sum,
    .axis_sum = axis_sum,
    .unmask_bits = unmask_bits,
};

}  // namespace mpcb::MPCB_TARGET
