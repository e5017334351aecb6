/* The C ABI of the kernel library.
 *
 * Plain functions on pointers and sizes. Every function checks its arguments and returns a status (MPCB_OK is 0); a
 * pointer may be null only where its size is 0. Buffers belong to the caller and may not overlap unless stated. Nothing
 * here allocates memory that outlives a call, and all calls may run concurrently on different output buffers.
 *
 * Ring elements are uint64_t, arithmetic is modulo 2^64: smaller rings are its quotients, taken only when packing.
 * The Python loader hands everything between the two markers to cffi: no preprocessor lines in there.
 */
#ifndef MPCB_H
#define MPCB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* <cdef> */

enum { MPCB_ABI_VERSION = 2 };

typedef enum mpcb_status {
  MPCB_OK = 0,
  MPCB_NULL_POINTER = 1,
  MPCB_BAD_SIZE = 2,
  MPCB_BAD_ARGUMENT = 3,
  MPCB_BAD_GEOMETRY = 4,
  MPCB_INDEX_OUT_OF_RANGE = 5,
  MPCB_OUT_OF_MEMORY = 6
} mpcb_status;

/* Instruction-set levels, as bits of mpcb_cpu_features and mpcb_set_cpu_mask; portable code is always there.
 * AVX2: x86-64-v3 with AES and PCLMULQDQ. AVX512: x86-64-v4 with VAES, VPCLMULQDQ, GFNI, VBMI, VBMI2, IFMA, VNNI,
 * BITALG, VPOPCNTDQ. */
enum { MPCB_CPU_AVX2 = 1, MPCB_CPU_AVX512 = 2 };

/* A 2-D window over NHWC images. Cells outside the image contribute nothing. */
typedef struct mpcb_geometry {
  int64_t batch;
  int64_t in_height, in_width, in_channels;
  int64_t out_height, out_width, out_channels;
  int64_t kernel_height, kernel_width;
  int64_t stride_height, stride_width;
  int64_t dilation_height, dilation_width;
  int64_t pad_top, pad_left;
} mpcb_geometry;

/* ---- library ---- */

/* MPCB_ABI_VERSION of the library. */
uint32_t mpcb_version(void);
/* One line for people; never null. */
const char* mpcb_status_text(int status);
/* Levels this CPU and operating system can run and this library was built with, whatever the mask. */
uint64_t mpcb_cpu_features(void);
/* Process-wide: from now on use only levels in `mask` (all ones: no restriction). Returns the levels now in use. */
uint64_t mpcb_set_cpu_mask(uint64_t mask);

/* ---- pseudo-random function: AES-128 in counter mode ---- */

/* Block j is AES(key, be64(domain) || be64(j)); writes `bytes` bytes of the blocks first_block, first_block + 1, ... */
int mpcb_prf_fill(const uint8_t* key, uint64_t domain, uint64_t first_block, uint8_t* out, size_t bytes);
/* z[i] += F(key_a)[i] - F(key_b)[i], with F(key)[i] the i-th little-endian 64-bit word of the stream of `domain`. */
int mpcb_ring_add_zero_share(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n);

/* ---- linear layers ---- */

/* uint64_t elements that mpcb_conv2d_pack writes. */
int mpcb_conv2d_packed_size(const mpcb_geometry* geometry, int terms, size_t* elements);
/* w: `terms` arrays [out_channels, kernel_height, kernel_width, in_channels]. The layout is the same at every CPU
 * level. */
int mpcb_conv2d_pack(const mpcb_geometry* geometry, int terms, const uint64_t* const* w, uint64_t* packed);
/* z[b, oh, ow, oc] = sum over terms of conv(x_t - x_zero[t], w_t); x_t: NHWC; x_zero may be null (all zero). */
int mpcb_conv2d(const mpcb_geometry* geometry, int terms, const uint64_t* const* x, const uint64_t* x_zero,
                const uint64_t* packed, uint64_t* z);
