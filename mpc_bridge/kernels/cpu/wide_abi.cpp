// C entry points of the arithmetic modulo 2^128.
#include "check.h"

using mpcb::active;
using mpcb::any_null;

namespace {

bool too_many(size_t n) { return n >= (size_t{1} << 40); }

// Checks n and the pointers of an elementwise call; calls body where there is work.
template <class Body, class... Pointers>
int elementwise(size_t n, Body body, Pointers... pointers) {
  if (n == 0) return MPCB_OK;
  if (too_many(n)) return MPCB_BAD_SIZE;
  if (any_null(pointers...)) return MPCB_NULL_POINTER;
  body();
  return MPCB_OK;
}

bool valid_limb(unsigned limb) { return limb == 52 || limb == 64; }

// Words of packed filters; false where there are too many.
bool packed_words(const mpcb_geometry& g, int terms, bool depthwise, size_t* words) {
  const int64_t panels = (g.out_channels + 7) / 8, depth = depthwise ? 1 : g.in_channels;
  return mpcb::element_count(words, panels, terms, g.kernel_height, g.kernel_width, depth, 16);
}

int check_filters(const mpcb_geometry* geometry, int terms, int depthwise) {
  if (const int status = mpcb::check_geometry(geometry)) return status;
  if (terms < 1 || terms > mpcb::kMostTerms) return MPCB_BAD_ARGUMENT;
  if (depthwise && geometry->out_channels % geometry->in_channels != 0) return MPCB_BAD_GEOMETRY;
  size_t words;
  return packed_words(*geometry, terms, depthwise != 0, &words) ? MPCB_OK : MPCB_BAD_SIZE;
}

int check_layer(const mpcb_geometry* geometry, int terms, int depthwise, const uint64_t* const* x,
                const uint64_t* packed, unsigned limb, const uint64_t* z) {
  if (const int status = check_filters(geometry, terms, depthwise)) return status;
  if (!valid_limb(limb)) return MPCB_BAD_ARGUMENT;
  if (any_null(x, packed, z)) return MPCB_NULL_POINTER;
  for (int t = 0; t < terms; t++)
    if (any_null(x[t])) return MPCB_NULL_POINTER;
  return MPCB_OK;
}

}  // namespace

