"""Input files: every format, the stated conversion rules, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpc_bridge.circuit.graph import Circuit, Quantization, Tensor
from mpc_bridge.cli.inputs import load_inputs
from mpc_bridge.errors import InputError


def model(*tensors: Tensor) -> Circuit:
    return Circuit("m", "tflite", "litert", tensors, (), tuple(range(len(tensors))), ())


def image_input(dtype: str = "int8", scale: float = 1 / 255, zero_point: int = -128, channels: int = 1) -> Tensor:
    return Tensor("x", (1, 4, 6, channels), dtype, Quantization((scale,), (zero_point,)))


PIXELS = (np.arange(24, dtype=np.uint8) * 11).reshape(4, 6)


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "offset"),
    [
        ("uint8", 0.0078125, 128, 0),
        ("uint8", 0.3, 7, 0),
        ("int8", 1 / 255, -128, -128),
        ("int8", 1.0, -128, -128),
        ("int8", 0.007843137718737125, -1, -128),
        ("int8", 2 / 255, 0, -128),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_image_pixels(tmp_path: Path, suffix: str, dtype: str, scale: float, zero_point: int, offset: int) -> None:
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(PIXELS).save(path)
    loaded = load_inputs(model(image_input(dtype, scale, zero_point)), [path], None)
    assert loaded.arrays[0].dtype == dtype and loaded.arrays[0].shape == (1, 1, 4, 6, 1)
    np.testing.assert_array_equal(loaded.arrays[0][0, 0, :, :, 0], PIXELS.astype(int) + offset)
    assert ("raw pixels" if dtype == "uint8" else "pixel - 128") in loaded.notes[0]
    assert "resized" not in loaded.notes[0] and not loaded.random


def test_jpeg_is_read_resized_and_made_grey(tmp_path: Path) -> None:
    path = tmp_path / "x.JPG"
    Image.new("RGB", (60, 40), (200, 200, 200)).save(path, format="JPEG")
    loaded = load_inputs(model(image_input("uint8")), [path], None)
    assert np.abs(loaded.arrays[0].astype(int) - 200).max() <= 2
    assert "resized from 60x40 to 6x4" in loaded.notes[0] and "grey" in loaded.notes[0]


def test_colour_channels_last_and_first(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    colours = np.stack([PIXELS, PIXELS[::-1], PIXELS[:, ::-1]], axis=-1)
    Image.fromarray(colours).save(path)
    last = load_inputs(model(image_input("uint8", channels=3)), [path], None).arrays[0]
    np.testing.assert_array_equal(last[0, 0], colours)
    first = load_inputs(model(Tensor("x", (1, 3, 4, 6), "uint8")), [path], None).arrays[0]
    np.testing.assert_array_equal(first[0, 0], colours.transpose(2, 0, 1))


def test_image_needs_a_known_normalisation_and_an_image_shape(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(PIXELS).save(path)
    with pytest.raises(InputError, match="does not say how pixels"):
        load_inputs(model(image_input("int8", 0.0187, -14)), [path], None)
    with pytest.raises(InputError, match="does not say how pixels"):
        load_inputs(model(Tensor("x", (1, 4, 6, 1), "float32")), [path], None)
    with pytest.raises(InputError, match="not one image"):
        load_inputs(model(Tensor("x", (1, 640), "int8")), [path], None)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_damaged_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load_inputs(model(image_input()), [path], None)


def test_an_image_in_another_format_than_its_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(PIXELS).save(path, format="GIF")
    with pytest.raises(InputError, match="not what its name says"):
        load_inputs(model(image_input()), [path], None)


@pytest.mark.parametrize(
    ("given", "batch", "samples"),
    [
        ((5, 1, 3), 1, 5),
        ((5, 3), 1, 5),
        ((1, 3), 1, 1),
        ((3,), 1, 1),
        ((5, 2, 3), 2, 5),
        ((2, 3), 2, 1),
        ((5, 3), 2, 3),
    ],
)
def test_sample_axis(tmp_path: Path, given: tuple[int, ...], batch: int, samples: int) -> None:
    array = np.arange(np.prod(given)).reshape(given).astype(np.int8)
    loaded = load_inputs(model(Tensor("x", (batch, 3), "int8")), [save(tmp_path / "x.npy", array)], None)
    assert loaded.arrays[0].shape == (samples, batch, 3) and loaded.samples == samples
    rows = loaded.arrays[0].reshape(-1, 3)
    expected = array.reshape(-1, 3)
    np.testing.assert_array_equal(rows[: len(expected)], expected)
    np.testing.assert_array_equal(rows[len(expected) :], np.repeat(expected[-1:], len(rows) - len(expected), axis=0))


def test_samples_takes_the_first(tmp_path: Path) -> None:
    array = np.arange(15, dtype=np.int8).reshape(5, 3)
    path = save(tmp_path / "x.npy", array)
    circuit = model(Tensor("x", (1, 3), "int8"))
    np.testing.assert_array_equal(load_inputs(circuit, [path], 2).arrays[0].reshape(2, 3), array[:2])
    with pytest.raises(InputError, match="6 samples asked, 5 given"):
        load_inputs(circuit, [path], 6)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (2, 2, 3), (0, 3), (0, 1, 3), ()])
def test_wrong_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save(tmp_path / "x.npy", np.zeros(shape, np.int8))
    with pytest.raises(InputError, match="shape is not the model's|holds no sample"):
        load_inputs(model(Tensor("x", (1, 3), "int8")), [path], None)


def test_float_arrays_are_quantized_half_away_from_zero(tmp_path: Path) -> None:
    tensor = Tensor("x", (1, 7), "int8", Quantization((0.5,), (3,)))
    path = save(tmp_path / "x.npy", np.array([0.0, 0.25, -0.25, 0.2, 0.75, 1000.0, -1000.0]))
    loaded = load_inputs(model(tensor), [path], None)
    np.testing.assert_array_equal(loaded.arrays[0].ravel(), [3, 4, 2, 3, 5, 127, -128])
    assert "quantized" in loaded.notes[0]
    bad = save(tmp_path / "bad.npy", np.full(7, np.nan))
    with pytest.raises(InputError, match="NaN"):
        load_inputs(model(tensor), [bad], None)


def test_integer_dtypes(tmp_path: Path) -> None:
    circuit = model(Tensor("x", (1, 3), "int8"))
    wide = save(tmp_path / "wide.npy", np.array([-128, 0, 127], np.int64))
    np.testing.assert_array_equal(load_inputs(circuit, [wide], None).arrays[0].ravel(), [-128, 0, 127])
    outside = save(tmp_path / "outside.npy", np.array([-129, 0, 127], np.int64))
    with pytest.raises(InputError, match="outside the model's type"):
        load_inputs(circuit, [outside], None)
    pixels = save(tmp_path / "pixels.npy", np.array([1, 2, 3], np.uint8))
    with pytest.raises(InputError, match="integers are not the model's"):
        load_inputs(circuit, [pixels], None)


def test_float_model_input(tmp_path: Path) -> None:
    circuit = model(Tensor("x", (1, 2), "float32"))
    exact = save(tmp_path / "exact.npy", np.array([0.5, 2.0]))
    assert load_inputs(circuit, [exact], None).arrays[0].dtype == np.float32
    inexact = save(tmp_path / "inexact.npy", np.array([0.1, 2.0]))
    with pytest.raises(InputError, match="not exact in float32"):
        load_inputs(circuit, [inexact], None)


def test_npz_by_name_or_alone(tmp_path: Path) -> None:
    one, two = Tensor("a", (1, 2), "int8"), Tensor("b", (1, 3), "int8")
    a, b = np.ones((4, 2), np.int8), np.zeros((4, 3), np.int8)
    both = tmp_path / "both.npz"
    np.savez(both, in0=a, in1=b)
    loaded = load_inputs(model(one, two), [both], None)
    assert [array.shape for array in loaded.arrays] == [(4, 1, 2), (4, 1, 3)]
    alone = tmp_path / "alone.npz"
    np.savez(alone, anything=a)
    assert load_inputs(model(one), [alone], None).samples == 4
    with pytest.raises(InputError, match="no array called in1"):
        np.savez(tmp_path / "half.npz", in0=a, other=b)
        load_inputs(model(one, two), [tmp_path / "half.npz"], None)
    with pytest.raises(InputError, match="different numbers of samples"):
        load_inputs(model(one, two), [save(tmp_path / "a.npy", a[:3]), save(tmp_path / "b.npy", b)], None)
    with pytest.raises(InputError, match=r"2 input\(s\), 1 given"):
        load_inputs(model(one, two), [tmp_path / "a.npy"], None)


def test_pickles_and_damaged_arrays_are_refused(tmp_path: Path) -> None:
    circuit = model(Tensor("x", (1, 3), "int8"))
    pickled = tmp_path / "pickled.npy"
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    whole = save(tmp_path / "whole.npy", np.zeros(3, np.int8)).read_bytes()
    cut = tmp_path / "cut.npy"
    cut.write_bytes(whole[:-1])
    huge = tmp_path / "huge.npy"
    huge.write_bytes(whole.replace(b"(3,), ", b"(1" + b"0" * 17 + b",), ")[: len(whole)])
    archive = tmp_path / "archive.npz"
    archive.write_bytes(b"PK\x03\x04 nothing of the kind")
    text = save(tmp_path / "text.npy", np.array(["a"]))
    for path in (pickled, cut, huge, archive, text):
        with pytest.raises(InputError):
            load_inputs(circuit, [path], None)


@pytest.mark.parametrize("name", ["missing.npy", "missing.npz", "missing.png", "wrong.txt", "nosuffix"])
def test_missing_files_and_unknown_suffixes_name_the_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        load_inputs(model(Tensor("x", (1, 3), "int8")), [tmp_path / name], None)
    assert name in caught.value.where and caught.value.hint


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64", "float32"])
def test_random_inputs_fill_the_type_and_say_so(dtype: str) -> None:
    loaded = load_inputs(model(Tensor("x", (1, 500), dtype)), [], 4)
    assert loaded.random and "random" in loaded.notes[0]
    assert loaded.arrays[0].shape == (4, 1, 500) and loaded.arrays[0].dtype == dtype
    assert len(np.unique(loaded.arrays[0])) > 200
    if dtype == "float32":
        assert loaded.arrays[0].min() < -0.9 and loaded.arrays[0].max() > 0.9
