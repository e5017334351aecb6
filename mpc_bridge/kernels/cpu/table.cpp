// Collects this target's kernel bodies.
#include "kernels.h"

namespace mpcb::MPCB_TARGET {

extern const Kernels kernels;
const Kernels kernels = {
    .bits = &bits_kernels,
    .dense = &dense_kernels,
    .depthwise = &depthwise_kernels,
    .prf = &prf_kernels,
    .ring = &ring_kernels,
    .planes = &plane_kernels,
    .macs = &mac_kernels,
    .wide = &wide_kernels,
    .wide_layers = &wide_layer_kernels,
    .wide_linear = &wide_linear_kernels,
    .gf = &gf_kernels,
    .gf_rows = &gf_row_kernels,
    .gf_lift = &gf_lift_kernels,
    .ot = &ot_kernels,
};

}  // namespace mpcb::MPCB_TARGET
