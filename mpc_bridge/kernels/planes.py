"""The bit-plane machine's entry into the native library: microcode on planes of bits, one lane per bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels.buffers import Arguments, ByteArray
from mpc_bridge.kernels.prf import KEY_BYTES


class PlaneMachine(Arguments):
    """The part of a device that runs boolean circuits."""

    def __init__(self) -> None:
        super().__init__()
        self._code_type = self._ffi.typeof("int32_t[]")

    def planes_run(
        self,
        planes: ByteArray,
        plane_bytes: int,
        code: npt.NDArray[np.int32],
        keys: bytes,
        domain: int,
        incoming: ByteArray,
        outgoing: ByteArray,
    ) -> None:
        """Run microcode ``[instructions, 4]`` on registers ``[registers, stride]``, in place; see ``mpcb_planes_run``.

        Args:
            plane_bytes: bytes of a plane in messages; ``incoming`` and ``outgoing`` hold whole planes.
            keys: 16 bytes per key slot.
            domain: PRF domain of all pads of this program; the stages of one program share it, nothing else does.
        """
        if planes.ndim != 2 or len(keys) % KEY_BYTES or code.dtype != np.int32:
            raise KernelError("planes_run: registers are [registers, stride], keys have 16 bytes each, code is int32")
        # a stage without messages passes empty buffers
        count = max(plane_bytes, 1)
        status = self._lib.mpcb_planes_run(
            self._bytes(planes, writable=True),
            planes.shape[0],
            planes.shape[1],
            plane_bytes,
            self._from_buffer(self._code_type, code),
            code.shape[0],
            keys,
            len(keys) // KEY_BYTES,
            domain,
            self._bytes(incoming),
            incoming.size // count,
            self._bytes(outgoing, writable=True),
            outgoing.size // count,
        )
        self._check(status, "planes_run")

    def planes_load(self, rows: ByteArray, planes: ByteArray, plane_bytes: int) -> None:
        """Planes that lie one after the other, ``plane_bytes`` each, into registers ``[count, stride]``."""
        if planes.ndim != 2 or rows.size != planes.shape[0] * plane_bytes or plane_bytes > planes.shape[1]:
            raise KernelError("planes_load: the planes do not fit the registers")
        planes[:, :plane_bytes] = rows.reshape(-1, plane_bytes)

    def planes_save(self, planes: ByteArray, plane_bytes: int) -> ByteArray:
        """A copy of registers ``[count, stride]``: planes one after the other, ``plane_bytes`` each."""
        if planes.ndim != 2 or plane_bytes > planes.shape[1]:
            raise KernelError("planes_save: the planes are longer than the registers")
        return np.array(planes[:, :plane_bytes], order="C").reshape(-1)
