"""Circuits as text and as files.

The public part is JSON (:func:`to_json`, :func:`from_json`): versioned, canonical (sorted keys, no spaces, ASCII), so
parties can compare a :func:`digest`; doubles are written as the shortest decimal that reads back as the same double. A
``.circuit`` file (:func:`save`, :func:`load`) is a safetensors file: the weights as tensors, and that JSON in its
metadata. Both are read as if a stranger had written them, and verified.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from mpc_bridge.circuit.graph import Attribute, Circuit, Op, Quantization, Tensor
from mpc_bridge.circuit.verify import verify
from mpc_bridge.errors import CircuitError, InputError, ModelFormatError

#: Of the JSON. A reader refuses every other number.
FORMAT_VERSION = 1

#: Metadata keys of a ``.circuit`` file.
_GRAPH_KEY = "mpc_bridge.circuit"

#: Of a graph: a hundred times the largest in use, and what Python's parser can expand without harm.
MAX_JSON_BYTES = 16 * 2**20
#: Of a file with its weights.
MAX_FILE_BYTES = 2**32
_MAX_DEPTH = 8

_DTYPES = {"I8": "int8", "U8": "uint8", "I32": "int32", "I64": "int64"}
_HINT = "import the model again"


def to_json(circuit: Circuit) -> str:
    """The public part of a circuit as canonical JSON: graph, shapes, scales, bounds; no weight, no hash of weights."""
    return _dump(_encode(circuit))


def from_json(text: str | bytes) -> Circuit:
    """A public circuit from the JSON of :func:`to_json`, verified.

    Raises:
        ModelFormatError: the text is not such JSON, is of another version, or describes no valid circuit.
    """
    return _verified(_decode(_parse(text), {}), "a circuit in JSON")


def digest(circuit: Circuit) -> str:
    """SHA-256 (hexadecimal) of the public part: equal for a circuit and its :meth:`~.Circuit.public` form."""
    return hashlib.sha256(to_json(circuit).encode("ascii")).hexdigest()


def save(circuit: Circuit, path: str | Path) -> None:
    """Write a ``.circuit`` file, whole or not at all. Without its weights when the circuit does not hold them.

    Equal circuits give equal files, byte for byte.

    Raises:
        CircuitError: the circuit is invalid.
        InputError: the file cannot be written.
    """
    verify(circuit)
    graph = _encode(circuit)
    if circuit.sha256 and not circuit.is_public:
        graph["sha256"] = circuit.sha256
    # safetensors writes an array's memory as it lies: a transposed one would come back scrambled
    arrays = {_tensor_key(index): np.asarray(array, order="C") for index, array in circuit.constants.items()}
    data = safetensors.numpy.save(arrays, metadata={_GRAPH_KEY: _dump(graph)})
    target = Path(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        try:
            # weights are secret: nobody but the owner may read the file while it is being written
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write the circuit: {error.strerror or error}", where=str(target),
                         hint="check the folder and its permissions") from error


def load(path_or_bytes: str | Path | bytes) -> Circuit:
    """Read a ``.circuit`` file, verified.

    Args:
        path_or_bytes: the file, or all of its bytes.

    Raises:
        InputError: the file cannot be read.
        ModelFormatError: it is not a ``.circuit`` file, is corrupt, or describes no valid circuit.
    """
    if isinstance(path_or_bytes, bytes):
        data, where = path_or_bytes, "a circuit"
    else:
        where = str(path_or_bytes)
        try:
            with open(path_or_bytes, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise InputError(f"cannot read the circuit: {error.strerror or error}", where=where,
                             hint="check the path and its permissions") from error
    try:
        graph = _parse(_metadata(data))
        return _verified(_decode(graph, _constants(data)), where)
    except ModelFormatError as error:
        raise ModelFormatError(error.what, where=where, hint=error.hint) from error


def is_circuit_file(data: bytes) -> bool:
    """Whether the first bytes of a file (at least 64 where the file has them) are those of a ``.circuit`` file."""
    return data[8:].startswith(f'{{"__metadata__":{{"{_GRAPH_KEY}":'.encode("ascii"))


def _tensor_key(index: int) -> str:
    return f"tensor.{index}"


def _dump(graph: dict[str, Any]) -> str:
    return json.dumps(graph, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _verified(circuit: Circuit, where: str) -> Circuit:
    try:
        verify(circuit)
    except CircuitError as error:
        raise ModelFormatError(error.what, where="\n".join(filter(None, (where, error.where))), hint=_HINT) from error
    return circuit


def _encode(circuit: Circuit) -> dict[str, Any]:
    return {
        "version": FORMAT_VERSION,
        "name": circuit.name,
        "source": circuit.source,
        "profile": circuit.profile,
        "inputs": circuit.inputs,
        "outputs": circuit.outputs,
        "constants": circuit.constant_tensors,
        "tensors": [_encode_tensor(tensor) for tensor in circuit.tensors],
        "ops": [{"kind": op.kind, "name": op.name, "inputs": op.inputs, "outputs": op.outputs,
                 "attributes": dict(op.attributes)} for op in circuit.ops],
    }


def _encode_tensor(tensor: Tensor) -> dict[str, Any]:
    encoded: dict[str, Any] = {"name": tensor.name, "shape": tensor.shape, "dtype": tensor.dtype}
    if tensor.quantization is not None:
        encoded["scale"] = tensor.quantization.scale
        encoded["zero_point"] = tensor.quantization.zero_point
        if tensor.quantization.axis is not None:
            encoded["axis"] = tensor.quantization.axis
    return encoded


def _fail(what: str) -> ModelFormatError:
    return ModelFormatError(what, where="a circuit in JSON", hint=_HINT)


def _parse(text: str | bytes) -> dict[str, Any]:
    """JSON with what Python's parser tolerates refused: repeated keys, NaN, deep nesting, huge numbers."""
    if len(text) > MAX_JSON_BYTES:
        raise _fail(f"the circuit's graph is longer than {MAX_JSON_BYTES} bytes")

    def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a repeated key")
        return result

    def no_constant(name: str) -> float:
        raise ValueError(f"the number {name}")

    try:
        graph = json.loads(text, object_pairs_hook=no_repeats, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise _fail(f"the circuit's graph is not valid JSON ({type(error).__name__})") from None
    version = graph.get("version") if isinstance(graph, dict) else None
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise ModelFormatError(
            f"a circuit of format version {str(version)[:40]}; this program reads {FORMAT_VERSION}",
            where="a circuit in JSON", hint="import the model again, or use the version that wrote it")
    assert isinstance(graph, dict)
    return graph


class _Fields:
    """Fields of one JSON object, each taken once; what is left over at the end is an error."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise _fail(f"{what} is not an object")
        self._left = dict(value)
        self._what = what

    def take(self, name: str, kind: type[Any]) -> Any:
        """The field, which must be of exactly this Python type."""
        value = self._left.pop(name, None)
        if type(value) is not kind:
            raise _fail(f"{self._what} has no {name} of type {kind.__name__}")
        return value

    def optional(self, name: str, kind: type[Any]) -> Any:
        """The field, or None."""
        return self.take(name, kind) if name in self._left else None

    def numbers(self, name: str) -> Any:
        """A list as a tuple."""
        return _tuples(self.take(name, list), 1)

    def end(self) -> None:
        """Refuse fields that were not taken: a newer writer meant something by them."""
        if self._left:
            raise _fail(f"{self._what} has the unknown fields {', '.join(sorted(self._left))[:80]}")


def _tuples(value: Any, depth: int) -> Attribute:
    """Lists become tuples, at every level."""
    if isinstance(value, list):
        if depth > _MAX_DEPTH:
            raise _fail("an attribute that is nested too deeply")
        return tuple(_tuples(item, depth + 1) for item in value)
    if not isinstance(value, bool | int | float | str):
        raise _fail("an attribute that is neither a number, a string nor a list")
    return value


def _decode(graph: dict[str, Any], constants: Mapping[int, npt.NDArray[np.generic]]) -> Circuit:
    fields = _Fields(graph, "the circuit")
    fields.take("version", int)
    circuit = Circuit(
        name=fields.take("name", str), source=fields.take("source", str), profile=fields.take("profile", str),
        tensors=tuple(_decode_tensor(tensor, index) for index, tensor in enumerate(fields.take("tensors", list))),
        ops=tuple(_decode_op(op, index) for index, op in enumerate(fields.take("ops", list))),
        inputs=fields.numbers("inputs"), outputs=fields.numbers("outputs"), constants=constants,
        sha256=fields.optional("sha256", str) or "", constant_tensors=fields.numbers("constants"))
    fields.end()
    return circuit


def _decode_tensor(value: object, index: int) -> Tensor:
    fields = _Fields(value, f"tensor {index}")
    quantization = None
    name, shape, dtype = fields.take("name", str), fields.numbers("shape"), fields.take("dtype", str)
    if fields.optional("scale", list) is not None:
        scale = _Fields(value, f"tensor {index}").numbers("scale")
        quantization = Quantization(scale, fields.numbers("zero_point"), fields.optional("axis", int))
    fields.end()
    return Tensor(name, shape, dtype, quantization)


def _decode_op(value: object, index: int) -> Op:
    fields = _Fields(value, f"op {index}")
    attributes = {name: _tuples(item, 0) for name, item in fields.take("attributes", dict).items()}
    op = Op(fields.take("kind", str), fields.take("name", str),
            fields.numbers("inputs"), fields.numbers("outputs"), attributes)
    fields.end()
    return op


def _metadata(data: bytes) -> str:
    """The graph's JSON out of a safetensors header: 8 bytes of length (little endian), then JSON."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, 2 * MAX_JSON_BYTES):
        raise _fail("not a circuit file")
    try:
        header = json.loads(data[8 : 8 + length])
        graph = header["__metadata__"][_GRAPH_KEY]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise _fail("not a circuit file") from None
    if not isinstance(graph, str):
        raise _fail("not a circuit file")
    return graph


def _constants(data: bytes) -> dict[int, npt.NDArray[np.generic]]:
    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except Exception as error:  # the library's own error class is not part of its documented interface
        raise _fail(f"the weights in the circuit file are damaged ({type(error).__name__})") from None
    constants: dict[int, npt.NDArray[np.generic]] = {}
    for key, entry in entries:
        index = key.removeprefix("tensor.")
        if not (index.isascii() and index.isdigit()) or len(index) > 9 or _tensor_key(int(index)) != key:
            raise _fail("the circuit file holds a tensor that is not one of its constants")
        if entry["dtype"] not in _DTYPES:
            raise _fail(f"constant {index} has the type {str(entry['dtype'])[:20]}")
        dtype = np.dtype(_DTYPES[entry["dtype"]]).newbyteorder("<")
        array = np.frombuffer(entry["data"], dtype=dtype).reshape(entry["shape"]).astype(dtype.newbyteorder("="))
        array.flags.writeable = False
        constants[int(index)] = array
    return constants