/* The same for one filter per output channel: w_t [kernel_height, kernel_width, out_channels], not packed; output
 * channel o reads input channel o / (out_channels / in_channels). */
int mpcb_depthwise2d(const mpcb_geometry* geometry, int terms, const uint64_t* const* x, const uint64_t* x_zero,
                     const uint64_t* const* w, uint64_t* z);

/* ---- ring arrays; out may be x or y ---- */

/* out[i] = x[i] * m[i % channels] + c[i % channels]; c may be null; n is a multiple of channels. */
int mpcb_ring_channel_affine(const uint64_t* x, const uint64_t* m, const uint64_t* c, size_t channels, size_t n,
                             uint64_t* out);
int mpcb_ring_axpy(uint64_t* y, const uint64_t* x, uint64_t a, size_t n); /* y[i] += a * x[i] */
int mpcb_ring_add(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n);
int mpcb_ring_sub(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n);
int mpcb_ring_add_constant(const uint64_t* x, uint64_t a, uint64_t* out, size_t n);
/* z[b, oh, ow, c] = sum of x over the window's cells inside the image; in_channels == out_channels. */
int mpcb_window_sum(const mpcb_geometry* geometry, const uint64_t* x, uint64_t* z);
/* z[outer, inner] = sum over axis of x[outer, axis, inner]. */
int mpcb_axis_sum(const uint64_t* x, size_t outer, size_t axis, size_t inner, uint64_t* z);
/* out[i] = sum over b < width of 2^b * (e_b ? -masks[b * n + i] : masks[b * n + i]), with e_b bit b of opened[i]; plus
 * opened[i] where add_opened is not 0: a summand of q where opened = q ^ r and masks share the bits of r; width <= 8.
 */
int mpcb_ring_unmask_bits(const uint8_t* opened, const uint64_t* masks, unsigned width, int add_opened, size_t n,
                          uint64_t* out);

/* dst[i] = src[index[i]], or fill where index[i] is -1. Any other index outside [0, source) is an error, found before
 * anything is written. */
int mpcb_gather_u64(const uint64_t* src, size_t source, const int64_t* index, size_t n, uint64_t fill, uint64_t* dst);
int mpcb_gather_u8(const uint8_t* src, size_t source, const int64_t* index, size_t n, uint8_t fill, uint8_t* dst);

/* ---- bits ---- */

/* x[i] mod 2^k, 1 <= k <= 64, in k consecutive bits, little-endian; out: ceil(n * k / 8) bytes, spare bits zero. */
int mpcb_pack_bits(const uint64_t* x, size_t n, unsigned k, uint8_t* out);
int mpcb_unpack_bits(const uint8_t* in, size_t n, unsigned k, uint64_t* x);

/* Bit planes: `count` rows of `stride` bytes; bit i of row b (bit i % 8 of byte i / 8) is bit low + b of x[i]. stride
 * is a multiple of 64 and at least ceil(n / 8); bits from n to the end of a row are zero. low + count <= 64 (8 for
 * bytes). */
int mpcb_bits_slice(const uint64_t* x, size_t n, unsigned low, unsigned count, uint8_t* planes, size_t stride);
/* x[i] = sum over b of plane_b[i] << b. */
int mpcb_bits_unslice(const uint8_t* planes, size_t stride, size_t n, unsigned count, uint64_t* x);
int mpcb_bytes_slice(const uint8_t* x, size_t n, unsigned low, unsigned count, uint8_t* planes, size_t stride);
int mpcb_bytes_unslice(const uint8_t* planes, size_t stride, size_t n, unsigned count, uint8_t* x);

/* out[i] = x[i] ^ y[i]; out may be x or y. */
int mpcb_bytes_xor(const uint8_t* x, const uint8_t* y, uint8_t* out, size_t n);

/* ---- the bit-plane machine ---- */

