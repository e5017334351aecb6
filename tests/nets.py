"""Small circuits of several ops, built a line at a time; weights are random, scales have no structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit import Circuit, Op, Quantization, Tensor, verify
from mpc_bridge.circuit.graph import INTEGER_RANGES, Attribute

Pair = tuple[int, int]


class Net:
    """Tensors are indices; every method that adds an op returns its output's index.

    Args:
        dtype: ``"int8"`` or ``"uint8"``, of all activations.
    """

    def __init__(self, dtype: str = "int8", seed: int = 0) -> None:
        self.dtype = dtype
        self.low, self.high = INTEGER_RANGES[dtype]
        self.rng = np.random.default_rng(seed)
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.inputs: list[int] = []
        self.constants: dict[int, npt.NDArray[Any]] = {}

    def tensor(self, shape: tuple[int, ...], scale: float, zero: int, dtype: str | None = None) -> int:
        quantization = None if dtype == "float32" else Quantization((float(np.float32(scale)),), (zero,))
        self.tensors.append(Tensor(f"t{len(self.tensors)}", shape, dtype or self.dtype, quantization))
        return len(self.tensors) - 1

    def input(self, shape: tuple[int, ...], scale: float = 0.031, zero: int = 3, dtype: str | None = None) -> int:
        self.inputs.append(self.tensor(shape, scale, zero, dtype))
        return self.inputs[-1]

    def constant(self, array: npt.NDArray[Any], scale: float, zero: int) -> int:
        index = self.tensor(array.shape, scale, zero, str(array.dtype))
        self.constants[index] = array
        return index

    def op(self, kind: str, inputs: tuple[int, ...], output: int, **attributes: Attribute) -> int:
        self.ops.append(Op(kind, f"{kind.lower()}{len(self.ops)}", inputs, (output,), attributes))
        return output

    def weights(self, *shape: int) -> int:
        low = -127 if self.dtype == "int8" else 0
        zero = 0 if self.dtype == "int8" else 121
        return self.constant(self.rng.integers(low, self.high + 1, shape).astype(self.dtype), 0.0071, zero)

    def bias(self, channels: int, spread: int = 20000) -> int:
        return self.constant(self.rng.integers(-spread, spread, channels).astype(np.int32), 1.0, 0)

    def conv(self, x: int, channels: int, *, kernel: int = 3, zero: int = 5, low: int | None = None,
             high: int | None = None, bias: int | None = None, weights: int | None = None) -> int:
        """Same padding, stride 1; the multiplier spreads random accumulators over the output's range."""
        batch, height, width, depth = self.tensors[x].shape
        chosen = self.weights(channels, kernel, kernel, depth) if weights is None else weights
        output = self.tensor((batch, height, width, channels), 0.05, zero)
        multiplier = 0.9 / (74 * 73 * (kernel * kernel * depth) ** 0.5) * 90
        margin = (kernel - 1) // 2
        return self.op(
            "CONV_2D", (x, chosen, self.bias(channels) if bias is None else bias), output,
            stride=(1, 1), dilation=(1, 1),
            padding=((margin, margin), (margin, margin)), requantization=self._rule(multiplier, low, high),
        )

    def dense(self, x: int, channels: int) -> int:
        batch, depth = self.tensors[x].shape
        output = self.tensor((batch, channels), 0.05, -7 if self.dtype == "int8" else 120)
        multiplier = 0.9 / (74 * 73 * depth**0.5) * 90
        return self.op("FULLY_CONNECTED", (x, self.weights(channels, depth), self.bias(channels)), output,
                       keep_num_dims=False, requantization=self._rule(multiplier, None, None, "float64_half_away"))

    def add(self, x: int, y: int, zero: int = 5, scale: float = 0.0673) -> int:
        first, second = (self._scale(tensor) for tensor in (x, y))
        shape = np.broadcast_shapes(self.tensors[x].shape, self.tensors[y].shape)
        output = self.tensor(shape, scale, zero)
        twice = 2 * max(first, second)
        return self.op("ADD", (x, y), output, left_shift=20, input_multipliers=(first / twice, second / twice),
                       requantization=self._rule(twice / (2**20 * self._scale(output)), None, None))

    def relu(self, x: int, scale: float = 0.04) -> int:
        output = self.tensor(self.tensors[x].shape, scale, self.low + 9)
        multiplier = float(np.float32(self._scale(x) / self._scale(output)))
        return self.op("RELU", (x,), output, requantization=self._rule(multiplier, self.low + 9, None))

    def pad(self, x: int, paddings: tuple[Pair, ...]) -> int:
        shape = tuple(a + b + c for (a, c), b in zip(paddings, self.tensors[x].shape, strict=True))
        return self.op("PAD", (x,), self.like(x, shape), paddings=paddings)

    def concat(self, xs: tuple[int, ...], axis: int) -> int:
        shape = list(self.tensors[xs[0]].shape)
        shape[axis] = sum(self.tensors[x].shape[axis] for x in xs)
        return self.op("CONCATENATION", xs, self.like(xs[0], tuple(shape)), axis=axis)

    def max_pool(self, x: int, bounds: Pair | None = None) -> int:
        batch, height, width, channels = self.tensors[x].shape
        return self.op("MAX_POOL_2D", (x,), self.like(x, (batch, height // 2, width // 2, channels)), window=(2, 2),
                       stride=(2, 2), padding=((0, 0), (0, 0)), bounds=bounds or (self.low, self.high))

    def average_pool(self, x: int, padding: int) -> int:
        batch, height, width, channels = self.tensors[x].shape
        shape = (batch, height + 2 * padding - 2, width + 2 * padding - 2, channels)
        return self.op("AVERAGE_POOL_2D", (x,), self.like(x, shape), window=(3, 3), stride=(1, 1),
                       padding=((padding, padding), (padding, padding)), bounds=(self.low, self.high))

    def reshape(self, x: int, shape: tuple[int, ...]) -> int:
        return self.op("RESHAPE", (x,), self.like(x, shape))

    def softmax(self, x: int) -> int:
        return self.op("SOFTMAX", (x,), self.tensor(self.tensors[x].shape, 1 / 256, self.low), beta=1.0)

    def dequantize(self, x: int) -> int:
        return self.op("DEQUANTIZE", (x,), self.tensor(self.tensors[x].shape, 0, 0, "float32"))

    def quantize(self, x: int, scale: float, zero: int, dtype: str | None = None) -> int:
        output = self.tensor(self.tensors[x].shape, scale, zero, dtype)
        low, high = INTEGER_RANGES[self.tensors[output].dtype]
        if self.tensors[x].dtype == "float32":
            rule: Attribute = ("float32_divide", (self._scale(output),), low, high)
        else:
            rule = ("mbqm", (self._scale(x) / self._scale(output),), low, high)
        return self.op("QUANTIZE", (x,), output, requantization=rule)

    def like(self, x: int, shape: tuple[int, ...]) -> int:
        """A tensor quantized as x is."""
        quantization = self.tensors[x].quantization
        assert quantization is not None
        return self.tensor(shape, quantization.scale[0], quantization.zero_point[0], self.tensors[x].dtype)

    def circuit(self, *outputs: int) -> Circuit:
        circuit = Circuit(
            name="net", source="tflite", profile="litert", tensors=tuple(self.tensors), ops=tuple(self.ops),
            inputs=tuple(self.inputs), outputs=outputs, constants=dict(self.constants),
            constant_tensors=tuple(self.constants),
        )
        verify(circuit)
        return circuit

    def sample(self, seed: int) -> list[npt.NDArray[Any]]:
        """One random input per model input."""
        rng = np.random.default_rng(seed)
        arrays: list[npt.NDArray[Any]] = []
        for index in self.inputs:
            tensor = self.tensors[index]
            if tensor.dtype == "float32":
                arrays.append(rng.normal(0, 3, tensor.shape).astype(np.float32))
            else:
                low, high = INTEGER_RANGES[tensor.dtype]
                arrays.append(rng.integers(low, high + 1, tensor.shape).astype(tensor.dtype))
        return arrays

    def _scale(self, tensor: int) -> float:
        quantization = self.tensors[tensor].quantization
        assert quantization is not None
        return quantization.scale[0]

    def _rule(self, multiplier: float, low: int | None, high: int | None, rule: str = "mbqm") -> Attribute:
        return (rule, (multiplier,), self.low if low is None else low, self.high if high is None else high)
