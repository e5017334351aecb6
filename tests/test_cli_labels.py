"""Labels: files and folders of them, what is refused, and the accuracy that is printed and reported."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpc_bridge.circuit.graph import Circuit, Op, Quantization, Tensor
from mpc_bridge.cli.inputs import LoadedInputs, load_inputs
from mpc_bridge.cli.labels import accuracy, check_scores, predicted, with_labels
from mpc_bridge.errors import InputError

DEMO = Path(__file__).resolve().parent.parent / "mpc_bridge" / "demo"
MODEL, INPUTS = DEMO / "digits.tflite", DEMO / "inputs.npz"


def model(batch: int = 1, output: tuple[int, ...] = (1, 4), dtype: str = "int8") -> Circuit:
    tensors = (Tensor("x", (batch, 3), "int8"), Tensor("y", output, dtype))
    return Circuit("m", "tflite", "litert", tensors, (), (0,), (1,))


def samples(count: int, batch: int = 1) -> LoadedInputs:
    return LoadedInputs((np.zeros((count, batch, 3), np.int8),), ("x",), False)


def write(path: Path, labels: list[int]) -> Path:
    if path.suffix == ".npy":
        np.save(path, np.array(labels, np.uint8))
    elif path.suffix == ".npz":
        np.savez(path, in0=np.zeros((len(labels), 3)), labels=np.array([labels]).T)
    else:
        path.write_text("\n".join(map(str, labels)) if path.suffix == ".txt" else ", ".join(map(str, labels)) + "\r\n")
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".txt", ".csv"])
def test_every_format_gives_the_same_labels(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"labels{suffix}", [3, 0, 2])
    assert with_labels(model(), samples(3), path, False).labels == (3, 0, 2)
    assert with_labels(model(), samples(2), path, True).labels == (3, 0)


def test_one_array_of_any_name_is_the_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", truth=np.array([1, 2]))
    assert with_labels(model(), samples(2), tmp_path / "a.npz", False).labels == (1, 2)


@pytest.mark.parametrize(("count", "fits"), [(2, False), (3, True), (4, True), (5, False)])
def test_a_model_of_batch_two_has_two_labels_per_sample_and_the_last_may_be_missing(
    tmp_path: Path, count: int, fits: bool
) -> None:
    path = write(tmp_path / "a.txt", [1] * count)
    if fits:
        assert with_labels(model(2, (2, 4)), samples(2, 2), path, False).labels == (1,) * count
    else:
        with pytest.raises(InputError, match=f"{count} labels for 4 samples"):
            with_labels(model(2, (2, 4)), samples(2, 2), path, False)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"1 two 3", "not an integer"),
        ("a.txt", b"1.5 2 3", "not an integer"),
        ("a.txt", b"\xff\xfe\x00", "damaged"),
        ("a.txt", b"", "0 labels for 3"),
        ("a.csv", b"1,2", "2 labels for 3"),
        ("a.csv", b"1,2,3,1", "4 labels for 3"),
        ("a.csv", b"1" * 400, "not an integer"),
        ("a.npy", b"not an array", "damaged"),
        ("a.npz", b"PK\x03\x04 nothing of the kind", "damaged"),
        ("a.json", b"[1, 2, 3]", "cannot read .json"),
    ],
)
def test_what_is_no_labels_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        with_labels(model(), samples(3), path, False)
    assert name in caught.value.where and caught.value.hint


@pytest.mark.parametrize("array", [np.ones(3), np.ones((3, 2), int), np.array(["1", "2", "3"]), np.array(1)])
def test_arrays_that_are_no_labels_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match="integers, one per sample"):
        with_labels(model(), samples(3), tmp_path / "a.npy", False)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_damaged_arrays_are_labels_and_inputs_or_refused(tmp_path: Path, suffix: str) -> None:
    """Whatever numpy and zipfile make of them."""
    rng = random.Random(1)
    path = tmp_path / f"labels{suffix}"
    if suffix == ".npy":
        np.save(path, np.zeros((30, 1, 3), np.int8))
    else:
        np.savez_compressed(path, labels=np.arange(300) % 10)
    sound, refused = path.read_bytes(), 0
    for _ in range(400):
        data = bytearray(sound)
        for _ in range(rng.choice((1, 2, 5))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        for read in (lambda: with_labels(model(), samples(300), path, True),
                     lambda: load_inputs(model(), [path], None)):
            try:
                read()
            except InputError as error:
                refused += bool(error.hint)
    assert refused > 200


def test_labels_where_they_make_no_sense(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", [1, 2])
    with pytest.raises(InputError, match="random inputs"):
        with_labels(model(), LoadedInputs((np.zeros((2, 1, 3), np.int8),), ("x",), True), path, False)
    with pytest.raises(InputError, match="labels already"):
        with_labels(model(), LoadedInputs((np.zeros((2, 1, 3), np.int8),), ("x",), False, (0, 1)), path, False)
    with pytest.raises(InputError, match="cannot open the labels"):
        with_labels(model(), samples(2), tmp_path / "missing.npy", False)
    with pytest.raises(InputError, match="cannot open the labels|not a file"):
        (tmp_path / "folder.txt").mkdir()
        with_labels(model(), samples(2), tmp_path / "folder.txt", False)


@pytest.mark.parametrize(("label", "output"), [(4, (1, 4)), (-1, (1, 4)), (4, (1, 1, 1, 4)), (-1, (1,))])
def test_a_class_that_the_model_does_not_have(label: int, output: tuple[int, ...]) -> None:
    dtype = "int64" if output == (1,) else "int8"
    check_scores(model(output=output, dtype=dtype), [0, 3])
    with pytest.raises(InputError, match=f"no class {label}"):
        check_scores(model(output=output, dtype=dtype), [0, label])


@pytest.mark.parametrize("shape", [(1, 1), (1, 4, 4), (4,), (1, 2, 2, 3)])
def test_an_output_that_is_no_scores(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="one score per class"):
        check_scores(model(output=shape), [0])


def test_predicted_classes() -> None:
    scores = np.array([[[1, 5, 5], [7, 0, 1]], [[0, 0, 1], [2, 3, 1]]], np.int8)
    np.testing.assert_array_equal(predicted([scores], "output"), [1, 0, 2, 1])
    np.testing.assert_array_equal(predicted([scores[:, :1, None]], "output"), [1, 2])
    np.testing.assert_array_equal(predicted([np.array([[1], [0]])], "argmax"), [1, 0])
    np.testing.assert_array_equal(predicted([np.array([[1], [0]], np.int32)], "output"), [1, 0])
    assert predicted([scores, scores], "output") is None
    assert predicted([scores[:, :1, :1]], "output") is None
    found = accuracy(np.array([1, 0, 2, 1]), (1, 1, 2))
    assert (found.right, found.labelled, found.top1) == (2, 3, 2 / 3)


def digit_folder(folder: Path, count: int) -> Path:
    """Two real digits as images in folders of their own, the second in two sizes."""
    with np.load(INPUTS) as bundled:
        for digit in range(10):
            (folder / f"{digit} digit").mkdir(parents=True)
            image = Image.fromarray((bundled["in0"][digit, :, :, 0].astype(int) + 128).astype(np.uint8))
            for copy in range(count):
                image.resize((28 * (copy + 1), 28 * (copy + 1))).save(folder / f"{digit} digit" / f"{copy}.png")
    return folder


def test_a_folder_of_classes_is_samples_with_labels_from_every_class_in_turn(tmp_path: Path) -> None:
    from mpc_bridge.importers.tflite import load

    folder = digit_folder(tmp_path / "digits", 2)
    (folder / ".hidden").mkdir()
    (folder / "7 digit" / ".hidden").touch()
    (folder / "3 digit" / "1.png").unlink()
    circuit = load(MODEL)
    loaded = load_inputs(circuit, [folder], None)
    assert loaded.labels == (*range(10), 0, 1, 2, 4, 5, 6, 7, 8, 9)
    with np.load(INPUTS) as bundled:
        np.testing.assert_array_equal(loaded.arrays[0][:10, 0], bundled["in0"])
    assert loaded.arrays[0].shape == (19, 1, 28, 28, 1) and loaded.arrays[0].dtype == np.int8
    for words in ("digits, 19 images", "pixel - 128", "resized", "0 0 digit, 1 1 digit", "9 9 digit"):
        assert words in loaded.notes[0]
    few = load_inputs(circuit, [folder], 4)
    assert few.labels == (0, 1, 2, 3) and "resized" not in few.notes[0]
    with pytest.raises(InputError, match="20 samples asked, 19 given"):
        load_inputs(circuit, [folder], 20)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: (folder / "empty").mkdir(), "class without images"),
        (lambda folder: (folder / "0 digit" / "notes.txt").touch(), "not an image"),
        (lambda folder: (folder / "0 digit" / "nested").mkdir(), "not an image"),
        (lambda folder: (folder / "stray.png").touch(), "not one of labelled images"),
        (lambda folder: (folder / "0 digit" / "0.png").write_bytes(b"nothing"), "damaged"),
    ],
    ids=["empty", "text", "nested", "stray", "damaged"],
)
def test_folders_that_are_refused(tmp_path: Path, make: object, words: str) -> None:
    from mpc_bridge.importers.tflite import load

    folder = digit_folder(tmp_path / "digits", 1)
    make(folder)  # type: ignore[operator]
    with pytest.raises(InputError, match=words) as caught:
        load_inputs(load(MODEL), [folder], None)
    assert "digits" in caught.value.where and caught.value.hint
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="not one of labelled images"):
        load_inputs(load(MODEL), [tmp_path / "none"], None)


@pytest.mark.parametrize(
    ("scale", "zero_point", "dtype", "expected"),
    [
        (1 / 255, 0, "uint8", [0.0, 0.2, 1.0]),
        (1 / 255, -128, "int8", [0.0, 0.2, 1.0]),
        (2 / 255, 128, "uint8", [-1.0, -0.6, 1.0]),
        (1.0, 0, "uint8", [0.0, 51.0, 255.0]),
        (0.0186, 114, "uint8", None),
    ],
)
def test_float_models_take_images_where_their_first_quantize_says_the_range(
    tmp_path: Path, scale: float, zero_point: int, dtype: str, expected: list[float] | None
) -> None:
    tensors = (Tensor("x", (1, 3, 1, 3), "float32"),
               Tensor("q", (1, 3, 1, 3), dtype, Quantization((float(np.float32(scale)),), (zero_point,))))
    rule = {"requantization": ("float32_divide", (scale,), 0, 255)}
    circuit = Circuit("m", "pytorch", "pytorch", tensors, (Op("QUANTIZE", "q", (0,), (1,), rule),), (0,), (1,))
    Image.fromarray(np.array([[[0, 51, 255]] * 3], np.uint8).transpose(0, 2, 1).copy()).save(tmp_path / "x.png")
    if expected is None:
        with pytest.raises(InputError, match="does not say how pixels"):
            load_inputs(circuit, [tmp_path / "x.png"], None)
        return
    loaded = load_inputs(circuit, [tmp_path / "x.png"], None)
    assert loaded.arrays[0].dtype == np.float32 and loaded.arrays[0].shape == (1, 1, 3, 1, 3)
    np.testing.assert_array_equal(loaded.arrays[0][0, 0, 0, 0], np.array(expected, np.float32))


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mpc_bridge", *map(str, arguments)], cwd=folder,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def test_eval_prints_and_reports_top_1(tmp_path: Path, installed: None) -> None:
    write(tmp_path / "labels.csv", [0, 1, 2, 3, 4, 5, 6, 7, 8, 0])
    done = run(tmp_path, "eval", MODEL, "--input", INPUTS, "--labels", "labels.csv", "--backend", "plaintext")
    assert done.returncode == 0 and "top-1   9 of 10 right, 90.00%" in done.stdout, done.stderr
    assert done.stdout.count("wrong") == 1
    done = run(tmp_path, "eval", MODEL, "--input", INPUTS, "--labels", "labels.csv", "--samples", 2, "--json",
               "--reveal", "argmax", "--security", "semi-honest")
    assert json.loads(done.stdout)["accuracy"] == {"top1": 1.0, "right": 2, "labelled": 2}
    unlabelled = run(tmp_path, "eval", MODEL, "--input", INPUTS, "--samples", 1, "--backend", "plaintext", "--json")
    assert json.loads(unlabelled.stdout)["accuracy"] is None


def test_eval_of_a_labelled_folder(tmp_path: Path, installed: None) -> None:
    digit_folder(tmp_path / "digits", 1)
    done = run(tmp_path, "eval", MODEL, "--input", "digits", "--security", "malicious")
    assert done.returncode == 0 and "top-1   10 of 10 right, 100.00%" in done.stdout, done.stderr
    assert "digits, 10 images, grey, pixel - 128; classes: 0 0 digit" in done.stdout


def test_eval_refuses_labels_before_any_party_starts(tmp_path: Path, installed: None) -> None:
    write(tmp_path / "labels.txt", [10])
    done = run(tmp_path, "eval", MODEL, "--input", INPUTS, "--samples", 1, "--labels", "labels.txt")
    assert done.returncode == 2 and done.stdout == "" and "classes are 0 to 9" in done.stderr
    done = run(tmp_path, "eval", MODEL, "--labels", "labels.txt")
    assert done.returncode == 2 and "random inputs" in done.stderr