/* Instructions are four int32: opcode, d, a, b. d, a and b number registers unless stated. */
typedef enum mpcb_plane_op {
  MPCB_PLANE_ZERO = 0,   /* d = 0 */
  MPCB_PLANE_ONES = 1,   /* d = all ones */
  MPCB_PLANE_COPY = 2,   /* d = a */
  MPCB_PLANE_XOR = 3,    /* d = a ^ b */
  MPCB_PLANE_AND = 4,    /* d = a & b */
  MPCB_PLANE_XORAND = 5, /* d ^= a & b */
  MPCB_PLANE_NOT = 6,    /* d = ~a */
  MPCB_PLANE_PRF = 7,    /* d = pad b of key a */
  MPCB_PLANE_XPRF = 8,   /* d ^= pad b of key a */
  MPCB_PLANE_SEND = 9,   /* outgoing plane b = a */
  MPCB_PLANE_RECV = 10   /* d = incoming plane b */
} mpcb_plane_op;

/* Most keys one run may use. */
enum { MPCB_PLANE_KEYS = 8 };

/* Runs straight-line code on `registers` rows of `stride` bytes (a multiple of 64, at least `bytes`), of which the
 * first `bytes` rounded up to 64 are computed. Messages hold planes of exactly `bytes` bytes. keys: key_count keys of
 * 16 bytes; pad b of a key is the PRF stream of `domain` from block b * ceil(bytes / 64) * 4 on: no run may share its
 * domain with another use of the same key. */
int mpcb_planes_run(uint8_t* planes, size_t registers, size_t stride, size_t bytes, const int32_t* code,
                    size_t instructions, const uint8_t* keys, size_t key_count, uint64_t domain,
                    const uint8_t* incoming, size_t incoming_planes, uint8_t* outgoing, size_t outgoing_planes);

/* ---- the MAC machine: one word per wire and lane, in the circuit of a bit-plane program whose products are opened
 * ----
 */

/* Instructions are four int32: opcode, d, a, b. Registers are words or bits, numbered apart. */
typedef enum mpcb_mac_op {
  MPCB_MAC_BIT_ONES = 0, /* bit d = 1 */
  MPCB_MAC_BIT_LOAD = 1, /* bit d = plane b */
  MPCB_MAC_BIT_XOR = 2,  /* bit d = bit a ^ bit b */
  MPCB_MAC_BIT_AND = 3,  /* bit d = bit a & bit b */
  MPCB_MAC_BIT_NOT = 4,  /* bit d = ~bit a */
  MPCB_MAC_ZERO = 5,     /* word d = 0 */
  MPCB_MAC_LOAD = 6,     /* word d = row b of in */
  MPCB_MAC_PRF = 7,      /* word d = pad b */
  MPCB_MAC_XOR = 8,      /* word d = word a ^ word b */
  MPCB_MAC_XORAND = 9,   /* word d ^= word a where bit b */
  MPCB_MAC_XORKEY = 10,  /* word d ^= delta where bit b */
  MPCB_MAC_STORE = 11    /* row b of out = word a */
} mpcb_mac_op;

/* Runs straight-line code on `lanes` lanes. planes: plane_count public planes of ceil(lanes / 8) bytes; in, out: rows
 * of `lanes` words. Pad b is the words of the PRF stream of `domain` from block b * ceil(lanes / 64) * 32 on. */
int mpcb_macs_run(const uint8_t* const* planes, size_t plane_count, size_t lanes, const int32_t* code,
                  size_t instructions, size_t word_registers, size_t bit_registers, const uint8_t* key, uint64_t domain,
                  uint64_t delta, const uint64_t* const* in, size_t in_rows, uint64_t* const* out, size_t out_rows);
/* Row r of out = delta where the bit of plane r (rows of `stride` bytes) is set, XOR pad r of each of the keys (at most
 * MPCB_PLANE_KEYS); out: rows of `lanes` words. */
int mpcb_macs_deal(const uint8_t* planes, size_t stride, size_t rows, size_t lanes, uint64_t delta, const uint8_t* keys,
                   size_t key_count, uint64_t domain, uint64_t* out);

