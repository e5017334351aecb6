"""A device that computes one thing wrongly, whichever it is: its party goes on with that, and sends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mpc_bridge.backends.sharing.shares import DeviceBuffer
from mpc_bridge.kernels import Device

#: Everything a device computes: its public methods but the two that only reserve memory.
COMPUTES = frozenset(
    name for name in dir(Device) if not name.startswith("_") and callable(getattr(Device, name))
) - {"empty", "zeros"}


@dataclass(frozen=True)
class Fault:
    """Call number ``call`` of a method, counted from 0."""

    method: str
    call: int


class FaultyDevice(Device):
    """Flips one bit of the result of one call.

    Attributes:
        calls: of each method so far.
    """

    def __init__(self, fault: Fault | None = None) -> None:
        super().__init__()
        self._fault = fault
        self.calls: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return partial(self._compute, name, value) if name in COMPUTES else value

    def _compute(self, name: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        result = method(*arguments, **options)
        number = self.calls[name]
        self.calls[name] = number + 1
        if self._fault == Fault(name, number):
            _spoil(result if name != "planes_run" else _registers(arguments, number))
        return result


def _registers(arguments: Sequence[Any], number: int) -> DeviceBuffer:
    """A register or a message, whichever is this call's turn."""
    planes, outgoing = arguments[0], arguments[6]
    row: DeviceBuffer = outgoing if number % 2 and len(outgoing) else planes[number * 7 % len(planes)]
    return row


def _spoil(result: Any) -> None:
    for array in result if isinstance(result, tuple) else (result,):
        if isinstance(array, np.ndarray) and array.size:
            array.flat[0] ^= array.dtype.type(1)
            return
