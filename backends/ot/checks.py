"""What the receiver of choices checks about its peer, by name."""

from __future__ import annotations

from mpc_bridge.backends.sharing.checks import Registry

CHECKS = Registry()
#: Every tree that the chooser made has the leaves that it gave proof of.
TREES = CHECKS.register("transfer-trees", "the trees of the oblivious transfers do not fit their proof")
#: The chooser has one choice bit per transfer, the same in all trees.
CHOICES = CHECKS.register("transfer-choices", "oblivious transfers are inconsistent")
