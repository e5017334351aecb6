"""True classes of samples: read from a file, compared with what a model says."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mpc_bridge.circuit.graph import Circuit
from mpc_bridge.cli.input_files import DAMAGED, check_file, unreadable
from mpc_bridge.cli.inputs import LoadedInputs
from mpc_bridge.errors import InputError

Array = npt.NDArray[np.generic]

#: Types of an output that already is a class.
INDICES = ("int32", "int64")
LABEL_SUFFIXES = (".npy", ".npz", ".txt", ".csv")
_LARGEST_TEXT = 1 << 26


@dataclass(frozen=True)
class Accuracy:
    """How often the greatest output is the labelled class.

    Attributes:
        top1: ``right / labelled``.
        right, labelled: rows of the output; one per sample unless the model's batch is greater.
    """

    top1: float
    right: int
    labelled: int


def with_labels(circuit: Circuit, data: LoadedInputs, path: Path, asked: bool) -> LoadedInputs:
    """The inputs with true classes from a file, one per row of the model's batch in every sample.

    Args:
        path: ``.npy``; ``.npz`` (the array ``labels``, or the only one); or text of integers between commas, spaces or
            line ends (``.txt``, ``.csv``).
        asked: True when a number of samples was asked for: more labels than that are left out then.

    Raises:
        InputError: unreadable, no integers, not as many as there are samples, or a class that the model does not have.
    """
    if data.random:
        raise InputError("random inputs have no labels", where="--labels", hint="give labelled samples with --input")
    if data.labels is not None:
        raise InputError("the samples have labels already: their folders", where="--labels", hint="leave --labels out")
    labels = _read(path)
    shape = circuit.tensors[circuit.inputs[0]].shape
    batch = shape[0] if shape else 1
    rows = data.samples * batch
    # the last batch may have been filled up
    if len(labels) < max(rows - batch + 1, 1) or len(labels) > rows and not asked:
        raise InputError(f"{len(labels)} labels for {rows} samples", where=str(path), hint="give one label per sample")
    return replace(data, labels=tuple(labels[:rows]))


def check_scores(circuit: Circuit, labels: Sequence[int]) -> None:
    """Raises InputError: the model gives no class scores, or has no such class."""
    outputs = [circuit.tensors[index] for index in circuit.outputs]
    if len(outputs) != 1 or outputs[0].dtype not in INDICES and not _scores(outputs[0].shape):
        shapes = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in outputs)
        raise InputError("labels need a model whose only output is one score per class", where=f"its outputs: {shapes}",
                         hint="leave the labels out")
    shape = outputs[0].shape
    count = None if outputs[0].dtype in INDICES else int(np.prod(shape)) // shape[0]
    wrong = [label for label in labels if label < 0 or count is not None and label >= count]
    if wrong:
        classes = "classes start at 0" if count is None else f"the model's classes are 0 to {count - 1}"
        raise InputError(f"no class {wrong[0]}", where="the labels",
                         hint=f"{classes}; some models begin with a background class")


def by_row(output: Array) -> Array:
    """``[rows, scores]`` of an output with its sample axis first: a row per sample and row of the model's batch."""
    rows = output.shape[0] * (output.shape[1] if _scores(output.shape[1:]) else 1)
    return output.reshape(rows, -1)


def predicted(outputs: Sequence[Array], reveal: str) -> npt.NDArray[np.int64] | None:
    """Class of every row of a model's output, the lowest index where several are greatest.

    Args:
        outputs: sample axis first, in the model's dtype; int64 indices with ``reveal="argmax"``.

    Returns:
        int64 ``[rows]``, or None when there is nothing to take the greatest of.
    """
    if len(outputs) != 1:
        return None
    if reveal == "argmax" or outputs[0].dtype in INDICES:
        return outputs[0].reshape(-1).astype(np.int64)
    rows = by_row(outputs[0])
    return rows.argmax(axis=1).astype(np.int64) if rows.shape[1] > 1 else None


def accuracy(classes: npt.NDArray[np.int64], labels: Sequence[int]) -> Accuracy:
    """Predicted classes against true ones, row by row; rows beyond the labels filled a batch up."""
    right = int(np.count_nonzero(classes[: len(labels)] == np.asarray(labels)))
    return Accuracy(right / len(labels), right, len(labels))


def _scores(shape: tuple[int, ...]) -> bool:
    """Whether a shape is ``[batch, classes]``, but for axes of extent 1."""
    return len(shape) > 1 and max(shape[1:]) > 1 and int(np.prod(shape)) == shape[0] * max(shape[1:])


def _read(path: Path) -> list[int]:
    suffix = path.suffix.lower()
    if suffix not in LABEL_SUFFIXES:
        raise InputError(f"cannot read {suffix or 'a file without a suffix'} as labels", where=str(path),
                         hint=f"give one of: {', '.join(LABEL_SUFFIXES)}")
    check_file(path, "the labels")
    return _text(path) if suffix in (".txt", ".csv") else _array(path, suffix)


def _text(path: Path) -> list[int]:
    if path.stat().st_size > _LARGEST_TEXT:
        raise InputError(f"more than {_LARGEST_TEXT} bytes of labels", where=str(path), hint="save them as a .npy")
    try:
        words = re.split(r"[\s,;]+", path.read_text(encoding="utf-8-sig").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error, "the labels") from None
    labels = []
    for word in filter(None, words):
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", word):
            raise InputError("a label is not an integer", where=f"{path}: {word[:40]!r}",
                             hint="give class numbers alone, from 0, between commas, spaces or line ends")
        labels.append(int(word))
    return labels


def _array(path: Path, suffix: str) -> list[int]:
    try:
        if suffix == ".npz":
            array = _member(path)
        else:
            array = np.load(path, allow_pickle=False)
    except DAMAGED as error:
        raise unreadable(path, error, "the labels") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu" or array.size != max(array.shape, default=0):
        raise InputError("labels are integers, one per sample", where=f"{path}: {getattr(array, 'dtype', '')} "
                         f"{getattr(array, 'shape', '')}", hint="save an array of class numbers, shape (samples,)")
    return [int(label) for label in array.reshape(-1)]


def _member(path: Path) -> Array:
    with zipfile.ZipFile(path) as archive:
        names = {Path(member.filename).stem: member.file_size for member in archive.infolist()}
    name = "labels" if "labels" in names else next(iter(names)) if len(names) == 1 else None
    if name is None:
        raise InputError("no array called labels", where=f"{path} holds: {', '.join(names) or 'nothing'}",
                         hint="name it labels")
    if names[name] > _LARGEST_TEXT:
        raise InputError("too many labels", where=str(path), hint="give one per sample")
    with np.load(path, allow_pickle=False) as members:
        found: Array = members[name]
    return found
