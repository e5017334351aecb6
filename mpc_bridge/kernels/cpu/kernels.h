// The table of kernel bodies that one instruction-set target provides, and the one in use.
//
// A body assumes checked arguments: the *_abi.cpp files check, then call through active(). Bodies live in namespace
// mpcb::MPCB_TARGET, once per target. They must not instantiate standard-library templates or call non-static inline
// functions from outside that namespace: the linker keeps one copy of those, which may hold instructions that this CPU
// lacks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mpcb.h"

namespace mpcb {

struct RingKernels {
  void (*channel_affine)(const uint64_t* x, const uint64_t* m, const uint64_t* c, size_t channels, size_t n,
                         uint64_t* out);
  void (*axpy)(uint64_t* y, const uint64_t* x, uint64_t a, size_t n);
  void (*add)(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n);
  void (*sub)(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n);
  void (*add_constant)(const uint64_t* x, uint64_t a, uint64_t* out, size_t n);
  void (*window_sum)(const mpcb_geometry& geometry, const uint64_t* x, uint64_t* z);
  void (*axis_sum)(const uint64_t* x, size_t outer, size_t axis, size_t inner, uint64_t* z);
  void (*unmask_bits)(const uint8_t* opened, const uint64_t* masks, unsigned width, bool add_opened, size_t n,
                      uint64_t* out);
};

struct PrfKernels {
  void (*fill)(const uint8_t* key, uint64_t domain, uint64_t first_block, uint8_t* out, size_t bytes);
  void (*add_zero_share)(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n);
};

// One run of the bit-plane machine; arguments as in mpcb_planes_run.
struct PlaneRun {
  uint8_t* planes;
  size_t registers, stride, bytes;
  const int32_t* code;
  size_t instructions;
  const uint8_t* keys;
  size_t key_count;
  uint64_t domain;
  const uint8_t* incoming;
  size_t incoming_planes;
  uint8_t* outgoing;
  size_t outgoing_planes;
};

struct PlaneKernels {
  void (*run)(const PlaneRun& run);
};

// One run of the MAC machine; arguments as in mpcb_macs_run.
struct MacRun {
  const uint8_t* const* planes;
  size_t plane_count, lanes;
  const int32_t* code;
  size_t instructions;
  const uint8_t* key;
  uint64_t domain, delta;
  const uint64_t* const* in;
  size_t in_rows;
  uint64_t* const* out;
  size_t out_rows;
};

struct MacKernels {
  // words: 64 per register, on a vector boundary
  void (*run)(const MacRun& run, uint64_t* words, uint64_t* bits);
  void (*deal)(const uint8_t* planes, size_t stride, size_t rows, size_t lanes, uint64_t delta, const uint8_t* keys,
               size_t key_count, uint64_t domain, uint64_t* out);
};

// Most products that one linear call sums.
constexpr int kMostTerms = 16;

struct DenseKernels {
  void (*conv2d_pack)(const mpcb_geometry& geometry, int terms, const uint64_t* const* w, uint64_t* packed);
  void (*conv2d)(const mpcb_geometry& geometry, int terms, const uint64_t* const* x, const uint64_t* x_zero,
                 const uint64_t* packed, uint64_t* z);
};

struct DepthwiseKernels {
  void (*depthwise2d)(const mpcb_geometry& geometry, int terms, const uint64_t* const* x, const uint64_t* x_zero,
                      const uint64_t* const* w, uint64_t* z);
};

struct BitsKernels {
  void (*bits_slice)(const uint64_t* x, size_t n, unsigned low, unsigned count, uint8_t* planes, size_t stride);
  void (*bytes_slice)(const uint8_t* x, size_t n, unsigned low, unsigned count, uint8_t* planes, size_t stride);
  void (*bits_unslice)(const uint8_t* planes, size_t stride, size_t n, unsigned count, uint64_t* x);
  void (*bytes_unslice)(const uint8_t* planes, size_t stride, size_t n, unsigned count, uint8_t* x);
  void (*pack_bits)(const uint64_t* x, size_t n, unsigned k, uint8_t* out);
  void (*unpack_bits)(const uint8_t* in, size_t n, unsigned k, uint64_t* x);
  void (*bytes_xor)(const uint8_t* x, const uint8_t* y, uint8_t* out, size_t n);
};

// Elements modulo 2^128; arguments as in mpcb_wide_*.
struct WideKernels {
  void (*add_zero_share)(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n);
  void (*add_channel)(uint64_t* z, const uint64_t* b, size_t channels, size_t n);
  void (*add)(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n);
  void (*sub)(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n);
  void (*mul)(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n);
  void (*scale)(const uint64_t* x, uint64_t m_low, uint64_t m_high, uint64_t* out, size_t n);
  void (*channel_affine)(const uint64_t* x, const uint64_t* m, const uint64_t* c, size_t channels, size_t n,
                         uint64_t* out);
  void (*unmask_bits)(const uint64_t* opened, const uint64_t* masks, unsigned width, const uint64_t* factor, size_t n,
                      uint64_t* out);
  void (*dot)(const uint64_t* x, const uint64_t* y, size_t n, uint64_t* out);
  void (*shift_left)(const uint64_t* x, unsigned s, uint64_t* out, size_t n);
  void (*from_ring)(const uint64_t* x, size_t n, uint64_t* out);
  void (*low)(const uint64_t* x, size_t n, unsigned k, uint64_t* out);
  void (*pack)(const uint64_t* x, size_t n, unsigned bits, uint8_t* out);
  void (*unpack)(const uint8_t* in, size_t n, unsigned bits, uint64_t* x);
};

struct WideLayerKernels {
  void (*pack)(const mpcb_geometry& geometry, int terms, bool depthwise, const uint64_t* const* w, unsigned limb,
               uint64_t* packed);
  // false: out of memory
  bool (*conv2d)(const mpcb_geometry& geometry, int terms, const uint64_t* const* x, const int64_t* x_zero,
                 const uint64_t* packed, unsigned limb, uint64_t* z);
  bool (*depthwise2d)(const mpcb_geometry& geometry, int terms, const uint64_t* const* x, const int64_t* x_zero,
                      const uint64_t* packed, unsigned limb, uint64_t* z);
};

struct WideLinearKernels {
  void (*combine_weights)(const uint64_t* chi, const uint64_t* w, size_t outputs, size_t inputs, uint64_t* out);
  void (*combine_patches)(const mpcb_geometry& geometry, const uint64_t* psi, const uint64_t* x, int64_t x_zero,
                          unsigned limb, uint64_t* out);
  void (*bilinear)(const uint64_t* psi, const uint64_t* chi, const uint64_t* z, size_t pixels, size_t outputs,
                   uint64_t* out);
};

// Vectors over GF(2^64); arguments as in mpcb_gf_*.
struct GfKernels {
  void (*mul)(const uint64_t* a, const uint64_t* b, uint64_t* out, size_t n);
  void (*weighted_sum)(const uint64_t* x, size_t n, const uint8_t* key, uint64_t domain, uint64_t first, uint64_t* out);
  void (*reduce)(const uint64_t* products, size_t n, uint64_t* out);
  void (*add_zero_share)(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n);
  void (*fold_products)(const uint64_t* a_own, const uint64_t* a_next, const uint64_t* b_own, const uint64_t* b_next,
                        size_t length, size_t arity, uint64_t* out);
  void (*fold)(const uint64_t* a, size_t length, size_t arity, const uint64_t* u, uint64_t* out);
};

// A record of a boolean circuit, its rows and their weights; arguments as in mpcb_gf_first_fold.
struct GfRecord {
  const uint8_t* planes;
  size_t registers, stride, lanes;
  const int32_t* rows;
  const int32_t* group;
  size_t row_count, groups;
  const uint8_t* key;
  uint64_t domain, first;
};

struct GfRowKernels {
  void (*first_fold)(const GfRecord& record, uint64_t* acc);
  void (*z_sum)(const GfRecord& record, const int32_t* z, const uint64_t* nu, uint64_t* out);
};

struct GfLiftKernels {
  void (*lift)(const GfRecord& record, const int32_t* factor, size_t factors, const uint64_t* u, const uint64_t* v,
               uint64_t* a_own, uint64_t* a_next, uint64_t* b_own, uint64_t* b_next);
};

// Oblivious transfer; arguments as in mpcb_ot_*.
struct OtKernels {
  void (*expand)(const uint8_t* seeds, size_t trees, unsigned depth, uint64_t domain, size_t bytes, uint8_t* sums,
                 uint8_t* weighted);
  void (*hash)(const uint8_t* key, const uint64_t* low, const uint64_t* high, size_t n, uint64_t domain, uint64_t first,
               uint64_t delta_low, uint64_t delta_high, uint64_t* out_low, uint64_t* out_high);
  void (*digits)(const uint8_t* key, const uint64_t* leaves, size_t trees, unsigned depth, uint64_t domain, size_t n,
                 uint64_t scale, uint64_t* sums, uint64_t* acc);
  void (*combine)(const uint64_t* x, const uint64_t* m, size_t rows, size_t n, uint64_t* acc);
  void (*inner)(const uint64_t* rows, size_t count, size_t stride, const uint64_t* chi, size_t n, uint64_t* out);
};

struct Kernels {
  const BitsKernels* bits;
  const DenseKernels* dense;
  const DepthwiseKernels* depthwise;
  const PrfKernels* prf;
  const RingKernels* ring;
  const PlaneKernels* planes;
  const MacKernels* macs;
  const WideKernels* wide;
  const WideLayerKernels* wide_layers;
  const WideLinearKernels* wide_linear;
  const GfKernels* gf;
  const GfRowKernels* gf_rows;
  const GfLiftKernels* gf_lift;
  const OtKernels* ot;
};

// The table selected by the CPU and the mask.
const Kernels& active();

#ifdef MPCB_TARGET
namespace MPCB_TARGET {
extern const BitsKernels bits_kernels;
extern const DenseKernels dense_kernels;
extern const DepthwiseKernels depthwise_kernels;
extern const PrfKernels prf_kernels;
extern const RingKernels ring_kernels;
extern const PlaneKernels plane_kernels;
extern const MacKernels mac_kernels;
extern const WideKernels wide_kernels;
extern const WideLayerKernels wide_layer_kernels;
extern const WideLinearKernels wide_linear_kernels;
extern const GfKernels gf_kernels;
extern const GfRowKernels gf_row_kernels;
extern const GfLiftKernels gf_lift_kernels;
extern const OtKernels ot_kernels;
}  // namespace MPCB_TARGET
#endif

}  // namespace mpcb
