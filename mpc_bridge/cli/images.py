"""Images to a model's input by one stated rule, and folders of images to samples with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import Circuit, Tensor
from mpc_bridge.cli.input_files import check_file, unreadable
from mpc_bridge.errors import InputError

Array = npt.NDArray[np.generic]

IMAGE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}
#: Class names that a note spells out; the rest is left to the folder.
SHOWN_CLASSES = 20


@dataclass(frozen=True)
class PixelRule:
    """How a pixel 0..255 becomes an input value: ``pixel * scale + offset`` in float32 for float inputs, else integers.

    Attributes:
        words: the rule for people.
    """

    scale: float
    offset: float
    words: str

    def apply(self, pixels: npt.NDArray[np.uint8], dtype: str) -> Array:
        """Pixels as the model's input type."""
        if dtype == "float32":
            # one rounding: the double is exact enough that only the cast rounds
            return (pixels.astype(np.float64) * self.scale + self.offset).astype(np.float32)
        return (pixels.astype(np.int64) + int(self.offset)).astype(dtype)


#: Lowest and highest real value of the usual ways to normalise pixels, with the way from 0..255 to it.
_USUAL = (
    ((0.0, 1.0), PixelRule(1 / 255, 0.0, "pixel / 255")),
    ((0.0, 255.0), PixelRule(1.0, 0.0, "raw pixels")),
    ((-1.0, 1.0), PixelRule(2 / 255, -1.0, "pixel / 127.5 - 1")),
)


def read_image(circuit: Circuit, index: int, path: Path) -> tuple[Array, str]:
    """One image as one sample ``(1,) + input shape``, and what was done to it.

    It is resized to the model's rows and columns (bilinear, aspect ratio not kept).

    Args:
        index: of the model's input tensor.

    Raises:
        InputError: the file is no image, the input takes none, or the model does not say how pixels become its input.
    """
    from PIL import Image, UnidentifiedImageError

    check_file(path)
    tensor = circuit.tensors[index]
    rows, columns, channels, channels_first = _layout(circuit, tensor, path)
    rule = _pixel_rule(circuit, index, path)
    try:
        with Image.open(path, formats=[IMAGE_FORMATS[path.suffix.lower()]]) as opened:
            size = opened.size
            converted = opened.convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise unreadable(path, error) from None
    steps = ["grey" if channels == 1 else "RGB"]
    if size != (columns, rows):
        converted = converted.resize((columns, rows), Image.Resampling.BILINEAR)
        steps.append(f"resized from {size[0]}x{size[1]} to {columns}x{rows}")
    pixels = np.asarray(converted, dtype=np.uint8).reshape(rows, columns, channels)
    if channels_first:
        pixels = pixels.transpose(2, 0, 1)
    return rule.apply(pixels, tensor.dtype).reshape(1, *tensor.shape), ", ".join((*steps, rule.words))