/* ---- elements modulo 2^128 ("wide"): two words each, low word first; n counts elements ---- */

/* Linear layers know their operands in limbs of `limb` bits, 52 or 64: of activations one limb counts, of weights and
 * results two, so z is what it is modulo 2^(2 * limb). 52 is faster on CPUs with multipliers of that width.
 *
 * w: `terms` arrays, wide [out_channels, kernel_height, kernel_width, in_channels] or, depthwise, [kernel_height,
 * kernel_width, out_channels]. The layout of packed is the same at every CPU level. */
int mpcb_wide_packed_size(const mpcb_geometry* geometry, int terms, int depthwise, size_t* elements);
int mpcb_wide_pack_filters(const mpcb_geometry* geometry, int terms, int depthwise, const uint64_t* const* w,
                           unsigned limb, uint64_t* packed);
/* z[b, oh, ow, oc] = sum over terms of conv(x_t mod 2^limb - x_zero[t], w_t). x_t: NHWC, one word per element; x_zero:
 * signed, subtracted from the cells inside the image, may be null (all zero); z: wide. */
int mpcb_wide_conv2d(const mpcb_geometry* geometry, int terms, const uint64_t* const* x, const int64_t* x_zero,
                     const uint64_t* packed, unsigned limb, uint64_t* z);
/* One filter per output channel, as mpcb_depthwise2d. */
int mpcb_wide_depthwise2d(const mpcb_geometry* geometry, int terms, const uint64_t* const* x, const int64_t* x_zero,
                          const uint64_t* packed, unsigned limb, uint64_t* z);
/* out[i] = sum over o of chi[o] * w[o, i]; w: wide [outputs, inputs]. */
int mpcb_wide_combine_weights(const uint64_t* chi, const uint64_t* w, size_t outputs, size_t inputs, uint64_t* out);
/* out[kh, kw, ic] = sum over pixels p = (b, oh, ow) of psi[p] * (x mod 2^limb - x_zero)[cell of p at (kh, kw), ic]
 * modulo 2^(2 * limb), cells outside the image contributing 0; out: wide [kernel_height, kernel_width, in_channels],
 * the order of one filter of a dense layer's weights and, where in_channels == out_channels, of all filters of a
 * depthwise layer. out_channels has no other effect. */
int mpcb_wide_combine_patches(const mpcb_geometry* geometry, const uint64_t* psi, const uint64_t* x, int64_t x_zero,
                              unsigned limb, uint64_t* out);
/* out = sum over p of psi[p] * sum over o of chi[o] * z[p, o]; z: wide [pixels, outputs]; out: one element. */
int mpcb_wide_bilinear(const uint64_t* psi, const uint64_t* chi, const uint64_t* z, size_t pixels, size_t outputs,
                       uint64_t* out);

/* z[i] += F(key_a)[i] - F(key_b)[i], with F(key)[i] block i of the stream of `domain`, little-endian. */
int mpcb_wide_add_zero_share(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n);
/* z[i] += b[i % channels]; n is a multiple of channels. */
int mpcb_wide_add_channel(uint64_t* z, const uint64_t* b, size_t channels, size_t n);
/* Elementwise; out may be x or y. */
int mpcb_wide_add(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n);
int mpcb_wide_sub(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n);
int mpcb_wide_mul(const uint64_t* x, const uint64_t* y, uint64_t* out, size_t n);
int mpcb_wide_scale(const uint64_t* x, uint64_t m_low, uint64_t m_high, uint64_t* out, size_t n);
int mpcb_wide_shift_left(const uint64_t* x, unsigned s, uint64_t* out, size_t n); /* s <= 127 */
/* out[i] = x[i] * m[i % channels] + c[i % channels]; c may be null; n is a multiple of channels. out may be x. */
int mpcb_wide_channel_affine(const uint64_t* x, const uint64_t* m, const uint64_t* c, size_t channels, size_t n,
                             uint64_t* out);
