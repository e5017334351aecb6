"""Which elements of a linear layer's operands meet: the same view of dense and depthwise layers.

Every output channel o has ``rows`` factors (its weights) and ``positions`` outputs; factor k of channel o multiplies
``columns(o)[k]``, one element of the other operand per output, or zero where the window leaves the image.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mpc_bridge.kernels import Device
from mpc_bridge.kernels.buffers import RingArray
from mpc_bridge.lowering.program import Linear


class Layout:
    """One linear step.

    Attributes:
        channels: output channels.
        rows: factors per channel.
        positions: outputs per channel.
    """

    def __init__(self, step: Linear) -> None:
        g = step.geometry
        self._depthwise = step.depthwise
        self._multiplier = g.out_channels // g.in_channels if step.depthwise else 0
        self.channels = g.out_channels
        self.rows = g.kernel[0] * g.kernel[1] * (1 if step.depthwise else g.in_channels)
        self.positions = g.batch * g.out_height * g.out_width
        self._cells = self._window_cells(step)
        self._channels_in = g.in_channels

    @staticmethod
    def _window_cells(step: Linear) -> npt.NDArray[np.int64]:
        """Cell of the images by place of the window and output: ``[kh * kw, positions]``; -1 outside."""
        g = step.geometry
        vertical = (np.arange(g.out_height) * g.stride[0] - g.pad_top)[None, :] + (
            np.arange(g.kernel[0]) * g.dilation[0])[:, None]
        horizontal = (np.arange(g.out_width) * g.stride[1] - g.pad_left)[None, :] + (
            np.arange(g.kernel[1]) * g.dilation[1])[:, None]
        inside = ((vertical >= 0) & (vertical < g.in_height))[:, None, :, None] & (
            (horizontal >= 0) & (horizontal < g.in_width))[None, :, None, :]
        cells = np.where(inside, vertical[:, None, :, None] * g.in_width + horizontal[None, :, None, :], -1)
        cells = cells.reshape(g.kernel[0] * g.kernel[1], 1, g.out_height * g.out_width)
        images = np.arange(g.batch).reshape(1, -1, 1) * (g.in_height * g.in_width)
        return np.where(cells < 0, -1, cells + images).reshape(len(cells), -1)

    def index(self, channel: int) -> npt.NDArray[np.int64]:
        """``[rows, positions]``: elements of the operand that the channel's factors multiply; -1 is zero."""
        if self._depthwise:
            inputs = np.array([channel // self._multiplier])
        else:
            inputs = np.arange(self._channels_in)
        elements = np.where(self._cells[:, None] < 0, -1, self._cells[:, None] * self._channels_in + inputs[:, None])
        return np.ascontiguousarray(elements.reshape(self.rows, self.positions), np.int64)

    def columns(self, device: Device, operand: RingArray, channel: int) -> RingArray:
        """``[rows, positions]`` of the operand's elements for one channel."""
        return device.gather_u64(operand, self.index(channel))

    @property
    def shared_columns(self) -> bool:
        """Whether all channels have the same columns."""
        return not self._depthwise

    def factors(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """The step's second operand, flat, as ``[channels, rows]``."""
        if self._depthwise:
            return np.ascontiguousarray(values.reshape(self.rows, self.channels).T)
        return values.reshape(self.channels, self.rows)

    def outputs(self, sums: RingArray) -> RingArray:
        """``[channels, positions]`` as the step's flat NHWC result."""
        return np.ascontiguousarray(sums.T).reshape(-1)
