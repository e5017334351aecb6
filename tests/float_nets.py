"""Small circuits as importers of float-scaled frameworks write them: types mix, products meet at product scale."""

from __future__ import annotations

import math

import numpy as np

from mpc_bridge.circuit import Quantization, Tensor
from mpc_bridge.circuit.graph import INTEGER_RANGES, Attribute
from tests.nets import Net, Pair


class FloatNet(Net):
    """A :class:`~tests.nets.Net` with the kinds and rules of PyTorch and ONNX models; random quantization."""

    def activation(self, shape: tuple[int, ...], dtype: str | None = None) -> int:
        """An op's output, quantized at random."""
        dtype = dtype or str(self.rng.choice(["int8", "uint8"]))
        low, high = INTEGER_RANGES[dtype]
        return self.tensor(shape, float(self.rng.uniform(0.01, 0.1)), int(self.rng.integers(low, high + 1)), dtype)

    def bounds(self, tensor: int) -> Pair:
        """The type's bounds; now and then a relu's."""
        low, high = INTEGER_RANGES[self.tensors[tensor].dtype]
        quantization = self.tensors[tensor].quantization
        assert quantization is not None
        return (quantization.zero_point[0], high) if self.rng.random() < 0.4 else (low, high)

    def matrix(self, shape: tuple[int, ...], axis: int) -> int:
        """int8 or uint8 weights, per tensor or per channel, with zero points now and then."""
        dtype = str(self.rng.choice(["int8", "int8", "uint8"]))
        low, high = INTEGER_RANGES[dtype]
        count = shape[axis] if self.rng.random() < 0.5 else 1
        centred = self.rng.random() < 0.6
        zeros = [0] * count if centred else self.rng.integers(low // 4 + high // 4, high // 2 + 1, count)
        scales = np.float32(self.rng.uniform(0.001, 0.02, count))
        index = self.constant(self.rng.integers(low, high + 1, shape).astype(dtype), 1.0, 0)
        self.tensors[index] = Tensor(
            f"w{index}", shape, dtype,
            Quantization(tuple(map(float, scales)), tuple(map(int, zeros)), axis if count > 1 else None))
        return index

    def plain(self, shape: tuple[int, ...]) -> int:
        """A bare accumulator."""
        self.tensors.append(Tensor(f"t{len(self.tensors)}", shape, "int32"))
        return len(self.tensors) - 1

    def vector(self, values: object, dtype: str) -> int:
        """A bias."""
        array = np.asarray(values, dtype)
        self.tensors.append(Tensor(f"b{len(self.tensors)}", array.shape, dtype))
        self.constants[len(self.tensors) - 1] = array
        return len(self.tensors) - 1

    def convolved(self, x: int, channels: int, *, rule: str, kernel: int = 3, depthwise: bool = False,
                  groups: int = 1, multipliers: tuple[float, ...] | None = None, biased: bool = True) -> int:
        """Same padding, stride 1; ``multipliers`` for the rule "half_even"."""
        batch, height, width, depth = self.tensors[x].shape
        if depthwise:
            weights, fan_in = self.matrix((1, kernel, kernel, depth), 3), kernel**2
            channels = depth
        else:
            weights, fan_in = self.matrix((channels, kernel, kernel, depth // groups), 0), kernel**2 * depth // groups
        margin = (kernel - 1) // 2
        attributes: dict[str, Attribute] = {
            "stride": (1, 1), "dilation": (1, 1), "padding": ((margin, margin), (margin, margin))}
        if depthwise:
            attributes["depth_multiplier"] = 1
        kind, shape = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", (batch, height, width, channels)
        if rule == "none":
            return self.op(kind, (x, weights), self.plain(shape), **attributes, requantization=("none", (), 0, 0))
        output = self.activation(shape)
        if multipliers is None:
            count = channels if self.rng.random() < 0.5 else 1
            spread = self.rng.uniform(0.3, 2, count) / (70 * 70 * fan_in**0.5) * 60
            multipliers = tuple(map(float, np.float32(spread)))
        bias = self.vector(self.rng.integers(-20000, 20000, channels), "int32") if biased else -1
        return self.op(kind, (x, weights, bias), output, **attributes,
                       requantization=("half_even", multipliers, *self.bounds(output)))

    def rescale(self, terms: tuple[int, ...], multipliers: tuple[tuple[int, ...], ...], shift: int, *,
                bias: object | None = None, output: int | None = None) -> int:
        """A RESCALE to an activation, or to ``output``."""
        shape = np.broadcast_shapes(*(self.tensors[term].shape for term in terms))
        output = self.activation(shape) if output is None else output
        low, high = (0, 0) if self.tensors[output].dtype == "int64" else self.bounds(output)
        stored = -1 if bias is None else self.vector(bias, "int64")
        return self.op("RESCALE", (*terms, stored), output, multipliers=multipliers, shift=shift, low=low, high=high)

    def linear_rescale(self, x: int, channels: int, *, extra: tuple[int, ...] = (), **options: bool | int) -> int:
        """As importers write a convolution with a float bias: 31-bit multipliers, one shift, bias at product scale."""
        acc = self.convolved(x, channels, rule="none", **options)  # type: ignore[arg-type]
        channels = self.tensors[acc].shape[-1]
        weights = self.tensors[self.ops[-1].inputs[1]].shape
        fan_in = math.prod(weights) // channels
        real = self.rng.uniform(0.3, 2, channels) / (70 * 70 * fan_in**0.5) * 60
        shift = 30 - math.frexp(float(max(real)))[1]
        scaled = tuple(round(m * 2.0**shift) for m in real)
        terms = [scaled] + [(round(float(self.rng.uniform(-0.9, 0.9)) * 2**30),) for _ in extra]
        bias = np.floor(self.rng.normal(0, 60, channels) * 2.0**shift).astype(np.int64)
        return self.rescale((acc, *extra), tuple(terms), shift, bias=bias)

    def sums(self, shape: tuple[int, ...], scales: int) -> int:
        """An int64 tensor with one scale, or one per channel."""
        quantization = Quantization(
            tuple(map(float, np.float32(self.rng.uniform(0.001, 0.01, scales)))), (0,) * scales,
            len(shape) - 1 if scales > 1 else None)
        self.tensors.append(Tensor(f"t{len(self.tensors)}", shape, "int64", quantization))
        return len(self.tensors) - 1

    def floats(self, kind: str, x: int, shape: tuple[int, ...] | None = None, **attributes: Attribute) -> int:
        """One of the receiver's ops."""
        output = self.tensor(self.tensors[x].shape if shape is None else shape, 0, 0, "float32")
        return self.op(kind, (x,), output, **attributes)