/* out[i] = factor * opened[i] + sum over b < width of 2^b * (e_b ? -masks[b * n + i] : masks[b * n + i]), with e_b bit
 * b of the word opened[i]; width <= 64; masks, factor (one element) and out are wide. */
int mpcb_wide_unmask_bits(const uint64_t* opened, const uint64_t* masks, unsigned width, const uint64_t* factor,
                          size_t n, uint64_t* out);
/* out = sum of x[i] * y[i]; one element. */
int mpcb_wide_dot(const uint64_t* x, const uint64_t* y, size_t n, uint64_t* out);
/* Words to elements below 2^64, and elements modulo 2^k, 1 <= k <= 64, to words. */
int mpcb_wide_from_ring(const uint64_t* x, size_t n, uint64_t* out);
int mpcb_wide_low(const uint64_t* x, size_t n, unsigned k, uint64_t* out);
/* x[i] mod 2^bits, 1 <= bits <= 128, laid out as mpcb_pack_bits does. */
int mpcb_wide_pack(const uint64_t* x, size_t n, unsigned bits, uint8_t* out);
int mpcb_wide_unpack(const uint8_t* in, size_t n, unsigned bits, uint64_t* x);

/* ---- GF(2^64) = GF(2)[X] / (X^64 + X^4 + X^3 + X + 1): bit i of a word is the coefficient of X^i ---- */

enum { MPCB_GF_MOST_ARITY = 32 };

int mpcb_gf_mul(const uint64_t* a, const uint64_t* b, uint64_t* out, size_t n); /* elementwise; out may be a or b */
/* out = sum of x[i] * F[first + i], with F the words of the PRF stream (key, domain); first is even; one element. */
int mpcb_gf_weighted_sum(const uint64_t* x, size_t n, const uint8_t* key, uint64_t domain, uint64_t first,
                         uint64_t* out);
/* Polynomials below degree 128, two words each, low word first, to elements; out may be products. */
int mpcb_gf_reduce(const uint64_t* products, size_t n, uint64_t* out);
/* z[i] ^= F(key_a)[i] ^ F(key_b)[i], with F(key)[i] the i-th little-endian 64-bit word of the stream of `domain`. */
int mpcb_gf_add_zero_share(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n);

/* Folds cut vectors into `arity` (2 to MPCB_GF_MOST_ARITY) pieces of M = ceil(length / arity) elements; elements past
 * the end are zero. out[i * arity + k] = sum over j of a_own[i M + j] (b_own + b_next)[k M + j] + a_next[i M + j]
 * b_own[k M + j]. */
int mpcb_gf_fold_products(const uint64_t* a_own, const uint64_t* a_next, const uint64_t* b_own, const uint64_t* b_next,
                          size_t length, size_t arity, uint64_t* out);
/* out[j] = sum over i of u[i] a[i M + j], M elements; out may be a. */
int mpcb_gf_fold(const uint64_t* a, size_t length, size_t arity, const uint64_t* u, uint64_t* out);

enum { MPCB_GF_ABSENT = -1 };

/* A record is the registers of a bit-plane program, `lanes` bits each: whatever a row of planes holds past them is not
 * read as data. A tile is 4096 lanes: 64 parts of 64 lanes; part i of a register is a word, so an element. Rows are
 * four int32: the registers of x_own, x_next, y_own, y_next, or MPCB_GF_ABSENT for a component that is zero whatever
 * the operands. The weight of row m in tile t is word first + t * groups + group[m] of the PRF stream (key, domain);
 * group[m] < groups.
 *
 * first_fold: acc, 64 x 64 unreduced products [i, k] of two words, ^= sum over tiles and rows of
 * weight * ((x_own_i & (y_own_k ^ y_next_k)) ^ (x_next_i & y_own_k)). */
