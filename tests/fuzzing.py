"""Mutation fuzzing of file readers: seeded mutations of small good files, under limits on memory and time.

Run for longer than the tests do: ``python -m tests.fuzzing tflite SEED COUNT``. An input that breaks one is written
to the current folder; after the fix it belongs into ``tests/corpus``.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from mpc_bridge import circuit as circuits
from mpc_bridge.circuit import Circuit
from mpc_bridge.errors import ModelFormatError, UnsupportedModelError
from mpc_bridge.importers import tflite
from tests.conftest import vector_names, vectors_root
from tests.models import oneop

#: Address space of a fuzzing process beyond what it has when it starts.
MEMORY_LIMIT = 512 * 2**20
#: Seconds for one input. The slowest good seed takes a few milliseconds.
TIME_LIMIT = 5
#: Real models up to this size are seeds too.
SEED_BYTES = 128 * 1024

_WORDS = (0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 4, 2**32 - 8)


def tflite_seeds() -> list[bytes]:
    """One file per op and attribute corner, and the small real models where they are present."""
    seeds = [data for _, data in oneop.cases()]
    for name in vector_names():
        data = (vectors_root() / name / "model.tflite").read_bytes()
        if len(data) <= SEED_BYTES:
            seeds.append(data)
    return seeds


def circuit_seeds() -> list[bytes]:
    """The ``.circuit`` files of the same models."""
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for data in tflite_seeds():
            path = Path(folder) / "a.circuit"
            circuits.save(tflite.load(data), path)
            seeds.append(path.read_bytes())
    return seeds


def json_seeds() -> list[bytes]:
    """Their public parts."""
    return [circuits.to_json(tflite.load(data)).encode() for data in tflite_seeds()]


READERS: dict[str, tuple[Callable[[], list[bytes]], Callable[[bytes], Circuit]]] = {
    "tflite": (tflite_seeds, tflite.load),
    "circuit": (circuit_seeds, circuits.load),
    "json": (json_seeds, circuits.from_json),
}


def mutate(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """One to sixteen changes: bits, bytes, words, offsets, truncation, and pieces from here or from ``other``."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        size = len(changed)
        if size < 16:
            break
        kind = rng.randrange(9)
        word = rng.randrange(0, size - 4) & ~3
        if kind == 0:
            changed[rng.randrange(size)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[rng.randrange(size)] = rng.randrange(256)
        elif kind == 2:
            changed[word : word + 4] = rng.choice(_WORDS).to_bytes(4, "little")
        elif kind == 3:
            value = int.from_bytes(changed[word : word + 4], "little") + rng.choice((-64, -8, -4, -1, 1, 4, 8, 64))
            changed[word : word + 4] = (value % 2**32).to_bytes(4, "little")
        elif kind == 4:
            # a reference from anywhere to anywhere
            changed[word : word + 4] = ((rng.randrange(size) - word) % 2**32).to_bytes(4, "little")
        elif kind == 5:
            half = rng.randrange(0, size - 2) & ~1
            changed[half : half + 2] = rng.choice((0, 1, 4, 6, 8, 12, 65535)).to_bytes(2, "little")
        elif kind == 6:
            source, target, length = rng.randrange(size), rng.randrange(size), rng.randrange(1, 64)
            changed[target : target + length] = changed[source : source + length]
        elif kind == 7:
            source, target, length = rng.randrange(len(other)), rng.randrange(size), rng.randrange(1, 256)
            changed[target : target + length] = other[source : source + length]
        elif rng.random() < 0.2:
            del changed[rng.randrange(8, size) :]
    return bytes(changed)


def outcome(read: Callable[[bytes], Circuit], data: bytes) -> str:
    """What a reader makes of a file: ``"circuit"``, or the name of one of the two errors it may raise."""
    try:
        circuit = read(data)
    except (ModelFormatError, UnsupportedModelError) as error:
        assert error.what and error.where and error.hint
        assert all(line.isprintable() for line in str(error).split("\n")), "a name from the file reaches the terminal"
        return type(error).__name__
    circuits.verify(circuit)
    assert circuits.from_json(circuits.to_json(circuit)) == circuit
    return "circuit"


def _expired(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"one input took more than {TIME_LIMIT} s")


def main(reader: str, seed: int, count: int) -> None:
    """Read ``count`` mutated files and print how often each outcome was seen, as JSON."""
    make, read = READERS[reader]
    seeds = make()
    rng = random.Random(seed)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_LIMIT, used + MEMORY_LIMIT))
    signal.signal(signal.SIGALRM, _expired)
    seen: Counter[str] = Counter()
    for _ in range(count):
        data = mutate(rng.choice(seeds), rng, rng.choice(seeds))
        signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT)
        try:
            seen[outcome(read, data)] += 1
        except BaseException:
            Path(f"broken-{seed}.{reader}").write_bytes(data)
            raise
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
