"""Input files to the model's own integers: arrays as they are, images as :mod:`~mpc_bridge.cli.images` says.

Every loaded input comes with one line that says what was done to it, so that nobody has to guess.
"""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import INTEGER_RANGES, Circuit, Tensor
from mpc_bridge.cli.images import IMAGE_FORMATS, read_folder, read_image
from mpc_bridge.cli.input_files import DAMAGED, LARGEST_FILE, check_file, unreadable
from mpc_bridge.errors import InputError

Array = npt.NDArray[np.generic]

ARRAY_SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True)
class LoadedInputs:
    """What the data owner shares.

    Attributes:
        arrays: one per model input, in the model's order; shape ``(samples,) + input shape``, the input's dtype.
        notes: one line per input: where it came from and what was done to it.
        random: True when no input was given.
        labels: the class of each sample, where a folder says it.
    """

    arrays: tuple[Array, ...]
    notes: tuple[str, ...]
    random: bool
    labels: tuple[int, ...] | None = None

    @property
    def samples(self) -> int:
        """Number of model invocations."""
        return int(self.arrays[0].shape[0])


def load_inputs(circuit: Circuit, paths: Sequence[Path], samples: int | None,
                draw: Callable[[int], bytes] = secrets.token_bytes) -> LoadedInputs:
    """Read one file per model input, or draw random inputs when ``paths`` is empty.

    One ``.npz`` may hold all inputs as ``in0``, ``in1``, …; a folder of labelled images fits a model with one input.

    Args:
        circuit: whose inputs to fill; its public part is enough.
        paths: of ``.npy``, ``.npz``, ``.png``, ``.jpg`` or ``.bmp`` files, in the order of the model's inputs; or of
            one folder with a sub-folder of images per class.
        samples: use the first so many; None means all (one when random).
        draw: so many random bytes. The default's: not secret, but the inputs of a privacy tool should not come from a
            guessable generator either.

    Raises:
        InputError: a file that is missing, unreadable, or does not fit the model.
    """
    tensors = [circuit.tensors[index] for index in circuit.inputs]
    if not paths:
        count = samples or 1
        arrays = tuple(_random(tensor, count, draw) for tensor in tensors)
        return LoadedInputs(arrays, tuple(f"{tensor.name}: random" for tensor in tensors), True)
    if len(paths) == len(tensors) == 1 and paths[0].is_dir():
        array, note, labels = read_folder(circuit, circuit.inputs[0], paths[0], samples)
        return LoadedInputs((array,), (f"{tensors[0].name}: {note}",), False, labels)
    loaded = _read(circuit, paths)
    available = min(array.shape[0] for array, _ in loaded)
    if any(array.shape[0] != available for array, _ in loaded):
        pairs = zip(tensors, loaded, strict=True)
        counts = ", ".join(f"{tensor.name}: {array.shape[0]}" for tensor, (array, _) in pairs)
        raise InputError(
            "the inputs hold different numbers of samples", where=counts, hint="give the same number for every input"
        )
    if samples is not None and samples > available:
        raise InputError(
            f"{samples} samples asked, {available} given",
            where="--samples",
            hint="ask for fewer, or give an array with more samples along its first axis",
        )
    count = available if samples is None else samples
    return LoadedInputs(tuple(array[:count] for array, _ in loaded), tuple(note for _, note in loaded), False)


def _read(circuit: Circuit, paths: Sequence[Path]) -> list[tuple[Array, str]]:
    tensors = [circuit.tensors[index] for index in circuit.inputs]
    if len(paths) == 1 and len(tensors) > 1 and paths[0].suffix.lower() == ".npz":
        members = _npz(paths[0], [f"in{index}" for index in range(len(tensors))])
        return [_fit(array, tensor, paths[0]) for array, tensor in zip(members, tensors, strict=True)]
    if len(paths) != len(tensors):
        wanted = ", ".join(f"{tensor.name} {tensor.dtype} {tensor.shape}" for tensor in tensors)
        raise InputError(
            f"the model has {len(tensors)} input(s), {len(paths)} given",
            where=f"--input; the model takes: {wanted}",
            hint="repeat --input once per model input; stack samples of one input along an array's first axis",
        )
    return [_read_one(circuit, position, path) for position, path in enumerate(paths)]


def _read_one(circuit: Circuit, position: int, path: Path) -> tuple[Array, str]:
    tensor = circuit.tensors[circuit.inputs[position]]
    suffix = path.suffix.lower()
    if suffix in IMAGE_FORMATS:
        array, how = read_image(circuit, circuit.inputs[position], path)
        return array, f"{tensor.name}: {path.name}, {how}"
    if suffix == ".npz":
        return _fit(_npz(path, [f"in{position}"])[0], tensor, path)
    if suffix == ".npy":
        return _fit(_npy(path), tensor, path)
    raise InputError(
        f"cannot read {suffix or 'a file without a suffix'} as an input",
        where=str(path),
        hint=f"give one of: {', '.join((*ARRAY_SUFFIXES, *IMAGE_FORMATS))}",
    )


