"""Reads TorchScript files of FX and eager quantized models, with torch: loading one runs what the file says.

The model is run once on zeros, and every operator that torch dispatches is written down with its arguments: control
flow and submodules are gone, shapes, scales and zero points are known. Operators on quantized tensors are put down as
dequantize, the float operator, quantize: the form of a ``.pt2`` file.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any, NoReturn

from mpc_bridge.errors import ModelFormatError, UnsupportedModelError, UsageError
from mpc_bridge.importers.base import printable
from mpc_bridge.importers.pytorch.calls import MAX_ELEMENTS, MAX_RANK, Argument, Call, Meta, Program, Ref

_INTEGERS = {"quint8": ("uint8", 0, 255), "qint8": ("int8", -128, 127)}

#: Operators of quantized tensors under other names than their float versions. Arguments that only choose the output's
#: scale, or whether memory is reused, are dropped.
_FLOAT = {
    "quantized.add.default": ("aten.add.Tensor", {"qa": "self", "qb": "other"}),
    "quantized.mul.default": ("aten.mul.Tensor", {"qa": "self", "qb": "other"}),
    "quantized.add_scalar.default": ("aten.add.Scalar", {"qa": "self", "b": "other"}),
    "quantized.mul_scalar.default": ("aten.mul.Scalar", {"qa": "self", "b": "other"}),
    "quantized.add.Scalar": ("aten.add.Scalar", {"qa": "self", "b": "other"}),
    "quantized.mul.Scalar": ("aten.mul.Scalar", {"qa": "self", "b": "other"}),
    "quantized.cat.default": ("aten.cat.default", {"qx": "tensors", "dim": "dim"}),
    "quantized.hardswish.default": ("aten.hardswish.default", {"input": "self"}),
    "quantized.sigmoid.default": ("aten.sigmoid.default", {"qx": "self"}),
    "quantized.leaky_relu.default": ("aten.leaky_relu.default", {"qx": "self", "negative_slope": "negative_slope"}),
    "quantized.elu.default": ("aten.elu.default", {"self": "self", "alpha": "alpha", "scale": "scale",
                                                   "input_scale": "input_scale"}),
    "quantized.prelu.default": ("aten.prelu.default", {"qx": "self", "weight": "weight"}),
    "quantized.relu6.default": ("aten.relu6.default", {"qx": "self"}),
    "quantized.softmax.default": ("aten.softmax.int", {"qx": "self", "dim": "dim"}),
    "quantized.matmul.default": ("aten.matmul.default", {"qa": "self", "qb": "other"}),
    "quantized.batch_norm2d.default": ("aten.batch_norm.default", {
        "qx": "input", "weight": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var", "eps": "eps"}),
    "aten.quantized_max_pool1d.default": ("aten.max_pool1d.default", {
        name: name for name in ("self", "kernel_size", "stride", "padding", "dilation", "ceil_mode")}),
    "aten.quantized_max_pool2d.default": ("aten.max_pool2d.default", {
        name: name for name in ("self", "kernel_size", "stride", "padding", "dilation", "ceil_mode")}),
}
_FLOAT["quantized.batch_norm1d.default"] = _FLOAT["quantized.batch_norm2d.default"]
_FLOAT["quantized.batch_norm.default"] = _FLOAT["quantized.batch_norm2d.default"]
#: Those with a ReLU after the operator, before the output is quantized.
_FUSED = {name.replace(".default", "_relu.default"): name for name in (
    "quantized.add.default", "quantized.mul.default", "quantized.cat.default", "quantized.batch_norm2d.default",
    "quantized.batch_norm1d.default", "quantized.batch_norm.default", "quantized.conv1d.default",
    "quantized.conv2d.default", "quantized.linear.default", "quantized.add_scalar.default",
    "quantized.mul_scalar.default")} | {"quantized.conv2d_relu.new": "quantized.conv2d.new",
                                        "quantized.add_relu.Scalar": "quantized.add.Scalar",
                                        "quantized.mul_relu.Scalar": "quantized.mul.Scalar"}
_LAYERS = frozenset({"quantized.conv1d.default", "quantized.conv2d.default", "quantized.conv2d.new",
                     "quantized.conv_transpose1d.default", "quantized.conv_transpose2d.default",
                     "quantized.linear.default"})


def engine_profile() -> str:
    """The profile of the engine that torch quantizes with in this process.

    Raises:
        UsageError: torch is not installed.
    """
    return "qnnpack" if _torch().backends.quantized.engine == "qnnpack" else "pytorch"


def read_trusted(data: bytes, source: str, profile: str, input_shapes: Sequence[tuple[int, ...]]) -> Program:
    """The calls that a TorchScript model makes. Runs what the file says.

    Args:
        data: the whole file.
        source: its name, for people.
        profile: ``"qnnpack"``: weights are unpacked by that engine, else by torch's own choice.
        input_shapes: of every input, batch included.

    Raises:
        UsageError: torch is not installed, or the shapes do not fit the model.
        ModelFormatError: torch cannot load the file.
        UnsupportedModelError: what the model does is not a static list of operators.
    """
    torch = _torch()
    for shape in input_shapes:
        if not 0 < len(shape) <= MAX_RANK or min(shape) < 1 or math.prod(shape) > MAX_ELEMENTS:
            raise UsageError("an input shape is out of range", where=f"--input-shape {_shown(shape)}",
                             hint="batch first, as in 1x3x224x224")
    if not input_shapes:
        raise UsageError("a TorchScript file does not hold the shape of its inputs", where=source,
                         hint="give it, batch first: --input-shape 1x3x224x224 (input_shapes=[(1, 3, 224, 224)])")
    engine = torch.backends.quantized.engine
    try:
        if profile == "qnnpack":
            torch.backends.quantized.engine = "qnnpack"
        return _trace(torch, data, source, input_shapes)
    finally:
        torch.backends.quantized.engine = engine


def _torch() -> Any:
    try:
        import torch
        import torch.utils._python_dispatch  # noqa: F401
    except ImportError:
        raise UsageError("reading TorchScript needs torch", where="--trust",
                         hint="pip install 'mpc-bridge[torch]'") from None
    return torch


def _shown(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return printable(lines[-1] if lines else "", "no reason given")


def _trace(torch: Any, data: bytes, source: str, input_shapes: Sequence[tuple[int, ...]]) -> Program:
    try:
        module = torch.jit.load(io.BytesIO(data), map_location="cpu")
    except Exception as error:  # the file's own code runs here
        raise ModelFormatError("torch cannot load this TorchScript file", where=source,
                               hint=_last_line(error)) from error
    module.eval()
    recorder = _Recorder(torch, source)
    inputs = [torch.zeros(shape) for shape in input_shapes]
    names = tuple(recorder.name(tensor, f"input{index}") for index, tensor in enumerate(inputs))

    class Listener(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            before = recorder.arguments(func, args, kwargs or {})
            result = func(*args, **(kwargs or {}))
            recorder.record(str(func), before, result)
            return result

    try:
        with torch.no_grad(), torch.jit.optimized_execution(False), Listener():
            result = module(*inputs)
    except UnsupportedModelError:
        raise
    except Exception as error:  # the model's own code
        if recorder.refused is not None:
            raise recorder.refused from None
        shapes = " ".join(map(_shown, input_shapes))
        raise UsageError("the model does not run on inputs of these shapes", where=f"{source}\n--input-shape {shapes}",
                         hint=_last_line(error)) from error
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    outputs = tuple(recorder.known(tensor) for tensor in results)
    return Program(source, names, outputs, tuple(recorder.calls), recorder.metas, recorder.constants)


class _Recorder:
    """Writes down what torch dispatches."""

    def __init__(self, torch: Any, source: str) -> None:
        self.torch = torch
        self.source = source
        self.calls: list[Call] = []
        self.metas: dict[str, Meta] = {}
        self.constants: dict[str, Any] = {}
        self.names: dict[int, str] = {}
        self.floats: dict[str, str] = {}
        self.alive: list[Any] = []  # an id stays a tensor's own as long as the tensor lives
        self.stale: set[int] = set()
        self.refused: UnsupportedModelError | None = None

    def refuse(self, what: str) -> NoReturn:
        """Stop: this model is not a static list of operators."""
        self.refused = UnsupportedModelError(what, where=self.source,
                                             hint="export the model with torch.export, quantized by torchao's pt2e")
        raise self.refused

    def name(self, tensor: Any, wanted: str) -> str:
        """Name a tensor that depends on the input."""
        self.names[id(tensor)] = wanted
        self.alive.append(tensor)
        dtype = str(tensor.dtype).removeprefix("torch.")
        self.metas[wanted] = Meta(tuple(tensor.shape), _INTEGERS.get(dtype, (dtype,))[0])
        return wanted

    def known(self, tensor: Any) -> str:
        """The name of an output: a tensor that depends on the input."""
        if not isinstance(tensor, self.torch.Tensor) or id(tensor) not in self.names:
            self.refuse("an output of the model is no tensor that depends on the input")
        return self.names[id(tensor)]

    def arguments(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """A call's arguments by the operator's own names, before it runs and changes any of them."""
        schema = func._schema.arguments
        bound = {argument.name: value for argument, value in zip(schema, args, strict=False)} | kwargs
        for argument in schema:
            if argument.alias_info is not None and argument.alias_info.is_write and argument.name in bound:
                self._changed(bound[argument.name], argument.name == "self")
        return bound

    def _changed(self, tensor: Any, itself: bool) -> None:
        """A tensor is about to be changed in place: other tensors that share its memory can no longer be named."""
        if not isinstance(tensor, self.torch.Tensor) or id(tensor) not in self.names or not itself:
            self.refuse("the model writes into a tensor that it keeps")
        memory = tensor.untyped_storage().data_ptr()
        self.stale |= {id(other) for other in self.alive
                       if other is not tensor and other.untyped_storage().data_ptr() == memory}

    def record(self, target: str, arguments: dict[str, Any], result: Any) -> None:
        """Write down one call that has run, if it depends on the input."""
        tensors = [value for value in arguments.values() if self._depends(value)]
        results = [value for value in (result if isinstance(result, (tuple, list)) else [result])
                   if isinstance(value, self.torch.Tensor)]
        if not tensors:
            return
        if target == "aten._local_scalar_dense.default":
            self.refuse("what the model does depends on values of its input")
        if not results:
            return
        scales = arguments.get("scale"), arguments.get("zero_point")
        if target.startswith("aten.quantize_per_tensor.") and any(self._depends(value) for value in scales):
            self.refuse("dynamic quantization: the scales depend on the secret input")
        if "_dynamic" in target:
            self.refuse("dynamic quantization: the scales depend on the secret input")
        # what is changed in place gets a new name
        namespace, operator, overload = target.split(".", 2)
        target = f"{namespace}.{operator.rstrip('_')}.{overload}"
        relu = target in _FUSED
        target = _FUSED.get(target, target)
        if target.startswith("aten.quantize_per_tensor."):
            self._quantize(self.names[id(arguments["self"])], results[0])
        elif target.startswith("aten.dequantize."):
            self._dequantize_all(arguments, results)
        elif target in _LAYERS:
            packed = next(arguments[key] for key in ("packed_weight", "W_prepack") if key in arguments)
            self._layer(target, next(iter(arguments.values())), packed, results[0], relu)
        else:
            target, wanted = _FLOAT.get(target, (target, {}))
            named = {wanted.get(key, key): self._argument(value) for key, value in arguments.items()
                     if not wanted or key in wanted}
            self._call(target, named, results, relu)

    def _depends(self, value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return any(self._depends(item) for item in value)
        if not isinstance(value, self.torch.Tensor):
            return False
        if id(value) in self.stale:
            self.refuse("it reads a tensor through another one after that was changed in place")
        return id(value) in self.names

    def _argument(self, value: Any) -> Argument:
        if isinstance(value, (list, tuple)):
            return [self._argument(item) for item in value]
        if isinstance(value, self.torch.Tensor):
            return Ref(self._float(value))
        if isinstance(value, self.torch.dtype):
            return str(value).removeprefix("torch.")
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        return type(value).__name__

    def _float(self, tensor: Any) -> str:
        """The name of a tensor; of its dequantized form, if it is quantized."""
        if id(tensor) not in self.names:
            value = tensor.dequantize() if tensor.is_quantized else tensor
            return self._constant(value.detach().cpu().numpy())
        name = self.names[id(tensor)]
        if not tensor.is_quantized:
            return name
        if name not in self.floats:
            self.floats[name] = self._fresh()
            self._dequantize(tensor, name, self.floats[name])
        return self.floats[name]

    def _constant(self, value: Any) -> str:
        name = f"constant{len(self.constants)}"
        self.constants[name] = value.copy()
        return name

    def _fresh(self) -> str:
        return f"tensor{len(self.metas)}"

    def _append(self, target: str, arguments: dict[str, Argument], output: str, *more: str) -> None:
        self.calls.append(Call(len(self.calls), target, arguments, (output, *more)))

    def _scales(self, tensor: Any) -> dict[str, Argument]:
        kind = str(tensor.dtype).removeprefix("torch.")
        if kind not in _INTEGERS or tensor.qscheme() != self.torch.per_tensor_affine:
            self.refuse(f"activations of type {kind}, or quantized per channel")
        dtype, low, high = _INTEGERS[kind]
        return {"scale": tensor.q_scale(), "zero_point": tensor.q_zero_point(), "quant_min": low, "quant_max": high,
                "dtype": dtype}

    def _dequantize(self, tensor: Any, name: str, output: str) -> None:
        self.metas[output] = Meta(tuple(tensor.shape), "float32")
        self._append("quantized_decomposed.dequantize_per_tensor.default", {"input": Ref(name), **self._scales(tensor)},
                     output)

    def _dequantize_all(self, arguments: dict[str, Any], results: list[Any]) -> None:
        value = next(iter(arguments.values()))
        for tensor, result in zip(value if isinstance(value, (list, tuple)) else [value], results, strict=True):
            source = self.names.get(id(tensor))
            if source is not None:
                self._dequantize(tensor, source, self.name(result, self._fresh()))

    def _quantize(self, source: str, result: Any) -> None:
        self._append("quantized_decomposed.quantize_per_tensor.default",
                     {"input": Ref(source), **self._scales(result)}, self.name(result, self._fresh()))

    def _result(self, result: Any, relu: bool, target: str, arguments: dict[str, Argument],
                more: tuple[str, ...] = ()) -> None:
        """The float call and what follows it: a ReLU, the output's quantization."""
        if not result.is_quantized and not relu:
            self._append(target, arguments, self.name(result, self._fresh()), *more)
            return
        output = self._fresh()
        self.metas[output] = Meta(tuple(result.shape), "float32")
        self._append(target, arguments, output, *more)
        if relu:
            before, output = output, self._fresh()
            self.metas[output] = Meta(tuple(result.shape), "float32")
            self._append("aten.relu.default", {"self": Ref(before)}, output)
        self._quantize(output, result)

    def _call(self, target: str, arguments: dict[str, Argument], results: list[Any], relu: bool) -> None:
        if len(results) > 1 and any(result.is_quantized for result in results):
            # views of a quantized tensor: dequantize, split, quantize each
            outputs = []
            for result in results:
                outputs.append(self._fresh())
                self.metas[outputs[-1]] = Meta(tuple(result.shape), "float32")
            self._append(target, arguments, *outputs)
            for output, result in zip(outputs, results, strict=True):
                self._quantize(output, result)
            return
        more = tuple(self.name(result, self._fresh()) for result in results[1:])
        self._result(results[0], relu, target, arguments, more)

    def _layer(self, target: str, x: Any, packed: Any, result: Any, relu: bool) -> None:
        """A convolution or linear layer whose weights are packed."""
        operators = self.torch.ops.quantized
        source = self._float(x)
        spatial = len(result.shape) - 2
        transposed = "transpose" in target
        if "linear" in target:
            weight, bias = operators.linear_unpack(packed)
        else:
            family = f"conv{'_transpose' if transposed else ''}{spatial}d"
            weight, bias = getattr(operators, f"{family}_unpack")(packed)
        arguments: dict[str, Argument] = {
            "input": Ref(source), "weight": Ref(self._weights(weight)),
            "bias": None if bias is None else Ref(self._constant(bias.detach().numpy()))}
        if "linear" in target:
            self._result(result, relu, "aten.linear.default", arguments)
            return
        # one-dimensional convolutions are packed as two-dimensional ones
        for key, method in (("stride", "stride"), ("padding", "padding"), ("dilation", "dilation"),
                            ("output_padding", "output_padding")):
            arguments[key] = [int(value) for value in getattr(packed, method)()][-spatial:]
        arguments |= {"transposed": transposed, "groups": int(packed.groups())}
        self._result(result, relu, "aten.convolution.default", arguments)

    def _weights(self, weight: Any) -> str:
        """A Dequantize of the stored integers."""
        if str(weight.dtype) != "torch.qint8":
            self.refuse(f"weights of type {str(weight.dtype).removeprefix('torch.')}")
        integers = self._constant(weight.int_repr().numpy())
        arguments: dict[str, Argument] = {"input": Ref(integers), "quant_min": -128, "quant_max": 127, "dtype": "int8"}
        output = self._fresh()
        self.metas[output] = Meta(tuple(weight.shape), "float32")
        if weight.qscheme() in (self.torch.per_tensor_affine, self.torch.per_tensor_symmetric):
            arguments |= {"scale": weight.q_scale(), "zero_point": weight.q_zero_point()}
            self._append("quantized_decomposed.dequantize_per_tensor.default", arguments, output)
            return output
        scales = weight.q_per_channel_scales().to(self.torch.float64).numpy()
        points = weight.q_per_channel_zero_points().to(self.torch.int64).numpy()
        arguments |= {"scales": Ref(self._constant(scales)), "zero_points": Ref(self._constant(points)),
                      "axis": weight.q_per_channel_axis()}
        self._append("quantized_decomposed.dequantize_per_channel.default", arguments, output)
        return output
