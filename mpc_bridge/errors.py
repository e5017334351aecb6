"""Typed errors. Every message says what happened, where, and what to do about it.

The command line maps each class to one exit code (``exit_code``); library users catch the class.
Nothing secret (a weight, an input, a share, a key) is ever put into an error.
"""

from __future__ import annotations


class MpcBridgeError(Exception):
    """Base of all errors this package raises on purpose.

    Args:
        what: one line: what is wrong.
        where: one line: the file, op, tensor, party or option concerned.
        hint: one line: what the reader can do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        return "\n".join(line for line in (self.what, self.where, self.hint) if line)


class UsageError(MpcBridgeError):
    """An option or an argument that cannot be honoured."""


class InputError(MpcBridgeError):
    """An input tensor or file that does not fit the model."""


class ModelFormatError(MpcBridgeError):
    """A model file that is corrupt, truncated or not what its name says."""


class CircuitError(MpcBridgeError):
    """A circuit that the verifier refuses."""


class ResultsError(MpcBridgeError):
    """A results file of the benchmark that is corrupt, or was made by something else."""


class WrongResult(MpcBridgeError):
    """Outputs that are not the reference interpreter's."""

    exit_code = 1


class UnsupportedModelError(MpcBridgeError):
    """A well-formed model that uses something this version cannot evaluate exactly."""

    exit_code = 3


class UnsupportedCombinationError(MpcBridgeError):
    """No backend serves the asked threat model, party count, device or step."""

    exit_code = 3


class ProtocolAbort(MpcBridgeError):
    """A check of a malicious-secure protocol failed: some party cheated. Nothing was revealed."""

    exit_code = 4


class PeerError(MpcBridgeError):
    """A party or peer was lost, timed out or sent something that is not the protocol."""

    exit_code = 5


class PeerLost(PeerError):
    """The connection to a peer closed or its process died."""


class PeerTimeout(PeerError):
    """A peer sent nothing for longer than the session's timeout."""


class MalformedFrame(PeerError):
    """A peer sent bytes that are not the frame this step expects."""


class NetworkError(MpcBridgeError):
    """A network of a given shape that cannot be made on this machine."""


class KernelError(MpcBridgeError):
    """The native library is missing, of another version, or refused a call."""
