"""A report as people read it: the same numbers as the JSON, nothing that is not in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc_bridge.cli.console import emit, pairs, plain_table
from mpc_bridge.cli.labels import by_row, predicted
from mpc_bridge.quantities import grouped, size

Report = Mapping[str, Any]

#: Predictions shown before the rest is left to ``--output``.
SHOWN = 10
PHASES = ("setup", "preprocessing", "online", "verification")


def print_summary(
    report: Report,
    outputs: Sequence[npt.NDArray[np.generic]],
    input_notes: Sequence[str],
    labels: Sequence[int] | None = None,
) -> None:
    """Prediction, threat model, who learns what, cost per phase, work, comparison with the reference."""
    _head(report, input_notes)
    emit("")
    _predictions(report, outputs, labels)
    emit("")
    _costs(report)
    emit("")
    _work(report)
    emit(reference_line(report))


def reference_line(report: Report) -> str:
    """One line: does the result equal the reference interpreter's."""
    matches = report["matches_reference"]
    if matches is None:
        return "reference   not compared"
    if matches:
        return "reference   equal: every output value is the reference interpreter's"
    return "reference   DIFFERENT: the outputs are not the reference interpreter's"


def secrecy(threat: Mapping[str, Any], model_owner: int | None = None) -> list[str]:
    """Who learns what under a threat model, one line each. A party that owns the model knows its weights."""
    parties, corruptions = threat["parties"], threat["corruptions"]
    if not corruptions:
        return ["nothing: this backend computes in the clear, for tests and comparison"]
    holder = "any one party" if corruptions == 1 else f"any {corruptions} parties together"
    conduct = "that follow the protocol" if threat["adversary"] == "semi-honest" else "whatever they do"
    if corruptions == 1 and threat["adversary"] == "semi-honest":
        conduct = "that follows the protocol"
    secret = f"weights, biases, inputs and outputs, from {holder} of {parties} {conduct}"
    if model_owner is not None:
        secret = (
            f"inputs and outputs, from {holder} of {parties} {conduct}; weights and biases, from all parties but "
            f"party {model_owner}, who owns the model"
        )
    return [
        secret,
        "public: the graph, shapes, scales, zero points and activation bounds (mpc-bridge show)",
    ]


def _head(report: Report, input_notes: Sequence[str]) -> None:
    model, threat = report["model"], report["threat_model"]
    table = pairs()
    table.add_row(
        "model",
        f"{model['name']}, {grouped(model['macs'])} multiplications, {grouped(model['activations'])} activations",
    )
    table.add_row("threat model", threat_line(threat))
    for index, line in enumerate(secrecy(threat, report["model_owner"])):
        table.add_row("" if index else "secret", line)
    parties = threat["parties"]
    backend = f"{report['backend']} on {report['device']}, {parties} part{'y' if parties == 1 else 'ies'}"
    table.add_row("backend", backend)
    helper = report["helper"]
    if helper is not None:
        table.add_row("preprocessing", f"a {helper['name']}: {helper['trust']}")
    elif report["preprocessing_trust"] is not None:
        table.add_row("preprocessing", report["preprocessing_trust"])
    if report["soundness_bits"] is not None:
        chance = f"a cheater goes unnoticed with probability below 2^-{report['soundness_bits']:.1f}"
        table.add_row("checks", f"{chance} (sigma {report['sigma']})")
    for index, line in enumerate(input_notes):
        table.add_row("" if index else "input", line)
    table.add_row("samples", str(report["samples"]))
    emit(table)


def threat_line(threat: Mapping[str, Any]) -> str:
    """A threat model in one line."""
    if not threat["corruptions"]:
        return "none: no guarantee"
    return (
        f"{threat['adversary']}, {threat['majority']} majority: {threat['guarantee']} against "
        f"{threat['corruptions']} of {threat['parties']} parties"
    )


def _predictions(
    report: Report, outputs: Sequence[npt.NDArray[np.generic]], labels: Sequence[int] | None
) -> None:
    classes = predicted(outputs, report["reveal"])
    if classes is None:
        for index, output in enumerate(outputs):
            emit(f"out{index}   {output.dtype} {output.shape}, values {output.min()} to {output.max()}")
        return
    samples = len(classes)
    rows = by_row(outputs[0])
    values = rows.max(axis=1) if rows.shape == (samples, rows.shape[1]) and rows.shape[1] > 1 else None
    columns = ["sample>", "largest output>"]
    if values is not None:
        columns.append("value>")
    if labels is not None:
        columns += ["true label>", ""]
    table = plain_table(*columns)
    for sample in range(min(samples, SHOWN)):
        row = [str(sample), str(classes[sample])]
        if values is not None:
            row.append(f"{values[sample]:.6g}" if values.dtype.kind == "f" else str(values[sample]))
        if labels is not None and sample < len(labels):
            row += [str(labels[sample]), "right" if labels[sample] == classes[sample] else "wrong"]
        table.add_row(*row)
    emit(table)
    if samples > SHOWN:
        emit(f"… and {samples - SHOWN} more samples (--output keeps them all)")
    if report["accuracy"] is not None:
        found = report["accuracy"]
        emit(f"\ntop-1   {found['right']} of {found['labelled']} right, {found['top1']:.2%}")


def _work(report: Report) -> None:
    """One line: what was computed under protection, over all samples; none where nothing is protected."""
    spent = [phase for name, phase in report["phases"].items() if name != "setup"]
    gates, products = (sum(phase[key] for phase in spent) for key in ("and_gates", "ring_multiplications"))
    if gates or products:
        emit(f"work        {grouped(gates)} AND gates, {grouped(products)} ring multiplications")


def _costs(report: Report) -> None:
    table = plain_table("phase", "seconds>", "rounds>", "sent by all parties>", "most by one party>")
    seconds, rounds, sent = 0.0, 0, 0
    for name in PHASES:
        phase = report["phases"][name]
        by_party = phase["bytes_sent"]
        most = size(max(by_party, default=0))
        table.add_row(name, f"{phase['seconds']:.3f}", grouped(phase["rounds"]), size(sum(by_party)), most)
        seconds, rounds, sent = seconds + phase["seconds"], rounds + phase["rounds"], sent + sum(by_party)
    table.add_row("all", f"{seconds:.3f}", grouped(rounds), size(sent), "")
    helper = report["helper"]
    if helper is not None:
        by_party = [sum(column) for column in zip(*(p["bytes_sent"] for p in helper["phases"].values()), strict=True)]
        spent = sum(phase["seconds"] for phase in helper["phases"].values())
        table.add_row(f"the {helper['name']}", f"{spent:.3f}", "", size(sum(by_party)), "")
    emit(table)
