"""How much a party takes on: a job's sizes come from the launcher, which must not be able to fill a party's memory."""

from __future__ import annotations

from mpc_bridge.backends.base import Owner
from mpc_bridge.errors import UnsupportedModelError
from mpc_bridge.lowering.program import Input, Program

#: Bytes of all messages with shares that a party gets for one inference, the model's weights included.
MAX_SHARE_BYTES = 8 << 30


def check_shares(program: Program, owner: Owner, party: int) -> None:
    """Check, before anything is allocated, that ``party`` gets at most :data:`MAX_SHARE_BYTES` of shares.

    The verifier bounds each tensor of a circuit already (:data:`mpc_bridge.circuit.verify.MAX_ELEMENTS`); this bounds
    their sum. Raises UnsupportedModelError.
    """
    total = sum(owner.share_size(program.values[step.output], party) for step in program.steps
                if isinstance(step, Input))
    if total > MAX_SHARE_BYTES:
        raise UnsupportedModelError(f"shares of {total / 2**30:.1f} GiB, at most {MAX_SHARE_BYTES >> 30} GiB are taken",
                                    where=f"party {party}", hint="use a smaller model")
