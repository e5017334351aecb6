"""The owners' and the receiver's side of spdz2k: masks in, masked value out; masked output and masks in, value out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpc_bridge.backends.additive.owner import output_width
from mpc_bridge.backends.base import IntArray
from mpc_bridge.backends.sharing.entry import component_size, input_width
from mpc_bridge.backends.spdz2k.checks import INPUT_MASK, OUTPUT_AGREEMENT, OUTPUT_MASK
from mpc_bridge.backends.spdz2k.masks import collect, shown_size, sum_of_masks
from mpc_bridge.errors import MalformedFrame
from mpc_bridge.kernels import Device, cpu_device, packed_bytes
from mpc_bridge.lowering.program import Value


class Spdz2kOwner:
    """Masks and reconstructs (``backends.base.MaskedOwner``)."""

    def __init__(self, parties: int, device: Device | None = None) -> None:
        self._parties = parties
        self._device = device if device is not None else cpu_device()

    def mask_size(self, value: Value, party: int) -> int:
        """Bytes of ``party``'s message to the owner of ``value``."""
        return shown_size(value.size, self._parties)

    def share(self, value: Value, tensor: IntArray, masks: Sequence[bytes] = ()) -> Sequence[bytes]:
        """The masked tensor, the same for every party; stored integers of ``value.shape``.

        Args:
            masks: one message per party, :meth:`mask_size` bytes each.

        Raises:
            ValueError: another shape, an element outside the value's range, or another number of masks.
            MalformedFrame: a mask message has another size. ProtocolAbort: the masks are not the dealer's.
        """
        if tuple(tensor.shape) != value.shape:
            raise ValueError(f"{value.name}: expected shape {value.shape}, got {tuple(tensor.shape)}")
        if tensor.size and (tensor.min() < value.low or tensor.max() > value.high):
            raise ValueError(f"{value.name}: an element is outside {value.low}..{value.high}")
        if len(masks) != self._parties:
            raise ValueError(f"{value.name}: {len(masks)} masks from {self._parties} parties")
        device, width = self._device, input_width(value)
        openings = collect(masks, value.size, INPUT_MASK, f"owner of {value.name}")
        unsigned = (np.ascontiguousarray(tensor.reshape(-1), dtype=np.int64) - value.low).astype(np.uint64)
        mask = sum_of_masks(device, openings, value.size, width, ring=False)
        return [bytes(device.pack_bits(device.bits_xor(unsigned, mask), width).tobytes())] * self._parties

    def share_size(self, value: Value, party: int) -> int:
        """Bytes of the message for ``party``."""
        return component_size(value)

    def output_size(self, value: Value, party: int) -> int:
        """Bytes of the message that ``party`` sends for an output."""
        return packed_bytes(value.size, output_width(value)) + shown_size(value.size, self._parties)

    def reconstruct(self, value: Value, messages: Sequence[bytes]) -> IntArray:
        """The masked output, which all parties agree on, less all parties' masks.

        Raises:
            MalformedFrame: a message has the wrong size. ProtocolAbort: the parties disagree, or a mask is not the
                dealer's.
        """
        width, device, where = output_width(value), self._device, f"output {value.name}, receiver"
        size = packed_bytes(value.size, width)
        for party, message in enumerate(messages):
            if len(message) != self.output_size(value, party):
                raise MalformedFrame(
                    f"party {party} sent {len(message)} bytes for an output of {self.output_size(value, party)}",
                    where=f"output {value.name}",
                    hint="run the same version of mpc-bridge at every party",
                )
        masked = [message[:size] for message in messages]
        if not OUTPUT_AGREEMENT.holds(all(other == masked[0] for other in masked)):
            raise OUTPUT_AGREEMENT.error(where)
        sums = value.kind == "accumulator"
        openings = collect([message[size:] for message in messages], value.size, OUTPUT_MASK, where)
        mask = sum_of_masks(device, openings, value.size, width, ring=sums)
        public = device.unpack_bits(np.frombuffer(masked[0], np.uint8), value.size, width)
        result = np.asarray(device.to_host(device.ring_sub(public, mask) if sums else device.bits_xor(public, mask)))
        if sums:
            above = np.uint64(64 - width)
            return np.asarray((result << above).view(np.int64) >> np.int64(64 - width), np.int64).reshape(value.shape)
        return result.astype(np.int64).reshape(value.shape)
