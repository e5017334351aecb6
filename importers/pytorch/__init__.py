"""PyTorch importer: statically quantized models, as ``torch.export.save`` writes them (``.pt2``), read without torch.

TorchScript files of FX and eager quantization are read with torch, and only for those who trust them: loading one runs
what it says.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

from mpc_bridge.errors import UsageError
from mpc_bridge.importers.base import printable, read_model_file
from mpc_bridge.importers.pytorch import refusals
from mpc_bridge.importers.pytorch.exported import read_program
from mpc_bridge.importers.pytorch.translate import translate
from mpc_bridge.importers.qdq.graph import Graph

#: ``pytorch``: float bias at product scale (fbgemm, onednn, and PT2E as it runs in PyTorch). ``qnnpack``: int32 bias.
PROFILES = ("pytorch", "qnnpack")


def read(data: bytes, name: str = "model", profile: str = "pytorch", source: str = "") -> Graph:
    """The neutral graph of a ``.pt2`` file."""
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}", hint=f"PyTorch models have: {', '.join(PROFILES)}")
    source = source or name
    if data[:4] != b"PK\x03\x04":
        raise refusals.not_a_zip(data, source)
    program = read_program(data, source)
    return translate(program, printable(name, "model"), profile, hashlib.sha256(data).hexdigest())
