"""RESIZE_BILINEAR in integers.

Source: ``tensorflow/lite/kernels/internal/reference/resize_bilinear.h`` (ResizeBilinearInteger).
"""

from __future__ import annotations

import numpy as np

from mpc_bridge.circuit.interpolation import ONE, mixture
from mpc_bridge.circuit.reference.operands import Array, Operands


def resize_bilinear(operands: Operands) -> Array:
    """Four raw integers in proportions that sum to ``2**20``, over ``2**20``, rounded half away from zero.

    Rows and columns are mixed one after the other, without rounding between them: the same sum.
    """
    mixed = operands.array(0).astype(np.int64)
    corners, centers = (bool(operands.op.attributes[name]) for name in ("align_corners", "half_pixel_centers"))
    for axis in (1, 2):
        cells = mixture(mixed.shape[axis], operands.output.shape[axis], corners, centers)
        share = cells.share.reshape((-1, 1, 1) if axis == 1 else (-1, 1))
        mixed = (ONE - share) * mixed.take(cells.lower, axis=axis) + share * mixed.take(cells.upper, axis=axis)
    whole = ONE**2
    return np.asarray(np.sign(mixed) * ((np.abs(mixed) + whole // 2) // whole))
