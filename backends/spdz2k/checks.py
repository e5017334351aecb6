"""Every check of spdz2k, by name."""

from __future__ import annotations

from mpc_bridge.backends.sharing.checks import COIN_OPENING, COMMITMENT_ECHO, Registry

CHECKS = Registry({check.name: check for check in (COMMITMENT_ECHO, COIN_OPENING)})
#: An owner's masked value is the same at every party, before it is used.
INPUT_AGREEMENT = CHECKS.register("input-agreement", "an owner gave the parties different masked values")
#: At the owner: every party names the same commitments, and the masks are the dealer's.
INPUT_MASK = CHECKS.register("input-mask", "a party gave an owner another mask than the dealer's")
#: All parties received the same of everything that was opened.
BROADCAST = CHECKS.register("broadcast", "a party opened different values to different parties")
#: What a party opens in a MAC check is what it had committed to.
MAC_COMMITMENT = CHECKS.register("mac-commitment", "a party changed its part of a MAC check after seeing the others'")
RING_MAC = CHECKS.register("ring-mac", "the opened ring elements do not pass their MAC check")
BIT_MAC = CHECKS.register("bit-mac", "the opened bits do not pass their MAC check")
#: At the receiver: every party shows the same masked output, and the masks are the dealer's.
OUTPUT_AGREEMENT = CHECKS.register("output-agreement", "the parties gave the receiver different masked outputs")
OUTPUT_MASK = CHECKS.register("output-mask", "a party gave the receiver another mask than the dealer's")
