// AES-128 in counter mode as a pseudo-random function, for kernels that consume it in place. Per target, see kernels.h.
//
// Block j of a stream is AES(key, be64(domain) || be64(j)), so a stream equals OpenSSL's AES-128-CTR with that initial
// block.
#pragma once

#include "kernels.h"
#ifndef MPCB_TARGET_portable
#include <immintrin.h>
#endif

namespace mpcb {

constexpr size_t kBlockBytes = 16;

// The eleven round keys in FIPS-197 byte order, the same on every target.
struct PrfSchedule {
  alignas(64) uint8_t round_keys[11 * kBlockBytes];
};

namespace MPCB_TARGET {

// Overwrites secrets that leave scope; the compiler may not drop it.
static inline void wipe(void* secret, size_t bytes) {
  __builtin_memset(secret, 0, bytes);
  asm volatile("" : : "r"(secret) : "memory");
}

// FIPS-197 key expansion, without secret-dependent branches or addresses.
void prf_expand(const uint8_t* key, PrfSchedule& schedule);

#ifdef MPCB_TARGET_portable

// Writes blocks [first, first + blocks); bit-sliced, 64 blocks at a time.
void keystream(const PrfSchedule& schedule, uint64_t domain, uint64_t first, uint8_t* out, size_t blocks);

// Encrypts `count` blocks of two words each in place.
void encrypt_blocks(const PrfSchedule& schedule, uint64_t* blocks, size_t count);

#elif defined(MPCB_TARGET_avx512)

// VAES on N registers of four blocks; advances the counter register, whose high qwords hold the block index.
template <int N>
static inline void vaes_blocks(const __m512i (&keys)[11], __m512i& counter, __m512i (&x)[N]) {
  const __m512i to_big_endian =
      _mm512_broadcast_i32x4(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  const __m512i four = _mm512_set_epi64(4, 0, 4, 0, 4, 0, 4, 0);
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) {
    x[i] = _mm512_xor_si512(_mm512_shuffle_epi8(counter, to_big_endian), keys[0]);
    counter = _mm512_add_epi64(counter, four);
  }
#pragma GCC unroll 9
  for (int r = 1; r < 10; r++)
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) x[i] = _mm512_aesenc_epi128(x[i], keys[r]);
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) x[i] = _mm512_aesenclast_epi128(x[i], keys[10]);
}

// Writes blocks [first, first + blocks).
static inline void keystream(const PrfSchedule& schedule, uint64_t domain, uint64_t first, uint8_t* out,
                             size_t blocks) {
  __m512i keys[11];
  for (int r = 0; r < 11; r++)
    keys[r] =
        _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(schedule.round_keys + kBlockBytes * r)));
  const int64_t high = static_cast<int64_t>(domain);
  const auto at = [first](uint64_t i) { return static_cast<int64_t>(first + i); };
  __m512i counter = _mm512_set_epi64(at(3), high, at(2), high, at(1), high, at(0), high);
  while (blocks >= 32) {
    __m512i x[8];
    vaes_blocks<8>(keys, counter, x);
    for (int i = 0; i < 8; i++) _mm512_storeu_si512(out + 64 * i, x[i]);
    out += 512;
    blocks -= 32;
  }
  while (blocks > 0) {
    __m512i x[1];
    vaes_blocks<1>(keys, counter, x);
    if (blocks < 4) {
      _mm512_mask_storeu_epi64(out, static_cast<__mmask8>((1u << (2 * blocks)) - 1), x[0]);
      return;
    }
    _mm512_storeu_si512(out, x[0]);
    out += 64;
    blocks -= 4;
  }
}

// Encrypts N registers of four blocks.
template <int N>
static inline void vaes_encrypt(const __m512i (&keys)[11], __m512i (&x)[N]) {
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) x[i] = _mm512_xor_si512(x[i], keys[0]);
#pragma GCC unroll 9
  for (int r = 1; r < 10; r++)
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) x[i] = _mm512_aesenc_epi128(x[i], keys[r]);
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) x[i] = _mm512_aesenclast_epi128(x[i], keys[10]);
}

