"""The MAC machine's entry into the native library: MACs of a circuit's wires, one word per wire and lane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels.buffers import WORD_MASK, Arguments, ByteArray, RingArray, size_error
from mpc_bridge.kernels.prf import KEY_BYTES


class MacMachine(Arguments):
    """The part of a device that runs boolean circuits on MACs."""

    def __init__(self) -> None:
        super().__init__()
        self._mac_code_type = self._ffi.typeof("int32_t[]")

    def macs_run(
        self,
        lanes: int,
        code: npt.NDArray[np.int32],
        registers: tuple[int, int],
        key: bytes,
        domain: int,
        delta: int,
        planes: Sequence[ByteArray],
        rows: Sequence[RingArray],
        out: Sequence[RingArray],
    ) -> None:
        """Run MAC code ``[instructions, 4]``; see ``mpcb_macs_run``.

        Args:
            registers: how many word registers, how many bit registers.
            key, domain: of the pads; nothing else uses this domain of the key.
            delta: what one adds to a MAC share where the bit is public.
            planes: public planes, ``ceil(lanes / 8)`` bytes each.
            rows, out: ``lanes`` words each.
        """
        if code.dtype != np.int32:
            raise KernelError(f"macs_run: code is int32, not {code.dtype}")
        for plane in planes:
            if plane.size != (lanes + 7) // 8:
                raise size_error("macs_run", "a plane", plane.size, (lanes + 7) // 8)
        for row in (*rows, *out):
            if row.size != lanes:
                raise size_error("macs_run", "a row", row.size, lanes)
        # the pointers keep nothing alive: the caller's own references do
        status = self._lib.mpcb_macs_run(
            self._ffi.new("uint8_t *[]", [self._bytes(plane) for plane in planes]),
            len(planes),
            lanes,
            self._from_buffer(self._mac_code_type, code),
            code.shape[0],
            *registers,
            self._key(key),
            domain,
            delta,
            self._ffi.new("uint64_t *[]", [self._ring(row) for row in rows]),
            len(rows),
            self._ffi.new("uint64_t *[]", [self._ring(row, True) for row in out]),
            len(out),
        )
        self._check(status, "macs_run")

    def macs_deal(self, planes: ByteArray, lanes: int, delta: int, keys: bytes, domain: int) -> RingArray:
        """``[rows, lanes]``: ``delta`` where a bit of planes ``[rows, stride]`` is set, less all keys' pads."""
        if planes.ndim != 2 or len(keys) % KEY_BYTES:
            raise KernelError("macs_deal: planes are [rows, stride], keys have 16 bytes each")
        out = np.empty((planes.shape[0], lanes), np.uint64)
        status = self._lib.mpcb_macs_deal(
            self._bytes(planes),
            planes.shape[1],
            planes.shape[0],
            lanes,
            delta & WORD_MASK,
            keys,
            len(keys) // KEY_BYTES,
            domain,
            self._ring(out, True),
        )
        self._check(status, "macs_deal")
        return out