def read_folder(circuit: Circuit, index: int, folder: Path, samples: int | None) -> tuple[Array, str, tuple[int, ...]]:
    """Samples ``(S,) + input shape`` and labels from a folder with one sub-folder of images per class.

    Classes are numbered from 0 in the order of their names; images are taken from every class in turn, so that the
    first ``samples`` of them are spread over the classes. Names that start with a dot are left out.

    Raises:
        InputError: the folder is not like this, or holds fewer images than asked for; as :func:`read_image`.
    """
    classes = _entries(folder)
    stray = [entry for entry in classes if not entry.is_dir()]
    if stray or not classes:
        raise InputError(
            "the folder is not one of labelled images", where=str(stray[0] if stray else folder),
            hint="make one sub-folder per class in it, for that class's images; stack other samples in a .npy")
    by_class = [[(image, label) for image in _images(entry)] for label, entry in enumerate(classes)]
    found = [pair for pair in chain.from_iterable(zip_longest(*by_class)) if pair is not None]
    if samples is not None and samples > len(found):
        raise InputError(f"{samples} samples asked, {len(found)} given", where=str(folder), hint="ask for fewer")
    found = found[:samples]
    arrays, notes = zip(*(read_image(circuit, index, path) for path, _ in found), strict=True)
    how = notes[0] if len(set(notes)) == 1 else f"each resized; {notes[0].split(', ')[-1]}"
    named = ", ".join(f"{label} {entry.name}" for label, entry in enumerate(classes[:SHOWN_CLASSES]))
    more = ", …" if len(classes) > SHOWN_CLASSES else ""
    note = f"{folder.name}, {len(found)} images, {how}; classes: {named}{more}"
    return np.concatenate(arrays), note, tuple(label for _, label in found)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted((entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise InputError("cannot open the folder", where=str(folder), hint=error.strerror or str(error)) from None


def _images(folder: Path) -> Sequence[Path]:
    images = _entries(folder)
    for path in images:
        if path.suffix.lower() not in IMAGE_FORMATS:
            raise InputError("not an image in a folder of images", where=str(path),
                             hint=f"a class's folder holds images alone: {', '.join(IMAGE_FORMATS)}")
    if not images:
        raise InputError("a class without images", where=str(folder), hint="put images there, or take the folder away")
    return images


def _layout(circuit: Circuit, tensor: Tensor, path: Path) -> tuple[int, int, int, bool]:
    """Rows, columns, channels of the model's input, and whether channels come before rows.

    Where the shape allows both, what the source's framework usually has.
    """
    shape = tensor.shape
    if len(shape) == 4 and shape[0] == 1:
        for channels_first in (True, False) if circuit.source in ("pytorch", "onnx") else (False, True):
            rows, columns, channels = (shape[2], shape[3], shape[1]) if channels_first else shape[1:]
            if channels in (1, 3):
                return rows, columns, channels, channels_first
    raise InputError(
        "this model's input is not one image",
        where=f"{path} for {tensor.name} {shape}",
        hint="give a .npy of that shape; images fit inputs with 1 or 3 channels and batch 1",
    )


def _pixel_rule(circuit: Circuit, index: int, path: Path) -> PixelRule:
    """What becomes of a pixel 0..255.

    uint8 models take raw pixels. int8 models take ``pixel - 128``, and float models their usual real value, where
    scale and zero point map the integer type's whole range onto one of the usual pixel ranges (0..1, 0..255, -1..1);
    otherwise nothing in the file says how pixels were normalised, and guessing would give a wrong answer silently.
    """
    tensor = circuit.tensors[index]
    if tensor.dtype == "uint8":
        return PixelRule(1.0, 0.0, "raw pixels")
    if tensor.dtype == "int8" and _usual(tensor) is not None:
        return PixelRule(1.0, -128.0, "pixel - 128")
    if tensor.dtype == "float32":
        rules = {_usual(circuit.tensors[op.outputs[0]]) for op in circuit.ops if index in op.inputs}
        if len(rules) == 1 and (rule := rules.pop()) is not None:
            return rule
    raise InputError(
        "the model does not say how pixels become its input",
        where=f"{path} for {tensor.name} {tensor.dtype}",
        hint="prepare the image as the model was trained and give it as a .npy",
    )


def _usual(tensor: Tensor) -> PixelRule | None:
    """The usual range that a tensor's integers stand for, None for another one."""
    if tensor.quantization is None or tensor.dtype not in ("int8", "uint8"):
        return None
    lowest = -128 if tensor.dtype == "int8" else 0
    scale, zero_point = tensor.quantization.scale[0], tensor.quantization.zero_point[0]
    ends = scale * (lowest - zero_point), scale * (lowest + 255 - zero_point)
    for usual, rule in _USUAL:
        if all(abs(end - wanted) <= 1.5 * scale for end, wanted in zip(ends, usual, strict=True)):
            return rule
    return None