// Encrypts `count` blocks of two words each in place.
static inline void encrypt_blocks(const PrfSchedule& schedule, uint64_t* blocks, size_t count) {
  __m512i keys[11];
  for (int r = 0; r < 11; r++)
    keys[r] =
        _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(schedule.round_keys + kBlockBytes * r)));
  for (; count >= 32; count -= 32, blocks += 64) {
    __m512i x[8];
    for (int i = 0; i < 8; i++) x[i] = _mm512_loadu_si512(blocks + 8 * i);
    vaes_encrypt<8>(keys, x);
    for (int i = 0; i < 8; i++) _mm512_storeu_si512(blocks + 8 * i, x[i]);
  }
  while (count > 0) {
    const size_t now = count < 4 ? count : 4;
    const __mmask8 mask = static_cast<__mmask8>((1u << (2 * now)) - 1);
    __m512i x[1] = {_mm512_maskz_loadu_epi64(mask, blocks)};
    vaes_encrypt<1>(keys, x);
    _mm512_mask_storeu_epi64(blocks, mask, x[0]);
    count -= now;
    blocks += 2 * now;
  }
}

#else

// AES-NI on N blocks from index `block`.
template <int N>
static inline void aesni_blocks(const __m128i (&keys)[11], uint64_t domain, uint64_t block, uint8_t* out) {
  __m128i x[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; i++)
    x[i] = _mm_xor_si128(_mm_set_epi64x(static_cast<int64_t>(__builtin_bswap64(block + static_cast<uint64_t>(i))),
                                        static_cast<int64_t>(domain)),
                         keys[0]);
#pragma GCC unroll 9
  for (int r = 1; r < 10; r++)
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) x[i] = _mm_aesenc_si128(x[i], keys[r]);
#pragma GCC unroll 8
  for (int i = 0; i < N; i++)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + kBlockBytes * i), _mm_aesenclast_si128(x[i], keys[10]));
}

// Writes blocks [first, first + blocks).
static inline void keystream(const PrfSchedule& schedule, uint64_t domain, uint64_t first, uint8_t* out,
                             size_t blocks) {
  __m128i keys[11];
  for (int r = 0; r < 11; r++)
    keys[r] = _mm_load_si128(reinterpret_cast<const __m128i*>(schedule.round_keys + kBlockBytes * r));
  const uint64_t high = __builtin_bswap64(domain);
  size_t done = 0;
  for (; done + 8 <= blocks; done += 8) aesni_blocks<8>(keys, high, first + done, out + kBlockBytes * done);
  for (; done < blocks; done++) aesni_blocks<1>(keys, high, first + done, out + kBlockBytes * done);
}

// Encrypts N blocks in place.
template <int N>
static inline void aesni_encrypt(const __m128i (&keys)[11], uint64_t* blocks) {
  __m128i x[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; i++)
    x[i] = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(blocks + 2 * i)), keys[0]);
#pragma GCC unroll 9
  for (int r = 1; r < 10; r++)
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) x[i] = _mm_aesenc_si128(x[i], keys[r]);
#pragma GCC unroll 8
  for (int i = 0; i < N; i++)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(blocks + 2 * i), _mm_aesenclast_si128(x[i], keys[10]));
}

// Encrypts `count` blocks of two words each in place.
static inline void encrypt_blocks(const PrfSchedule& schedule, uint64_t* blocks, size_t count) {
  __m128i keys[11];
  for (int r = 0; r < 11; r++)
    keys[r] = _mm_load_si128(reinterpret_cast<const __m128i*>(schedule.round_keys + kBlockBytes * r));
  for (; count >= 8; count -= 8, blocks += 16) aesni_encrypt<8>(keys, blocks);
  for (; count > 0; count--, blocks += 2) aesni_encrypt<1>(keys, blocks);
}

#endif

}  // namespace MPCB_TARGET
}  // namespace mpcb
