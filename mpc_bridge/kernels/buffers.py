"""How buffers become C pointers: types, sizes, and the window geometry as a C struct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mpc_bridge.errors import KernelError
from mpc_bridge.kernels.library import load
from mpc_bridge.kernels.prf import KEY_BYTES

RingArray = npt.NDArray[np.uint64]
ByteArray = npt.NDArray[np.uint8]
IndexArray = npt.NDArray[np.int64]

#: 2**64 - 1: public constants are reduced with it on their way to C
WORD_MASK = (1 << 64) - 1

_U64 = np.dtype(np.uint64)
_U8 = np.dtype(np.uint8)
_I64 = np.dtype(np.int64)
_PLANE_ALIGNMENT = 64


class WindowGeometry(Protocol):
    """What a kernel needs to know of a 2-D window; :class:`mpc_bridge.lowering.program.Geometry` is one."""

    @property
    def batch(self) -> int: ...
    @property
    def in_height(self) -> int: ...
    @property
    def in_width(self) -> int: ...
    @property
    def in_channels(self) -> int: ...
    @property
    def out_height(self) -> int: ...
    @property
    def out_width(self) -> int: ...
    @property
    def out_channels(self) -> int: ...
    @property
    def kernel(self) -> tuple[int, int]: ...
    @property
    def stride(self) -> tuple[int, int]: ...
    @property
    def dilation(self) -> tuple[int, int]: ...
    @property
    def pad_top(self) -> int: ...
    @property
    def pad_left(self) -> int: ...


def plane_stride(n: int) -> int:
    """Bytes of one bit-plane row of ``n`` elements: whole 64-byte lines."""
    return -(-n // (8 * _PLANE_ALIGNMENT)) * _PLANE_ALIGNMENT


def packed_bytes(n: int, k: int) -> int:
    """Bytes that ``n`` elements of ``k`` bits fill."""
    return (n * k + 7) // 8


def size_error(name: str, what: str, found: int, wanted: int) -> KernelError:
    """An argument whose size does not fit the others."""
    return KernelError(f"{name}: {what} has {found} elements, {wanted} are needed")


class Arguments:
    """Checks and converts the arguments of library calls. A pointer keeps its buffer alive only while it is held."""

    def __init__(self) -> None:
        self._ffi, self._lib = load()
        self._from_buffer = self._ffi.from_buffer
        self._ring_type = self._ffi.typeof("uint64_t[]")
        self._byte_type = self._ffi.typeof("uint8_t[]")
        self._index_type = self._ffi.typeof("int64_t[]")
        self._geometries: dict[WindowGeometry, Any] = {}

    def _check(self, status: int, name: str) -> None:
        if status:
            text = self._ffi.string(self._lib.mpcb_status_text(status)).decode()
            raise KernelError(f"{name}: {text}", where=f"status {status} of the kernel library")

    def _ring(self, array: npt.NDArray[Any], writable: bool = False) -> Any:
        if array.dtype != _U64:
            raise KernelError(f"a kernel needs ring elements (uint64), not {array.dtype}")
        try:
            return self._from_buffer(self._ring_type, array, writable)
        except (ValueError, BufferError) as error:
            raise _layout_error(error) from error

    def _bytes(self, array: npt.NDArray[Any], writable: bool = False) -> Any:
        if array.dtype != _U8:
            raise KernelError(f"a kernel needs bytes (uint8), not {array.dtype}")
        return self._raw(array, writable)

    def _raw(self, array: npt.NDArray[Any], writable: bool = False) -> Any:
        try:
            return self._from_buffer(self._byte_type, array, writable)
        except (ValueError, BufferError) as error:
            raise _layout_error(error) from error

    def _index(self, array: npt.NDArray[Any]) -> Any:
        if array.dtype != _I64:
            raise KernelError(f"a gather needs an int64 index, not {array.dtype}")
        try:
            return self._from_buffer(self._index_type, array)
        except (ValueError, BufferError) as error:
            raise _layout_error(error) from error

    def _key(self, key: bytes) -> bytes:
        if len(key) != KEY_BYTES:
            raise KernelError(f"a PRF key has {KEY_BYTES} bytes, not {len(key)}")
        return key

    def _geometry(self, geometry: WindowGeometry) -> Any:
        known = self._geometries.get(geometry)
        if known is None:
            known = self._ffi.new(
                "mpcb_geometry *",
                {
                    "batch": geometry.batch,
                    "in_height": geometry.in_height,
                    "in_width": geometry.in_width,
                    "in_channels": geometry.in_channels,
                    "out_height": geometry.out_height,
                    "out_width": geometry.out_width,
                    "out_channels": geometry.out_channels,
                    "kernel_height": geometry.kernel[0],
                    "kernel_width": geometry.kernel[1],
                    "stride_height": geometry.stride[0],
                    "stride_width": geometry.stride[1],
                    "dilation_height": geometry.dilation[0],
                    "dilation_width": geometry.dilation[1],
                    "pad_top": geometry.pad_top,
                    "pad_left": geometry.pad_left,
                },
            )
            self._geometries[geometry] = known
        return known

    def _terms(self, name: str, what: str, arrays: Sequence[RingArray], size: int) -> Any:
        for array in arrays:
            if array.size != size:
                raise size_error(name, what, array.size, size)
        # The pointers keep nothing alive: the caller's own references do.
        return self._ffi.new("uint64_t *[]", [self._ring(array) for array in arrays])

    def _images(
        self, name: str, geometry: WindowGeometry, x: Sequence[RingArray], x_zero: Sequence[int]
    ) -> tuple[Any, Any]:
        if len(x_zero) != len(x):
            raise size_error(name, "x_zero", len(x_zero), len(x))
        size = geometry.batch * geometry.in_height * geometry.in_width * geometry.in_channels
        zeros = self._ffi.new("uint64_t[]", [zero & WORD_MASK for zero in x_zero])
        return self._terms(name, "an input array", x, size), zeros

    def _image_out(self, name: str, geometry: WindowGeometry, out: RingArray | None) -> RingArray:
        shape = (geometry.batch, geometry.out_height, geometry.out_width, geometry.out_channels)
        if out is None:
            return np.empty(shape, np.uint64)
        size = shape[0] * shape[1] * shape[2] * shape[3]
        if out.size != size:
            raise size_error(name, "out", out.size, size)
        return out

    def _like(self, name: str, x: RingArray, out: RingArray | None) -> RingArray:
        if out is None:
            return np.empty(x.shape, np.uint64)
        if out.size != x.size:
            raise size_error(name, "out", out.size, x.size)
        return out

    def _planes(self, name: str, n: int, count: int, planes: ByteArray | None) -> ByteArray:
        if planes is None:
            return np.empty((count, plane_stride(n)), np.uint8)
        if planes.ndim != 2 or planes.shape[0] != count:
            raise KernelError(f"{name}: the bit planes have shape {planes.shape}, ({count}, stride) is needed")
        return planes


def _layout_error(error: Exception) -> KernelError:
    return KernelError("a kernel needs a C-contiguous buffer, writable where it is written", where=str(error))