def _random(tensor: Tensor, samples: int, draw: Callable[[int], bytes]) -> Array:
    shape = (samples, *tensor.shape)
    count = int(np.prod(shape, dtype=np.int64))
    if tensor.dtype == "float32":
        bits = np.frombuffer(draw(4 * count), dtype=np.uint32).reshape(shape)
        return (bits >> np.uint32(8)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)
    width = np.dtype(tensor.dtype).itemsize
    return np.frombuffer(draw(width * count), dtype=tensor.dtype).reshape(shape)


def _npy(path: Path) -> Array:
    check_file(path)
    try:
        return _array(np.load(path, allow_pickle=False), path)
    except DAMAGED as error:
        raise unreadable(path, error) from None


def _npz(path: Path, names: Sequence[str]) -> list[Array]:
    """The named members; a file with a single array answers to any one name."""
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            inflated = sum(member.file_size for member in archive.infolist())
        if inflated > LARGEST_FILE:
            raise InputError(f"the archive inflates to {inflated} bytes", where=str(path), hint="give fewer samples")
        with np.load(path, allow_pickle=False) as members:
            if len(names) == 1 and len(members.files) == 1:
                return [_array(members[members.files[0]], path)]
            missing = [name for name in names if name not in members.files]
            if missing:
                raise InputError(
                    f"no array called {missing[0]}",
                    where=f"{path} holds: {', '.join(members.files) or 'nothing'}",
                    hint="name the arrays in0, in1, … in the order of the model's inputs",
                )
            return [_array(members[name], path) for name in names]
    except DAMAGED as error:
        raise unreadable(path, error) from None


def _array(value: object, path: Path) -> Array:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iufb":
        kind = value.dtype if isinstance(value, np.ndarray) else "not one array"
        raise InputError("the input is not an array of numbers", where=f"{path}: {kind}", hint="save numbers")
    return value


def _fit(array: Array, tensor: Tensor, path: Path) -> tuple[Array, str]:
    """Check an array against one model input; add the sample axis; convert the dtype where that loses nothing."""
    shaped = _with_samples(array, tensor, path)
    where = f"{path}: {array.dtype} {array.shape} for {tensor.name} {tensor.dtype} {tensor.shape}"
    wanted = np.dtype(tensor.dtype)
    if shaped.dtype == wanted:
        if wanted.kind == "f" and not np.isfinite(shaped).all():
            raise InputError("the input holds NaN or infinity", where=where, hint="give finite numbers")
        return np.ascontiguousarray(shaped), f"{tensor.name}: {path.name}, as it is"
    if wanted.kind == "f":
        converted = shaped.astype(np.float32)
        if not np.array_equal(converted, shaped):
            raise InputError("the input is not exact in float32", where=where, hint="convert it to float32 yourself")
        return converted, f"{tensor.name}: {path.name}, as float32"
    if shaped.dtype.kind == "f":
        return _quantized(shaped, tensor, where), f"{tensor.name}: {path.name}, quantized with the model's scale"
    if shaped.dtype.itemsize == 1:
        raise InputError(
            "the input's integers are not the model's", where=where,
            hint=f"convert it to {tensor.dtype} yourself (int8 is often uint8 - 128), or give an image",
        )
    low, high = INTEGER_RANGES[tensor.dtype]
    if shaped.size and (int(shaped.min()) < low or int(shaped.max()) > high):
        raise InputError("the input holds values outside the model's type", where=where, hint=f"use {low}..{high}")
    return shaped.astype(wanted), f"{tensor.name}: {path.name}, as {tensor.dtype}"


def _with_samples(array: Array, tensor: Tensor, path: Path) -> Array:
    shape = tensor.shape
    if array.shape[1:] == shape and array.ndim == len(shape) + 1:
        shaped = array
    elif shape and array.ndim == len(shape) and array.shape[1:] == shape[1:]:
        # Rows of the model's own batch; the last batch is filled up with its last row.
        shaped = array
        if shape[0] > 1 and array.shape[0] % shape[0]:
            fill = shape[0] - array.shape[0] % shape[0]
            shaped = np.concatenate([array, np.repeat(array[-1:], fill, axis=0)])
        shaped = shaped.reshape(shaped.shape[0] // shape[0], *shape)
    elif shape and array.shape == shape[1:] and shape[0] == 1:
        shaped = array.reshape(1, *shape)
    else:
        raise InputError(
            "the input's shape is not the model's",
            where=f"{path}: {array.shape} for {tensor.name} {shape}",
            hint=f"use (S, {', '.join(map(str, shape))}) for S samples",
        )
    if not shaped.shape[0]:
        raise InputError("the input holds no sample", where=str(path), hint="give at least one")
    return shaped


def _quantized(real: Array, tensor: Tensor, where: str) -> Array:
    """``clamp(round_half_away(float32(x / scale)) + zero_point)``: what TFLite's QUANTIZE does to a float."""
    quantization = tensor.quantization
    if quantization is None or len(quantization.scale) != 1:
        raise InputError("the model says no scale for this input", where=where, hint=f"give {tensor.dtype} values")
    if not np.isfinite(real).all():
        raise InputError("the input holds NaN or infinity", where=where, hint="give finite numbers")
    low, high = INTEGER_RANGES[tensor.dtype]
    ratio = (real.astype(np.float32) / np.float32(quantization.scale[0])).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(ratio) + 0.5), ratio) + quantization.zero_point[0]
    quantized: Array = np.clip(rounded, low, high).astype(tensor.dtype)
    return quantized
