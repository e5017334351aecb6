"""Which party plays which role where: roles rotate over thirds of a tensor, so that every party sends the same."""

from __future__ import annotations

from dataclasses import dataclass

from mpc_bridge.backends.replicated.owner import PARTIES

#: Elements that are never split between roles: what the bit-plane machine and verification look at together.
TILE = 4096


@dataclass(frozen=True)
class Third:
    """A range of elements on which the roles are rotated by ``rotation``."""

    start: int
    end: int
    rotation: int

    @property
    def size(self) -> int:
        return self.end - self.start

    def role(self, party: int) -> int:
        """The role that ``party`` plays here."""
        return (party - self.rotation) % PARTIES


def thirds(size: int, turn: int) -> list[Third]:
    """``size`` elements in up to three ranges of whole tiles, empty ones left out.

    ``turn`` rotates which party plays which role first, so that tensors of a single tile are even over many layers too.
    """
    base, extra = divmod(-(-size // TILE), PARTIES)
    parts, start = [], 0
    for i in range(PARTIES):
        end = min(size, start + (base + (i < extra)) * TILE)
        if end > start:
            parts.append(Third(start, end, (turn + i) % PARTIES))
        start = end
    return parts