extern "C" {

int mpcb_wide_packed_size(const mpcb_geometry* geometry, int terms, int depthwise, size_t* elements) {
  if (const int status = check_filters(geometry, terms, depthwise)) return status;
  if (any_null(elements)) return MPCB_NULL_POINTER;
  return packed_words(*geometry, terms, depthwise != 0, elements) ? MPCB_OK : MPCB_BAD_SIZE;
}

int mpcb_wide_pack_filters(const mpcb_geometry* geometry, int terms, int depthwise, const uint64_t* const* w,
                           unsigned limb, uint64_t* packed) {
  if (const int status = check_layer(geometry, terms, depthwise, w, packed, limb, packed)) return status;
  active().wide_layers->pack(*geometry, terms, depthwise != 0, w, limb, packed);
  return MPCB_OK;
}

int mpcb_wide_conv2d(const mpcb_geometry* geometry, int terms, const uint64_t* const* x, const int64_t* x_zero,
                     const uint64_t* packed, unsigned limb, uint64_t* z) {
  if (const int status = check_layer(geometry, terms, 0, x, packed, limb, z)) return status;
  return active().wide_layers->conv2d(*geometry, terms, x, x_zero, packed, limb, z) ? MPCB_OK : MPCB_OUT_OF_MEMORY;
}

int mpcb_wide_depthwise2d(const mpcb_geometry* geometry, int terms, const uint64_t* const* x, const int64_t* x_zero,
                          const uint64_t* packed, unsigned limb, uint64_t* z) {
  if (const int status = check_layer(geometry, terms, 1, x, packed, limb, z)) return status;
  return active().wide_layers->depthwise2d(*geometry, terms, x, x_zero, packed, limb, z) ? MPCB_OK : MPCB_OUT_OF_MEMORY;
}

int mpcb_wide_combine_weights(const uint64_t* chi, const uint64_t* w, size_t outputs, size_t inputs, uint64_t* out) {
  if (inputs == 0) return MPCB_OK;
  size_t elements;
  if (too_many(inputs) || too_many(outputs)) return MPCB_BAD_SIZE;
  if (outputs != 0 && (__builtin_mul_overflow(outputs, inputs, &elements) || too_many(elements))) return MPCB_BAD_SIZE;
  if (any_null(out) || (outputs != 0 && any_null(chi, w))) return MPCB_NULL_POINTER;
  active().wide_linear->combine_weights(chi, w, outputs, inputs, out);
  return MPCB_OK;
}

int mpcb_wide_combine_patches(const mpcb_geometry* geometry, const uint64_t* psi, const uint64_t* x, int64_t x_zero,
                              unsigned limb, uint64_t* out) {
  if (const int status = mpcb::check_geometry(geometry)) return status;
  if (!valid_limb(limb)) return MPCB_BAD_ARGUMENT;
  if (any_null(psi, x) || any_null(out)) return MPCB_NULL_POINTER;
  active().wide_linear->combine_patches(*geometry, psi, x, x_zero, limb, out);
  return MPCB_OK;
}

int mpcb_wide_bilinear(const uint64_t* psi, const uint64_t* chi, const uint64_t* z, size_t pixels, size_t outputs,
                       uint64_t* out) {
  size_t elements;
  if (too_many(pixels) || too_many(outputs) || __builtin_mul_overflow(pixels, outputs, &elements) || too_many(elements))
    return MPCB_BAD_SIZE;
  if (any_null(out) || (elements != 0 && any_null(psi, chi, z))) return MPCB_NULL_POINTER;
  active().wide_linear->bilinear(psi, chi, z, elements == 0 ? 0 : pixels, outputs, out);
  return MPCB_OK;
}

int mpcb_wide_add_zero_share(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n) {
  if (any_null(key_a, key_b)) return MPCB_NULL_POINTER;
  return elementwise(n, [&] { active().wide->add_zero_share(key_a, key_b, domain, z, n); }, z);
}

int mpcb_wide_add_channel(uint64_t* z, const uint64_t* b, size_t channels, size_t n) {
  if (channels == 0 || n % channels != 0) return MPCB_BAD_SIZE;
  return elementwise(n, [&] { active().wide->add_channel(z, b, channels, n); }, z, b);
}

int mpcb_wide_add(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n) {
  return elementwise(n, [&] { active().wide->add(x, y, out, n); }, x, y, out);
}

int mpcb_wide_sub(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n) {
  return elementwise(n, [&] { active().wide->sub(x, y, out, n); }, x, y, out);
}

int mpcb_wide_mul(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n) {
  return elementwise(n, [&] { active().wide->mul(x, y, out, n); }, x, y, out);
}

int mpcb_wide_scale(const uint64_t* x, uint64_t m_low, uint64_t m_high, uint64_t* out, size_t n) {
  return elementwise(n, [&] { active().wide->scale(x, m_low, m_high, out, n); }, x, out);
}

int mpcb_wide_channel_affine(const uint64_t* x, const uint64_t* m, const uint64_t* c, size_t channels, size_t n,
                             uint64_t* out) {
  if (channels == 0 || n % channels != 0) return MPCB_BAD_SIZE;
  return elementwise(n, [&] { active().wide->channel_affine(x, m, c, channels, n, out); }, x, m, out);
}

int mpcb_wide_unmask_bits(const uint64_t* opened, const uint64_t* masks, unsigned width, const uint64_t* factor,
                          size_t n, uint64_t* out) {
  if (width > 64) return MPCB_BAD_ARGUMENT;
  if (any_null(factor) || (width != 0 && n != 0 && any_null(masks))) return MPCB_NULL_POINTER;
  return elementwise(n, [&] { active().wide->unmask_bits(opened, masks, width, factor, n, out); }, opened, out);
}

int mpcb_wide_dot(const uint64_t* x, const uint64_t* y, size_t n, uint64_t* out) {
  if (too_many(n)) return MPCB_BAD_SIZE;
  if (any_null(out) || (n != 0 && any_null(x, y))) return MPCB_NULL_POINTER;
  active().wide->dot(x, y, n, out);
  return MPCB_OK;
}

int mpcb_wide_shift_left(const uint64_t* x, unsigned s, uint64_t* out, size_t n) {
  if (s > 127) return MPCB_BAD_ARGUMENT;
  return elementwise(n, [&] { active().wide->shift_left(x, s, out, n); }, x, out);
}

int mpcb_wide_from_ring(const uint64_t* x, size_t n, uint64_t* out) {
  return elementwise(n, [&] { active().wide->from_ring(x, n, out); }, x, out);
}

int mpcb_wide_low(const uint64_t* x, size_t n, unsigned k, uint64_t* out) {
  if (k < 1 || k > 64) return MPCB_BAD_ARGUMENT;
  return elementwise(n, [&] { active().wide->low(x, n, k, out); }, x, out);
}

int mpcb_wide_pack(const uint64_t* x, size_t n, unsigned bits, uint8_t* out) {
  if (bits < 1 || bits > 128) return MPCB_BAD_ARGUMENT;
  return elementwise(n, [&] { active().wide->pack(x, n, bits, out); }, x, out);
}

int mpcb_wide_unpack(const uint8_t* in, size_t n, unsigned bits, uint64_t* x) {
  if (bits < 1 || bits > 128) return MPCB_BAD_ARGUMENT;
  return elementwise(n, [&] { active().wide->unpack(in, n, bits, x); }, in, x);
}
}
