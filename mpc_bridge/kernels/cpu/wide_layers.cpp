// Linear layers with spare high bits: activations of one limb, weights and results of two.
//
// A public zero point z is subtracted from the result, not from the operand (x - z has one bit more): the weights under
// the valid cells are summed once for each position of the window.
#include <stdlib.h>
#include <string.h>

#include "unfold.h"
#include "wide_limbs.h"

namespace mpcb::MPCB_TARGET {
namespace {

// Packed filters of one term, panel by panel.
struct Filters {
  const uint64_t* words;
  int64_t cells;  // of one filter
  int terms;

  const uint64_t* at(int64_t panel, int t, int64_t cell) const {
    return words + ((panel * terms + t) * cells + cell) * kPanelWords;
  }
};

int64_t panels_of(const mpcb_geometry& g) { return (g.out_channels + kPanel - 1) / kPanel; }

void pack(const mpcb_geometry& g, int terms, bool depthwise, const uint64_t* const* w, unsigned limb,
          uint64_t* packed) {
  const int64_t channels = g.out_channels, cells = taps_of(g) * (depthwise ? 1 : g.in_channels);
  for (int64_t first = 0; first < channels; first += kPanel)
    for (int t = 0; t < terms; t++)
      for (int64_t cell = 0; cell < cells; cell++, packed += kPanelWords)
        for (int64_t c = 0; c < kPanel; c++) {
          const int64_t channel = first + c;
          const int64_t element = depthwise ? cell * channels + channel : channel * cells + cell;
          const Wide weight = channel < channels ? load_wide(w[t] + 2 * element) : 0;
          packed[c] = static_cast<uint64_t>(weight) & limb_mask(limb);
          packed[kPanel + c] = static_cast<uint64_t>(weight >> limb) & limb_mask(limb);
        }
}

bool all_zero(int terms, const int64_t* x_zero) {
  for (int t = 0; t < terms; t++)
    if (x_zero != nullptr && x_zero[t] != 0) return false;
  return true;
}

bool same_taps(const Window& a, const Window& b) {
  return a.rows.first == b.rows.first && a.rows.last == b.rows.last && a.columns.first == b.columns.first &&
         a.columns.last == b.columns.last;
}

// z = - sum over terms and valid cells of x_zero[t] * w_t. False where memory is short.
bool subtract_zeros(const mpcb_geometry& g, const int64_t* x_zero, const Filters& w, unsigned limb, uint64_t* z) {
  const int64_t taps = taps_of(g), channels = g.out_channels, depth = w.cells / taps;
  // [taps][channels] sums under one cell, then [channels] under the window of the current pixel
  uint64_t* const under_cell =
      static_cast<uint64_t*>(malloc(static_cast<size_t>((taps + 1) * channels) * sizeof(Wide)));
  if (under_cell == nullptr) return false;
  uint64_t* const under_window = under_cell + 2 * taps * channels;
  for (int64_t tap = 0; tap < taps; tap++)
    for (int64_t c = 0; c < channels; c++) {
      Wide total = 0;
      for (int t = 0; t < w.terms; t++) {
        const uint64_t* const cells = w.at(c / kPanel, t, tap * depth) + c % kPanel;
        Wide low = 0;
        uint64_t high = 0;
        for (int64_t i = 0; i < depth; i++) {
          low += cells[i * kPanelWords];
          high += cells[i * kPanelWords + kPanel];
        }
        total += join_limbs(low, high, limb) * wide_constant(x_zero[t]);
      }
      store_wide(under_cell + 2 * (tap * channels + c), total);
    }
  Pixels walk(g);
  Window summed;
  for (int64_t pixel = 0; pixel < pixels_of(g); pixel++) {
    const Window window = walk.next();
    if (pixel == 0 || !same_taps(window, summed)) {
      summed = window;
      memset(under_window, 0, static_cast<size_t>(channels) * sizeof(Wide));
      for (int64_t kh = window.rows.first; kh < window.rows.last; kh++)
        for (int64_t kw = window.columns.first; kw < window.columns.last; kw++) {
          const uint64_t* const cell = under_cell + 2 * (kh * g.kernel_width + kw) * channels;
          for (int64_t c = 0; c < 2 * channels; c += 2)
            store_wide(under_window + c, low_limbs(load_wide(under_window + c) - load_wide(cell + c), limb));
        }
    }
    memcpy(z + 2 * pixel * channels, under_window, static_cast<size_t>(channels) * sizeof(Wide));
  }
  free(under_cell);
  return true;
}

// Where the sums of one block go.
struct Target {
  uint64_t* z;
  int64_t stride, columns;  // columns <= kPanel are real, the others pad the last panel
  bool accumulate;
};

// z[r][c] (+)= sum over terms and cells of a_t[r] * w_t[c], one channel at a time. Products with high limbs need no
// carries: their sum waits in one register until the end.
template <int Count>
static inline void scalar_tile(int terms, const Rows* a, int64_t row, const uint64_t* const* w, int64_t depth,
                               unsigned limb, const Target& out) {
  const uint64_t mask = limb_mask(limb);
  for (int64_t c = 0; c < out.columns; c++) {
    Wide low[Count] = {};
    uint64_t high[Count] = {};
    for (int t = 0; t < terms; t++) {
      const uint64_t* const factors = a[t].first + row * a[t].stride;
      const uint64_t* const weights = w[t] + c;
      for (int64_t k = 0; k < depth; k++)
#pragma GCC unroll 2
        for (int r = 0; r < Count; r++) {
          const uint64_t factor = factors[r * a[t].stride + k] & mask;
          low[r] += static_cast<Wide>(factor) * weights[k * kPanelWords];
          high[r] += factor * weights[k * kPanelWords + kPanel];
        }
    }
    for (int r = 0; r < Count; r++) {
      uint64_t* const z = out.z + (row + r) * out.stride + 2 * c;
      store_wide(z, join_limbs(low[r] + (out.accumulate ? load_wide(z) : 0), high[r], limb));
    }
  }
}

void scalar_rows(int terms, const Rows* a, int64_t rows, const uint64_t* const* w, int64_t depth, unsigned limb,
                 const Target& out) {
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2) scalar_tile<2>(terms, a, r, w, depth, limb, out);
  if (r < rows) scalar_tile<1>(terms, a, r, w, depth, limb, out);
}

#ifdef MPCB_TARGET_avx512

template <int Count>
static inline void vector_tile(int terms, const Rows* a, int64_t row, const uint64_t* const* w, int64_t depth,
                               const Target& out) {
  LimbSums sums[Count];
  for (int t = 0; t < terms; t++) {
    const uint64_t* const factors = a[t].first + row * a[t].stride;
    for (int64_t k = 0; k < depth; k++) {
      const __m512i w0 = _mm512_loadu_si512(w[t] + k * kPanelWords);
      const __m512i w1 = _mm512_loadu_si512(w[t] + k * kPanelWords + kPanel);
#pragma GCC unroll 8
      for (int r = 0; r < Count; r++) sums[r].add(broadcast_word(factors[r * a[t].stride + k]), w0, w1);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Count; r++) sums[r].store(out.z + (row + r) * out.stride, out.columns, out.accumulate);
}

void add_rows(int terms, const Rows* a, int64_t rows, const uint64_t* const* w, int64_t depth, unsigned limb,
              const Target& out) {
  if (limb != 52) return scalar_rows(terms, a, rows, w, depth, limb, out);
  int64_t r = 0;
  for (; r + 8 <= rows; r += 8) vector_tile<8>(terms, a, r, w, depth, out);
  for (; r + 4 <= rows; r += 4) vector_tile<4>(terms, a, r, w, depth, out);
  for (; r < rows; r++) vector_tile<1>(terms, a, r, w, depth, out);
}

#else

void add_rows(int terms, const Rows* a, int64_t rows, const uint64_t* const* w, int64_t depth, unsigned limb,
              const Target& out) {
  scalar_rows(terms, a, rows, w, depth, limb, out);
}

#endif

bool conv2d(const mpcb_geometry& g, int terms, const uint64_t* const* x, const int64_t* x_zero, const uint64_t* packed,
            unsigned limb, uint64_t* z) {
  const Filters filters = {packed, taps_of(g) * g.in_channels, terms};
  const bool zeros = !all_zero(terms, x_zero);
  if (zeros && !subtract_zeros(g, x_zero, filters, limb, z)) return false;
  const int64_t stride = 2 * g.out_channels;
  for_each_block(g, terms, x, [&](int64_t pixel, int64_t rows, int64_t start, int64_t depth, const Rows* block) {
    for (int64_t panel = 0; panel < panels_of(g); panel++) {
      const uint64_t* w[kMostTerms];
      for (int t = 0; t < terms; t++) w[t] = filters.at(panel, t, start);
      const int64_t first = panel * kPanel, columns = g.out_channels - first;
      add_rows(terms, block, rows, w, depth, limb,
               {z + pixel * stride + 2 * first, stride, columns < kPanel ? columns : kPanel, zeros || start != 0});
    }
  });
  return true;
}

// One pixel of a depthwise layer: all output channels, one after the other.
void depthwise_pixel(const mpcb_geometry& g, const Window& window, const uint64_t* const* x, const Filters& w,
                     unsigned limb, bool accumulate, uint64_t* z) {
  const int64_t multiplier = g.out_channels / g.in_channels;
  for (int64_t c = 0; c < g.out_channels; c++) {
    Wide low = accumulate ? load_wide(z + 2 * c) : 0;
    uint64_t high = 0;
    for (int t = 0; t < w.terms; t++)
      for (int64_t kh = window.rows.first; kh < window.rows.last; kh++)
        for (int64_t kw = window.columns.first; kw < window.columns.last; kw++) {
          const uint64_t factor = x[t][cell_offset(g, window, kh, kw) + c / multiplier] & limb_mask(limb);
          const uint64_t* const weight = w.at(c / kPanel, t, kh * g.kernel_width + kw) + c % kPanel;
          low += static_cast<Wide>(factor) * weight[0];
          high += factor * weight[kPanel];
        }
    store_wide(z + 2 * c, join_limbs(low, high, limb));
  }
}

#ifdef MPCB_TARGET_avx512

// The same for one filter per input channel, eight channels at a time.
void depthwise_pixel_52(const mpcb_geometry& g, const Window& window, const uint64_t* const* x, const Filters& w,
                        bool accumulate, uint64_t* z) {
  for (int64_t panel = 0; panel < panels_of(g); panel++) {
    const int64_t first = panel * kPanel, left = g.out_channels - first, columns = left < kPanel ? left : kPanel;
    const __mmask8 real = static_cast<__mmask8>((1u << columns) - 1);
    LimbSums sums;
    for (int t = 0; t < w.terms; t++)
      for (int64_t kh = window.rows.first; kh < window.rows.last; kh++)
        for (int64_t kw = window.columns.first; kw < window.columns.last; kw++) {
          const uint64_t* const weights = w.at(panel, t, kh * g.kernel_width + kw);
          sums.add(_mm512_maskz_loadu_epi64(real, x[t] + cell_offset(g, window, kh, kw) + first),
                   _mm512_loadu_si512(weights), _mm512_loadu_si512(weights + kPanel));
        }
    sums.store(z + 2 * first, columns, accumulate);
  }
}

#endif

bool depthwise2d(const mpcb_geometry& g, int terms, const uint64_t* const* x, const int64_t* x_zero,
                 const uint64_t* packed, unsigned limb, uint64_t* z) {
  const Filters filters = {packed, taps_of(g), terms};
  const bool zeros = !all_zero(terms, x_zero);
  if (zeros && !subtract_zeros(g, x_zero, filters, limb, z)) return false;
  Pixels walk(g);
  for (int64_t pixel = 0; pixel < pixels_of(g); pixel++, z += 2 * g.out_channels) {
    const Window window = walk.next();
#ifdef MPCB_TARGET_avx512
    // sums of that many products do not overflow
    if (limb == 52 && g.in_channels == g.out_channels && terms * taps_of(g) <= 2048) {
      depthwise_pixel_52(g, window, x, filters, zeros, z);
      continue;
    }
#endif
    depthwise_pixel(g, window, x, filters, limb, zeros, z);
  }
  return true;
}

}  // namespace

const WideLayerKernels wide_layer_kernels = {.pack = pack, .conv2d = conv2d, .depthwise2d = depthwise2d};

}  // namespace mpcb::MPCB_TARGET
