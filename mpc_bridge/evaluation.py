"""``mpc_bridge.evaluate``: choose a backend, run it here, compare with the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from mpc_bridge.backends.base import Backend, HelpedBackend
from mpc_bridge.circuit.graph import Circuit, Tensor
from mpc_bridge.circuit.reference import evaluate_samples, trace
from mpc_bridge.errors import InputError, UnsupportedCombinationError, UsageError
from mpc_bridge.lowering import lower
from mpc_bridge.lowering.program import Program
from mpc_bridge.registry import Choice, check_supported, choose_backend
from mpc_bridge.result import CostReport, HelperCost, Result
from mpc_bridge.runtime.launcher import OnProgress, evaluate_local
from mpc_bridge.runtime.messages import PartyReport
from mpc_bridge.runtime.processes import Network, Tap, Transport
from mpc_bridge.runtime.session import DEFAULT_TIMEOUT
from mpc_bridge.security import parse_adversary, parse_majority, parse_preprocessing

Array = npt.NDArray[np.generic]


def evaluate(circuit: Circuit, inputs: npt.ArrayLike | Sequence[npt.ArrayLike], *, security: str | None = None,
             majority: str = "honest", parties: int | None = None, backend: str | None = None,
             preprocessing: str | None = None, model_owner: int | None = None,
             device: str = "auto", reveal: str = "output", check: bool = True,
             transport: str = "unix", timeout: float = DEFAULT_TIMEOUT, progress: OnProgress | None = None,
             tap: Tap | None = None, network: Network | None = None) -> Result:
    """Evaluate a model under MPC with all parties on this machine.

    Args:
        circuit: with its weights, from :func:`mpc_bridge.load`.
        inputs: one array, or a sequence of one per model input, in the input's dtype; shape ``(S,) + input shape``, or
            ``(S,) + input shape[1:]``: rows of the model's batch, the last batch filled up with its last row.
        security: ``"semi-honest"``/``"passive"``, ``"malicious"``/``"active"``; None: malicious once an installed
            backend serves it, else semi-honest.
        majority: ``"honest"`` or ``"dishonest"``.
        parties: None for the backend's own number.
        backend: by name; None to choose by the three above.
        preprocessing: ``"dealer"`` or ``"ot"``: where correlated randomness comes from; None for the backend's own.
        model_owner: the party that holds the weights in the clear; None for what goes with ``preprocessing``: party 0
            with ``"ot"``, else none.
        device: ``"auto"``, or one of the backend's.
        reveal: ``"output"``, or ``"argmax"``: only the index of the greatest output is revealed.
        check: compare with the reference interpreter.
        transport: ``"unix"`` or ``"tcp"`` (loopback).
        timeout: seconds without a byte from a party that is due before it counts as lost.
        progress: called with a :class:`~mpc_bridge.runtime.launcher.ProgressEvent` now and then.
        tap: relay in front of every party (tests).
        network: what to run on in place of this machine's own, such as :func:`mpc_bridge.bench.netem.shaped` makes;
            always by TCP, whatever ``transport`` says.

    Raises:
        UsageError, InputError: an argument.
        UnsupportedModelError, UnsupportedCombinationError: before any party starts.
        PeerError, ProtocolAbort: the run failed; nothing was revealed and no process is left.
    """
    if reveal not in ("output", "argmax"):
        raise UsageError(f"unknown reveal {reveal!r}", where="--reveal", hint="use output or argmax")
    if transport not in ("unix", "tcp"):
        raise UsageError(f"unknown transport {transport!r}", where="--transport", hint="use unix or tcp")
    if not timeout > 0:
        raise UsageError(f"timeout {timeout!r} is not positive", where="--timeout", hint="give seconds, for example 60")
    if circuit.is_public:
        raise UsageError("this circuit holds no weights", where=circuit.name,
                         hint="evaluate the model itself, or a .circuit imported without --public")
    revealed = cast(Literal["output", "argmax"], reveal)
    choice = choose_backend(None if security is None else parse_adversary(security), parse_majority(majority), parties,
                            device, backend,
                            preprocessing=None if preprocessing is None else parse_preprocessing(preprocessing))
    _check_owner(choice, model_owner)
    if network is not None:
        transport = "tcp"
    arrays = sample_axis(circuit, inputs)
    program = lower(circuit.public(), reveal=revealed)
    check_supported(choice, program)
    run = evaluate_local(circuit, arrays, choice.backend, parties=choice.parties, device=choice.device, reveal=revealed,
                         transport=cast(Transport, transport), timeout=timeout, progress=progress, tap=tap,
                         program=program, network=network)
    matches = matches_reference(circuit, run.program, arrays, run.outputs) if check else None
    words = ("preprocessing", "preprocessing_trust", "model_owner", "sigma")
    stated = {name: getattr(choice.backend, name, None) for name in words}
    checked = [report.soundness_bits for report in run.reports if report.soundness_bits is not None]
    return Result(run.outputs, CostReport.of(run.reports, run.program, circuit), matches, choice.threat_model,
                  choice.name, choice.device, transport, len(arrays[0]), circuit, run.program,
                  soundness_bits=min(checked, default=None), helper=_helper_cost(choice.backend, run.helper),
                  launcher=run.launcher, network=None if network is None else network.name, **stated)


def _check_owner(choice: Choice, wanted: int | None) -> None:
    """Whether that party, if one was asked for, holds the weights in the clear."""
    has = getattr(choice.backend, "model_owner", None)
    if wanted is not None and wanted != has:
        hint = f"use --model-owner {has}, or leave it out" if has is not None else "use --preprocessing ot"
        raise UnsupportedCombinationError(f"backend {choice.name} cannot have party {wanted} own the model",
                                          where="--model-owner", hint=hint)


def _helper_cost(backend: Backend, report: PartyReport | None) -> HelperCost | None:
    if report is None or not isinstance(backend, HelpedBackend):
        return None
    return HelperCost.of(backend.helper_name, backend.helper_trust, report)


def sample_axis(circuit: Circuit, inputs: npt.ArrayLike | Sequence[npt.ArrayLike]) -> tuple[Array, ...]:
    """Per model input an array of shape ``(S,) + input shape``. Raises InputError."""
    tensors = [circuit.tensors[index] for index in circuit.inputs]
    one = isinstance(inputs, np.ndarray) or len(tensors) == 1 and not isinstance(inputs, (list, tuple))
    given = [np.asarray(inputs)] if one else [np.asarray(array) for array in cast(Sequence[npt.ArrayLike], inputs)]
    if len(given) != len(tensors):
        raise InputError(f"the model has {len(tensors)} inputs, {len(given)} given", where="inputs",
                         hint="give a sequence of one array per model input")
    return tuple(_with_samples(array, tensor) for array, tensor in zip(given, tensors, strict=True))


def _with_samples(array: Array, tensor: Tensor) -> Array:
    shape = tensor.shape
    if array.ndim == len(shape) + 1 and array.shape[1:] == shape:
        return array
    if shape and array.ndim == len(shape) and array.shape[1:] == shape[1:] and len(array):
        missing = -len(array) % shape[0]
        if missing:
            array = np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])
        return array.reshape(-1, *shape)
    raise InputError(f"an array of shape {array.shape} does not fit", where=f"input {tensor.name}",
                     hint=f"give shape {('S', *shape)} or {('S', *shape[1:])} for S samples".replace("'S'", "S"))


def matches_reference(circuit: Circuit, program: Program, inputs: Sequence[Array], outputs: Sequence[Array]) -> bool:
    """Whether ``outputs`` equal the reference interpreter's in every bit.

    Floats too: the integers under them were revealed exactly, and what follows is the reference's own code.

    Args:
        inputs, outputs: sample axis first.
    """
    if program.reveal == "output":
        expected: Sequence[Array] = evaluate_samples(circuit, inputs)
    else:
        expected = []
        for position, tail in enumerate(program.tails):
            per_sample = [trace(circuit, sample)[tail.tensor] for sample in zip(*inputs, strict=True)]
            indices = np.argmax(np.stack(per_sample), axis=-1).astype(np.int64)
            expected.append(indices.reshape(outputs[position].shape))
    return same_outputs(outputs, expected)


def same_outputs(outputs: Sequence[Array], expected: Sequence[Array]) -> bool:
    """Whether they agree in type, shape and every bit."""
    return len(outputs) == len(expected) and all(
        (mine.dtype, mine.shape, mine.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
        for mine, theirs in zip(outputs, expected, strict=True))
