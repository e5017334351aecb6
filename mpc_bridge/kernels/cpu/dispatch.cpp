// Which instruction-set level runs: cpuid once, narrowed by a mask that tests set.
#include <atomic>

#include "kernels.h"

namespace mpcb {

namespace portable {
extern const Kernels kernels;
}
#ifdef MPCB_HAS_avx2
namespace avx2 {
extern const Kernels kernels;
}
#endif
#ifdef MPCB_HAS_avx512
namespace avx512 {
extern const Kernels kernels;
}
#endif

namespace {

uint64_t features() {
  uint64_t features = 0;
#ifdef MPCB_HAS_avx2
  // The builtins also ask the operating system whether it saves the wide registers.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
      __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("aes") &&
      __builtin_cpu_supports("pclmul")) {
    features |= MPCB_CPU_AVX2;
#ifdef MPCB_HAS_avx512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("avx512vbmi") &&
        __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni") &&
        __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq") &&
        __builtin_cpu_supports("gfni") && __builtin_cpu_supports("vaes") && __builtin_cpu_supports("vpclmulqdq"))
      features |= MPCB_CPU_AVX512;
#endif
  }
#endif
  return features;
}

const Kernels* choose([[maybe_unused]] uint64_t levels) {
#ifdef MPCB_HAS_avx512
  if (levels & MPCB_CPU_AVX512) return &avx512::kernels;
#endif
#ifdef MPCB_HAS_avx2
  if (levels & MPCB_CPU_AVX2) return &avx2::kernels;
#endif
  return &portable::kernels;
}

std::atomic<const Kernels*> selected{nullptr};

}  // namespace

const Kernels& active() {
  const Kernels* kernels = selected.load(std::memory_order_acquire);
  if (kernels == nullptr) {
    kernels = choose(features());
    selected.store(kernels, std::memory_order_release);
  }
  return *kernels;
}

}  // namespace mpcb

extern "C" {

uint32_t mpcb_version(void) { return MPCB_ABI_VERSION; }

const char* mpcb_status_text(int status) {
  switch (status) {
    case MPCB_OK:
      return "done";
    case MPCB_NULL_POINTER:
      return "a buffer is missing";
    case MPCB_BAD_SIZE:
      return "a size does not fit the other arguments";
    case MPCB_BAD_ARGUMENT:
      return "an argument is out of its range";
    case MPCB_BAD_GEOMETRY:
      return "the convolution geometry is not valid";
    case MPCB_INDEX_OUT_OF_RANGE:
      return "a gather index is outside the source";
    case MPCB_OUT_OF_MEMORY:
      return "out of memory";
    default:
      return "unknown status";
  }
}

uint64_t mpcb_cpu_features(void) { return mpcb::features(); }

uint64_t mpcb_set_cpu_mask(uint64_t mask) {
  const uint64_t levels = mpcb::features() & mask;
  mpcb::selected.store(mpcb::choose(levels), std::memory_order_release);
  return levels;
}
}
