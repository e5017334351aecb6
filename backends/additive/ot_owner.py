"""The owners' side where party 0 is the model's owner: it gets the weights as they are, party 1 none of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpc_bridge.backends.additive.ot_compile import LEFT
from mpc_bridge.backends.additive.owner import AdditiveOwner, explicit_size
from mpc_bridge.backends.base import IntArray
from mpc_bridge.lowering.program import Value


def in_the_clear(value: Value) -> bool:
    """Whether party 0 knows this value: the model's weights and biases, never a data owner's tensor."""
    return value.kind == "weight"


class ModelPartyOwner(AdditiveOwner):
    """As the base class, but for weights (``backends.base.Owner``)."""

    def __init__(self) -> None:
        super().__init__(parties=2)

    def share(self, value: Value, tensor: IntArray) -> Sequence[bytes]:
        if not in_the_clear(value):
            return super().share(value, tensor)
        if tuple(tensor.shape) != value.shape:
            raise ValueError(f"{value.name}: expected shape {value.shape}, got {tuple(tensor.shape)}")
        flat = np.ascontiguousarray(tensor.reshape(-1), dtype=np.int64)
        ring = self._device.pack_bits(flat.view(np.uint64), value.ring).tobytes() if value.ring else b""
        return [ring + (flat.astype(np.uint8).tobytes() if value.bits else b""), b""]

    def share_size(self, value: Value, party: int) -> int:
        if not in_the_clear(value):
            return super().share_size(value, party)
        return explicit_size(value) if party == LEFT else 0
