// Depthwise 2-D convolution: channels are independent, so sums of a few channels stay in registers over all terms and
// taps.
#include <cstring>

#include "kernels.h"
#include "window.h"

namespace mpcb::MPCB_TARGET {
namespace {

// One register of channels.
#if defined(MPCB_TARGET_avx512)
constexpr int kVector = 8;
#elif defined(MPCB_TARGET_avx2)
constexpr int kVector = 4;
#else
constexpr int kVector = 2;
#endif
typedef uint64_t Vector __attribute__((vector_size(8 * kVector)));

static inline Vector load(const uint64_t* from) {
  Vector v;
  memcpy(&v, from, sizeof v);
  return v;
}

// Which input channel an output channel reads: its own, the only one, or one of several that are each read `multiplier`
// times.
struct Own {
  uint64_t one(const uint64_t* cell, int64_t channel) const { return cell[channel]; }
  Vector vector(const uint64_t* cell, int64_t channel) const { return load(cell + channel); }
};
struct Only {
  uint64_t one(const uint64_t* cell, int64_t) const { return cell[0]; }
  Vector vector(const uint64_t* cell, int64_t) const { return cell[0] - Vector{}; }
};
struct Shared {
  int64_t multiplier;
  uint64_t one(const uint64_t* cell, int64_t channel) const { return cell[channel / multiplier]; }
  Vector vector(const uint64_t* cell, int64_t channel) const {
    Vector v;
    for (int i = 0; i < kVector; i++) v[i] = cell[(channel + i) / multiplier];
    return v;
  }
};

// Calls tap(t, cell, filter) for every term and valid tap; cell and filter are at channel 0.
template <class Tap>
static inline void for_each_tap(const mpcb_geometry& g, int terms, const uint64_t* const* x, const uint64_t* const* w,
                                const Window& window, Tap tap) {
  const int64_t row_step = g.dilation_height * g.in_width * g.in_channels,
                column_step = g.dilation_width * g.in_channels;
  for (int t = 0; t < terms; t++)
    for (int64_t kh = window.rows.first; kh < window.rows.last; kh++) {
      int64_t cell = window.origin + kh * row_step + window.columns.first * column_step;
      int64_t filter = (kh * g.kernel_width + window.columns.first) * g.out_channels;
      for (int64_t kw = window.columns.first; kw < window.columns.last; kw++) {
        tap(t, x[t] + cell, w[t] + filter);
        cell += column_step;
        filter += g.out_channels;
      }
    }
}

template <class Reads>
void depthwise(const mpcb_geometry& g, int terms, const uint64_t* const* x, const uint64_t* x_zero,
               const uint64_t* const* w, Reads reads, uint64_t* z) {
  static const uint64_t no_zeros[kMostTerms] = {};
  const uint64_t* zero = x_zero == nullptr ? no_zeros : x_zero;
  Pixels remaining(g);
  for (int64_t pixel = g.batch * g.out_height * g.out_width; pixel != 0; pixel--, z += g.out_channels) {
    const Window window = remaining.next();
    int64_t c = 0;
    for (; c + 4 * kVector <= g.out_channels; c += 4 * kVector) {
      Vector sum[4] = {};
      for_each_tap(g, terms, x, w, window, [&](int t, const uint64_t* cell, const uint64_t* filter) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
          sum[i] += (reads.vector(cell, c + kVector * i) - zero[t]) * load(filter + c + kVector * i);
      });
      memcpy(z + c, sum, sizeof sum);
    }
    for (; c + kVector <= g.out_channels; c += kVector) {
      Vector sum{};
      for_each_tap(g, terms, x, w, window, [&](int t, const uint64_t* cell, const uint64_t* filter) {
        sum += (reads.vector(cell, c) - zero[t]) * load(filter + c);
      });
      memcpy(z + c, &sum, sizeof sum);
    }
    for (; c < g.out_channels; c++) {
      uint64_t sum = 0;
      for_each_tap(g, terms, x, w, window, [&](int t, const uint64_t* cell, const uint64_t* filter) {
        sum += (reads.one(cell, c) - zero[t]) * filter[c];
      });
      z[c] = sum;
    }
  }
}

void depthwise2d(const mpcb_geometry& g, int terms, const uint64_t* const* x, const uint64_t* x_zero,
                 const uint64_t* const* w, uint64_t* z) {
  const int64_t multiplier = g.out_channels / g.in_channels;
  if (multiplier == 1) {
    depthwise(g, terms, x, x_zero, w, Own{}, z);
  } else if (g.in_channels == 1) {
    depthwise(g, terms, x, x_zero, w, Only{}, z);
  } else {
    depthwise(g, terms, x, x_zero, w, Shared{multiplier}, z);
  }
}

}  // namespace

const DepthwiseKernels depthwise_kernels = {.depthwise2d = depthwise2d};

}  // namespace mpcb::MPCB_TARGET
