// What all native tests share: reproducible data, and a comparison of every CPU level with the portable one.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "mpcb.h"

namespace native {

using Words = std::vector<uint64_t>;
using Bytes = std::vector<uint8_t>;

// SplitMix64: reproducible test data, nothing secret.
inline uint64_t next() {
  static uint64_t state = 1;
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

inline Words words(size_t n) {
  Words v(n);
  for (uint64_t& w : v) w = next();
  v.shrink_to_fit();
  return v;
}

inline Bytes bytes(size_t n) {
  Bytes v(n);
  for (uint8_t& b : v) b = static_cast<uint8_t>(next());
  v.shrink_to_fit();
  return v;
}

[[noreturn]] inline void fail(const std::string& what) {
  fprintf(stderr, "%s\n", what.c_str());
  exit(1);
}

inline void expect(int status, int wanted, const char* call) {
  if (status != wanted) fail(std::string(call) + ": " + mpcb_status_text(status));
}
#define OK(call) expect(call, MPCB_OK, #call)
#define REFUSED(call, status) expect(call, status, #call)

// memcpy and memcmp for buffers that may be empty (an empty vector's data may be null).
inline void copy(void* to, const void* from, size_t n) {
  if (n != 0) memcpy(to, from, n);
}
inline bool differ(const void* a, const void* b, size_t n) { return n != 0 && memcmp(a, b, n) != 0; }

// Calls run(out) at each level on equal copies of `out`, and compares.
template <class T, class Run>
void same_at_every_level(const char* name, size_t n, const std::vector<T>& out, Run run) {
  mpcb_set_cpu_mask(0);
  std::vector<T> portable = out;
  run(portable.data());
  for (const uint64_t level : {uint64_t{MPCB_CPU_AVX2}, uint64_t{MPCB_CPU_AVX2 | MPCB_CPU_AVX512}}) {
    if (mpcb_set_cpu_mask(level) != level) continue;
    std::vector<T> variant = out;
    run(variant.data());
    if (differ(portable.data(), variant.data(), n * sizeof(T)))
      fail(std::string(name) + " differs from portable at level " + std::to_string(level) +
           ", n = " + std::to_string(n));
  }
}

inline constexpr size_t kLengths[] = {0, 1, 2, 3, 7, 8, 9, 31, 33, 63, 64, 65, 127, 129, 511, 512, 513, 1025, 1031};

// In files of their own: arithmetic modulo 2^128, and over GF(2^64).
void test_wide();
void test_field();
void test_transfer();

}  // namespace native
