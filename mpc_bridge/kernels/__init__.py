"""The lowest layer: the native library behind one C ABI, the device that calls it, and key generation."""

from mpc_bridge.kernels.buffers import ByteArray, IndexArray, RingArray, WindowGeometry, packed_bytes, plane_stride
from mpc_bridge.kernels.device import Device, cpu_device
from mpc_bridge.kernels.prf import KEY_BYTES, fresh_key

__all__ = [
    "KEY_BYTES",
    "ByteArray",
    "Device",
    "IndexArray",
    "RingArray",
    "WindowGeometry",
    "cpu_device",
    "fresh_key",
    "packed_bytes",
    "plane_stride",
]
