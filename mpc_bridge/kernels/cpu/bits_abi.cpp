// C entry points of packing, bit planes and gathers.
#include "check.h"

using mpcb::active;
using mpcb::any_null;

namespace {

int check_planes(size_t n, unsigned low, unsigned count, unsigned width, size_t stride) {
  if (count > width || low > width - count) return MPCB_BAD_ARGUMENT;
  if (stride % 64 != 0 || stride < n / 8 + (n % 8 != 0)) return MPCB_BAD_SIZE;
  return MPCB_OK;
}

int check_packed(size_t n, unsigned k) {
  if (k < 1 || k > 64) return MPCB_BAD_ARGUMENT;
  return n > SIZE_MAX / 64 ? MPCB_BAD_SIZE : MPCB_OK;
}

template <class T>
int gather(const T* src, size_t source, const int64_t* index, size_t n, T fill, T* dst) {
  if (n == 0) return MPCB_OK;
  if (any_null(index, dst) || (source != 0 && any_null(src))) return MPCB_NULL_POINTER;
  // -1 becomes 0, so one unsigned comparison finds every bad index
  bool bad = false;
  for (size_t i = 0; i < n; i++) bad |= static_cast<uint64_t>(index[i]) + 1 > source;
  if (bad) return MPCB_INDEX_OUT_OF_RANGE;
  for (size_t i = 0; i < n; i++) dst[i] = index[i] < 0 ? fill : src[index[i]];
  return MPCB_OK;
}

}  // namespace

extern "C" {

int mpcb_gather_u64(const uint64_t* src, size_t source, const int64_t* index, size_t n, uint64_t fill, uint64_t* dst) {
  return gather(src, source, index, n, fill, dst);
}

int mpcb_gather_u8(const uint8_t* src, size_t source, const int64_t* index, size_t n, uint8_t fill, uint8_t* dst) {
  return gather(src, source, index, n, fill, dst);
}

int mpcb_pack_bits(const uint64_t* x, size_t n, unsigned k, uint8_t* out) {
  if (const int status = check_packed(n, k)) return status;
  if (n == 0) return MPCB_OK;
  if (any_null(x, out)) return MPCB_NULL_POINTER;
  active().bits->pack_bits(x, n, k, out);
  return MPCB_OK;
}

int mpcb_unpack_bits(const uint8_t* in, size_t n, unsigned k, uint64_t* x) {
  if (const int status = check_packed(n, k)) return status;
  if (n == 0) return MPCB_OK;
  if (any_null(in, x)) return MPCB_NULL_POINTER;
  active().bits->unpack_bits(in, n, k, x);
  return MPCB_OK;
}

int mpcb_bits_slice(const uint64_t* x, size_t n, unsigned low, unsigned count, uint8_t* planes, size_t stride) {
  if (const int status = check_planes(n, low, count, 64, stride)) return status;
  if (count == 0 || stride == 0) return MPCB_OK;
  if (any_null(planes) || (n != 0 && any_null(x))) return MPCB_NULL_POINTER;
  active().bits->bits_slice(x, n, low, count, planes, stride);
  return MPCB_OK;
}

int mpcb_bits_unslice(const uint8_t* planes, size_t stride, size_t n, unsigned count, uint64_t* x) {
  if (const int status = check_planes(n, 0, count, 64, stride)) return status;
  if (n == 0) return MPCB_OK;
  if (any_null(x) || (count != 0 && any_null(planes))) return MPCB_NULL_POINTER;
  active().bits->bits_unslice(planes, stride, n, count, x);
  return MPCB_OK;
}

int mpcb_bytes_slice(const uint8_t* x, size_t n, unsigned low, unsigned count, uint8_t* planes, size_t stride) {
  if (const int status = check_planes(n, low, count, 8, stride)) return status;
  if (count == 0 || stride == 0) return MPCB_OK;
  if (any_null(planes) || (n != 0 && any_null(x))) return MPCB_NULL_POINTER;
  active().bits->bytes_slice(x, n, low, count, planes, stride);
  return MPCB_OK;
}

int mpcb_bytes_unslice(const uint8_t* planes, size_t stride, size_t n, unsigned count, uint8_t* x) {
  if (const int status = check_planes(n, 0, count, 8, stride)) return status;
  if (n == 0) return MPCB_OK;
  if (any_null(x) || (count != 0 && any_null(planes))) return MPCB_NULL_POINTER;
  active().bits->bytes_unslice(planes, stride, n, count, x);
  return MPCB_OK;
}

int mpcb_bytes_xor(const uint8_t* x, const uint8_t* y, uint8_t* out, size_t n) {
  if (n == 0) return MPCB_OK;
  if (any_null(x, y, out)) return MPCB_NULL_POINTER;
  active().bits->bytes_xor(x, y, out, n);
  return MPCB_OK;
}
}
