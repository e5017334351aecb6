"""Shared fixtures: where the real models are, and a cap on native threads so that parallel workers do not fight."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

# Before numpy loads: one worker per core is already parallel.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# A busy machine is slow, not wrong.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

REPOSITORY = Path(__file__).resolve().parent.parent


def vectors_root() -> Path:
    """Folder of the real models: ``MPC_BRIDGE_VECTORS``, or ``shared/vectors`` beside the clone."""
    return Path(os.environ.get("MPC_BRIDGE_VECTORS") or REPOSITORY.parent / "shared" / "vectors")


def vector_names() -> list[str]:
    """Names of the real models that are present, sorted; empty when the folder is absent.

    For ``pytest.mark.parametrize``: an empty list makes pytest skip the test and say so.
    """
    root = vectors_root()
    return sorted(path.parent.name for path in root.glob("*/model.tflite"))


@pytest.fixture(scope="session")
def installed() -> None:
    """Fails when no plugin can be found: what the package offers is looked up where it is installed."""
    if not entry_points(group="mpc_bridge.backends"):
        pytest.fail("mpc-bridge is not installed here, so no backend is found: run make test, or pip install -e .")


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Folder of the real models; skips the test when it is absent."""
    root = vectors_root()
    if not vector_names():
        pytest.skip(f"no real models in {root}; set MPC_BRIDGE_VECTORS to their folder")
    return root


@pytest.fixture(scope="session")
def vector(vectors: Path) -> Callable[[str], Path]:
    """``vector(name)``: folder of one real model; skips the test when that model is absent."""

    def find(name: str) -> Path:
        folder = vectors / name
        if not (folder / "model.tflite").is_file():
            pytest.skip(f"no model {name} in {vectors}")
        return folder

    return find
