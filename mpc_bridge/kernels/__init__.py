"""The lowest layer: the native library behind one C ABI, the device that calls it, and key generation."""
