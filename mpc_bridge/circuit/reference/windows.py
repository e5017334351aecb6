"""Sliding windows over NHWC images, for convolutions and pools alike."""

from __future__ import annotations

import numpy as np

from mpc_bridge.circuit.reference.operands import Array

Padding = tuple[tuple[int, int], tuple[int, int]]


def padded(image: Array, padding: Padding, fill: int) -> Array:
    """``image`` ([N, H, W, C]) with ``fill`` around its rows and columns."""
    if padding == ((0, 0), (0, 0)):
        return image
    return np.pad(image, ((0, 0), *padding, (0, 0)), constant_values=fill)


def windows(image: Array, window: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> Array:
    """A view [N, rows, columns, C, window rows, window columns] of every window that lies inside ``image``."""
    extent = tuple((cells - 1) * step + 1 for cells, step in zip(window, dilation, strict=True))
    view: Array = np.lib.stride_tricks.sliding_window_view(image, extent, axis=(1, 2))
    return view[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
