"""Microcode: what one party's device runs on its bit planes, stage by stage, and the registers it needs.

A circuit and a role compile to a straight line of instructions on plane registers, cut into stages at the rounds.
Every protocol and every device runs the same few instructions (``mpcb_planes_run``): a protocol file only says what
each gate is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Op(IntEnum):
    """Instructions ``(op, d, a, b)``.

    Registers are whole planes. Values are part of the native interface (``mpcb.h``).
    """

    ZERO = 0  #: d = 0
    ONES = 1  #: d = all ones
    COPY = 2  #: d = a
    XOR = 3  #: d = a ^ b
    AND = 4  #: d = a & b
    XORAND = 5  #: d ^= a & b
    NOT = 6  #: d = ~a
    PRF = 7  #: d = plane b of the pad of key a
    XPRF = 8  #: d ^= plane b of the pad of key a
    SEND = 9  #: plane b of the outgoing buffer = a
    RECV = 10  #: d = plane b of the incoming buffer


# Indexed by operation: these are asked for every instruction, and enumeration members are slow in sets.
_READS_A = [op in (Op.COPY, Op.XOR, Op.AND, Op.XORAND, Op.NOT, Op.SEND) for op in Op]
_READS_B = [op in (Op.XOR, Op.AND, Op.XORAND) for op in Op]
_SEND = int(Op.SEND)

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True)
class Stage:
    """What runs between two rounds.

    Attributes:
        code: int32 ``[instructions, 4]``; planes of all links lie one after the other in one buffer per direction.
        sends, receives: planes sent on each outgoing link after this stage, planes received on each incoming link
        before it.
    """

    code: npt.NDArray[np.int32]
    sends: tuple[int, ...]
    receives: tuple[int, ...]


@dataclass(frozen=True)
class Microprogram:
    """All stages of one role, on ``registers`` planes of scratch.

    Attributes:
        inputs: planes the caller fills, registers ``0..inputs-1``, before the first stage that reads them.
        outputs: first register of the results; they lie one after the other.
        pads: number of pad planes per key (the pad of gate g is plane g).
        kept: registers of the planes that the assembler was told to keep, valid after the last stage.
    """

    stages: tuple[Stage, ...]
    registers: int
    inputs: int
    outputs: int
    output_count: int
    pads: int
    kept: tuple[int, ...] = ()
    #: stages after the last round: 0, or 1 where a verifying protocol has more to compute
    later: int = 0

    @property
    def rounds(self) -> int:
        """Exchanges between stages; stage ``rounds`` is the one that leaves the outputs."""
        return len(self.stages) - 1 - self.later


@dataclass
class Assembler:
    """Collects instructions on virtual registers, then packs those into few real ones by their lifetimes."""

    links: int
    inputs: int
    _code: list[Instruction] = field(default_factory=list)
    _next: int = 0
    _cuts: list[int] = field(default_factory=list)
    _sends: list[list[int]] = field(default_factory=list)
    _receives: list[list[int]] = field(default_factory=list)
    _outputs: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._next = self.inputs
        self._open()

    def _open(self) -> None:
        self._sends.append([0] * self.links)
        self._receives.append([0] * self.links)

    def emit(self, op: Op, a: int = 0, b: int = 0) -> int:
        """An instruction with a fresh destination, which is returned."""
        register = self._next
        self._next += 1
        self._code.append((int(op), register, a, b))
        return register

    def update(self, op: Op, register: int, a: int, b: int = 0) -> None:
        """An instruction that accumulates into ``register``."""
        self._code.append((int(op), register, a, b))

    def send(self, link: int, register: int) -> None:
        """The plane goes out on ``link`` when the stage ends."""
        sends = self._sends[-1]
        self._code.append((_SEND, link, register, sends[link]))
        sends[link] += 1

    def receive(self, link: int) -> int:
        """The next plane that came in on ``link`` when the stage began."""
        receives = self._receives[-1]
        register = self.emit(Op.RECV, link, receives[link])
        receives[link] += 1
        return register

    def cut(self) -> None:
        """A round: what was sent so far goes, the next stage begins."""
        self._cuts.append(len(self._code))
        self._open()

    def output(self, registers: Sequence[int]) -> None:
        """Copy these planes to the output registers, at this point of the program. Once."""
        for register in registers:
            self._outputs.append(self.emit(Op.COPY, register))

    def finish(self, pads: int, keep: Sequence[int] = (), later: int = 0) -> Microprogram:
        """Assign real registers; the planes of ``keep`` stay until the end. ``later`` stages follow the outputs."""
        assigned, used = self._assign(keep)
        bounds = [0, *self._cuts, len(self._code)]
        table = np.array(self._renamed(assigned), dtype=np.int32).reshape(-1, 4)
        stages = tuple(
            Stage(self._placed(table[start:end], sends, receives), tuple(sends), tuple(receives))
            for start, end, sends, receives in zip(bounds[:-1], bounds[1:], self._sends, self._receives, strict=True)
        )
        kept = tuple(assigned[register] for register in keep)
        count = len(self._outputs)
        return Microprogram(stages, used + count, self.inputs, used, count, pads, kept, later)

    @staticmethod
    def _placed(code: npt.NDArray[np.int32], sends: Sequence[int], receives: Sequence[int]) -> npt.NDArray[np.int32]:
        """Planes counted per link become planes of one buffer that holds the links one after the other."""
        placed = code.copy()
        for op, link_column, counts in ((Op.SEND, 1, sends), (Op.RECV, 2, receives)):
            rows = placed[:, 0] == op
            first = np.cumsum([0, *counts[:-1]], dtype=np.int32)
            placed[rows, 3] += first[placed[rows, link_column]]
            placed[rows, link_column] = 0
        return placed

    def _assign(self, keep: Sequence[int]) -> tuple[list[int], int]:
        """Real register of every virtual one; how many there are below the outputs."""
        last = [-1] * self._next
        for at, (op, d, a, b) in enumerate(self._code):
            if _READS_A[op]:
                last[a] = at
            if _READS_B[op]:
                last[b] = at
            if op != _SEND:
                last[d] = max(last[d], at)
        for register in keep:
            last[register] = len(self._code)
        outputs = frozenset(self._outputs)
        assigned = [*range(self.inputs), *([-1] * (self._next - self.inputs))]
        used = self.inputs
        free: list[int] = [i for i in range(self.inputs) if last[i] < 0]
        for at, (op, d, a, b) in enumerate(self._code):
            dying = []
            if _READS_A[op] and last[a] == at:
                dying.append(a)
            if _READS_B[op] and last[b] == at and b not in dying:
                dying.append(b)
            # every instruction works lane by lane, so a result may take the place of an operand it ends
            free.extend(assigned[register] for register in dying if op == _SEND or register != d)
            if op == _SEND or d in outputs:
                continue
            if assigned[d] < 0:
                if not free:
                    free.append(used)
                    used += 1
                assigned[d] = free.pop()
            if last[d] == at:
                free.append(assigned[d])
        for i, register in enumerate(self._outputs):
            assigned[register] = used + i
        return assigned, used

    def _renamed(self, assigned: Sequence[int]) -> list[Instruction]:
        code = []
        for op, d, a, b in self._code:
            code.append(
                (
                    op,
                    d if op == _SEND else assigned[d],
                    assigned[a] if _READS_A[op] else a,
                    assigned[b] if _READS_B[op] else b,
                )
            )
        return code