int mpcb_gf_first_fold(const uint8_t* planes, size_t registers, size_t stride, size_t lanes, const int32_t* rows,
                       const int32_t* group, size_t row_count, size_t groups, const uint8_t* key, uint64_t domain,
                       uint64_t first, uint64_t* acc);
/* z: two int32 for each group, the registers of z_own and z_next, or MPCB_GF_ABSENT. out[0 or 1] ^= sum over tiles and
 * groups of weight * sum over i of nu[i] * part i of z_own or z_next; nu: 64 elements. */
int mpcb_gf_z_sum(const uint8_t* planes, size_t registers, size_t stride, size_t lanes, const int32_t* z, size_t groups,
                  const uint8_t* key, uint64_t domain, uint64_t first, const uint64_t* nu, uint64_t* out);
/* Rows whose y is the same are one product, (sum of weight * x) * y. factor[m] numbers them: 0 for the first row, and
 * for each further one that of the row before it or one more; y is that of a factor's last row. Element
 * (t * factors + f) * 64 + b of a_own, a_next: sum over the rows of f of weight * X^b * sum over i of u[i] * (bit b of
 * part i of x_own, x_next), and of b_own, b_next: sum over k of v[k] * (bit b of part k of y_own, y_next). u, v: 64
 * elements. */
int mpcb_gf_lift(const uint8_t* planes, size_t registers, size_t stride, size_t lanes, const int32_t* rows,
                 const int32_t* group, size_t row_count, size_t groups, const uint8_t* key, uint64_t domain,
                 uint64_t first, const int32_t* factor, size_t factors, const uint64_t* u, const uint64_t* v,
                 uint64_t* a_own, uint64_t* a_next, uint64_t* b_own, uint64_t* b_next);

/* ---- oblivious transfer ---- */

enum { MPCB_OT_MOST_DEPTH = 8 };

/* The streams of `trees` sets of 2^depth seeds of 16 bytes, each an AES key whose stream of `domain` has `bytes` bytes
 * (a multiple of 64): row t of sums is the XOR of all streams of set t, row t * depth + b of weighted the XOR of those
 * whose number has bit b. 1 <= depth <= MPCB_OT_MOST_DEPTH; rows have `bytes` bytes. */
int mpcb_ot_expand(const uint8_t* seeds, size_t trees, unsigned depth, uint64_t domain, size_t bytes, uint8_t* sums,
                   uint8_t* weighted);
/* out[i] = p(p(x) ^ tweak) ^ p(x), with p AES under `key`, x = (low[i] ^ delta_low, high[i] ^ delta_high) and tweak =
 * (domain, first + i): blocks of two little-endian words. Outputs may be the inputs. */
int mpcb_ot_hash(const uint8_t* key, const uint64_t* low, const uint64_t* high, size_t n, uint64_t domain,
                 uint64_t first, uint64_t delta_low, uint64_t delta_high, uint64_t* out_low, uint64_t* out_high);
/* leaves: [trees, 2^depth] blocks of two words. A leaf x has the words of the blocks p(p(x) ^ (domain, j)) ^ p(x), j =
 * 0, 1, ...: n of them. sums[t, i] = sum of word i over the leaves of tree t; acc[i] += scale * sum over trees and
 * leaves of leaf number * word i. */
int mpcb_ot_digits(const uint8_t* key, const uint64_t* leaves, size_t trees, unsigned depth, uint64_t domain, size_t n,
                   uint64_t scale, uint64_t* sums, uint64_t* acc);
/* acc[i] += sum over r of m[r] * x[r, i]. */
int mpcb_ot_combine(const uint64_t* x, const uint64_t* m, size_t rows, size_t n, uint64_t* acc);
/* out[r] = sum over i < n of chi[i] * rows[r, i] in GF(2^64); rows are `stride` words apart, n <= stride. */
int mpcb_ot_inner(const uint64_t* rows, size_t count, size_t stride, const uint64_t* chi, size_t n, uint64_t* out);

/* </cdef> */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
