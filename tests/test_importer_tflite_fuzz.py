"""Hostile files: whatever the bytes, the result is a verified circuit or a typed error, in bounded time and memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
import tflite
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc_bridge.errors import ModelFormatError
from mpc_bridge.importers.tflite import load
from tests import fuzzing

CORPUS = sorted(path for path in (Path(__file__).parent / "corpus").iterdir() if path.suffix != ".md")
SEEDS = fuzzing.tflite_seeds()


@pytest.mark.parametrize("reader, count", [("tflite", 12_000), ("circuit", 4_000), ("json", 4_000)])
def test_mutated_files(reader: str, count: int, tmp_path: Path) -> None:
    """Thousands of mutations in a process of its own, under a memory limit and a time limit per file."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzzing", reader, "1", str(count)],
        cwd=tmp_path,
        env={
            "PYTHONPATH": ":".join([str(Path(__file__).parent.parent), *filter(None, sys.path)]),
            "OPENBLAS_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert sum(seen.values()) == count
    # mutations that nothing or everything survives would test nothing
    assert seen["circuit"] > count // 100 and seen["ModelFormatError"] > count // 10


@settings(max_examples=300, deadline=2000)
@given(seed=st.sampled_from(SEEDS), other=st.sampled_from(SEEDS), choices=st.randoms(use_true_random=False))
def test_any_mutation(seed: bytes, other: bytes, choices: random.Random) -> None:
    fuzzing.outcome(load, fuzzing.mutate(seed, choices, other))


@settings(max_examples=200, deadline=2000)
@given(st.binary(max_size=512))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(ModelFormatError):
        load(data)
    fuzzing.outcome(load, data[:4] + b"TFL3" + data[4:])


@pytest.mark.parametrize("size", range(0, 64))
def test_every_short_truncation(size: int) -> None:
    with pytest.raises(ModelFormatError):
        load(SEEDS[0][:size])


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_files_that_once_broke_a_reader(path: Path) -> None:
    _, read = fuzzing.READERS[path.suffix[1:]]
    fuzzing.outcome(read, path.read_bytes())


def _overlapping_operators(count: int, operands: int) -> bytes:
    """``count`` operators that share one vector of ``operands`` inputs."""
    builder = flatbuffers.Builder(1024)
    shared = builder.CreateNumpyVector(np.zeros(operands, np.int32))
    tables = []
    for _ in range(count):
        tflite.OperatorStart(builder)
        tflite.OperatorAddInputs(builder, shared)
        tflite.OperatorAddOutputs(builder, shared)
        tables.append(tflite.OperatorEnd(builder))
    return _finish(builder, tables, [])


def _overlapping_buffers(count: int, size: int) -> bytes:
    """``count`` ADDs whose constants are as many tensors, all of one buffer."""
    builder = flatbuffers.Builder(1024)
    data = builder.CreateNumpyVector(np.zeros(size, np.uint8))
    scale = builder.CreateNumpyVector(np.array([0.5], np.float32))
    shape = builder.CreateNumpyVector(np.array([size], np.int32))
    tflite.AddOptionsStart(builder)
    options = tflite.AddOptionsEnd(builder)
    tflite.QuantizationParametersStart(builder)
    tflite.QuantizationParametersAddScale(builder, scale)
    quantization = tflite.QuantizationParametersEnd(builder)
    tflite.BufferStart(builder)
    empty = tflite.BufferEnd(builder)
    tflite.BufferStart(builder)
    tflite.BufferAddData(builder, data)
    full = tflite.BufferEnd(builder)
    tensors, operators = [], []
    for index in range(2 * count + 1):
        tflite.TensorStart(builder)
        tflite.TensorAddShape(builder, shape)
        tflite.TensorAddType(builder, tflite.TensorType.INT8)
        tflite.TensorAddQuantization(builder, quantization)
        tflite.TensorAddBuffer(builder, 1 if 0 < index <= count else 0)
        tensors.append(tflite.TensorEnd(builder))
    for index in range(count):
        inputs = builder.CreateNumpyVector(np.array([0, index + 1], np.int32))
        outputs = builder.CreateNumpyVector(np.array([count + 1 + index], np.int32))
        tflite.OperatorStart(builder)
        tflite.OperatorAddInputs(builder, inputs)
        tflite.OperatorAddOutputs(builder, outputs)
        tflite.OperatorAddBuiltinOptionsType(builder, tflite.BuiltinOptions.AddOptions)
        tflite.OperatorAddBuiltinOptions(builder, options)
        operators.append(tflite.OperatorEnd(builder))
    return _finish(builder, operators, tensors, [empty, full])


def _finish(
    builder: flatbuffers.Builder, operators: list[int], tensors: list[int], buffers: list[int] | None = None
) -> bytes:
    def vector(items: list[int]) -> int:
        builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            builder.PrependUOffsetTRelative(item)
        return int(builder.EndVector())

    if not tensors:
        tflite.TensorStart(builder)
        tensors = [tflite.TensorEnd(builder)]
    tensor_vector, operator_vector = vector(tensors), vector(operators)
    interface = builder.CreateNumpyVector(np.zeros(1, np.int32))
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensor_vector)
    tflite.SubGraphAddOperators(builder, operator_vector)
    tflite.SubGraphAddInputs(builder, interface)
    tflite.SubGraphAddOutputs(builder, interface)
    graph = vector([tflite.SubGraphEnd(builder)])
    tflite.OperatorCodeStart(builder)
    code = vector([tflite.OperatorCodeEnd(builder)])
    buffer_vector = vector(buffers or [])
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, code)
    tflite.ModelAddSubgraphs(builder, graph)
    tflite.ModelAddBuffers(builder, buffer_vector)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    "make, count, size",
    [(_overlapping_operators, 20_000, 4000), (_overlapping_buffers, 200, 1_000_000)],
    ids=["operators", "buffers"],
)
def test_a_small_file_cannot_ask_for_much(make: Callable[[int, int], bytes], count: int, size: int) -> None:
    """Its vectors, read separately, would fill more than 100 MB from a few."""
    data = make(count, size)
    assert len(data) < 2_000_000
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(ModelFormatError, match="overlap"):
        load(data)
    elapsed = time.perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert elapsed < 10 and peak < 64 * 2**20


def test_a_few_shared_buffers_are_fine() -> None:
    circuit = load(_overlapping_buffers(4, 1000))
    assert len(circuit.constants) == 4
