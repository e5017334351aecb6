"""Any bytes that arrive are answered with a typed error; the digest covers the whole Program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import mpc_bridge
from mpc_bridge.errors import KernelError, MalformedFrame, MpcBridgeError, PeerLost, ProtocolAbort, UsageError
from mpc_bridge.importers.tflite import load
from mpc_bridge.lowering import lower
from mpc_bridge.runtime.config import PartyConfig
from mpc_bridge.runtime.messages import Job, PartyReport, decode_error, decode_progress, digest, encode_error
from mpc_bridge.runtime.meter import PHASES, CostMeter

JOB = Job("{}", "output", "00" * 32, True)
REPORT = PartyReport.of(CostMeter(), 1 << 20)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from([
                        "circuit", "reveal", "digest", "progress", "class", "what", "where", "hint", "phases",
                        *PHASES, "rounds", "messages", "seconds", "bytes_to", "work", "and_gates", "correlations",
                        "ring_multiplications", "round_bytes", "flights", "layer_phases", "peak_memory_bytes"]), inner))
PAYLOADS = st.binary() | JSON.map(lambda value: json.dumps(value).encode())


@given(PAYLOADS)
@example(b"[" * 100_000)
def test_any_bytes_are_handled(payload: bytes) -> None:
    for decode in (Job.decode, lambda data: PartyReport.decode(data, 1), decode_progress):
        try:
            decode(bytearray(payload))
        except MalformedFrame:
            pass
    assert isinstance(decode_error(bytearray(payload), "party 1"), MpcBridgeError)


@pytest.mark.parametrize("change", [{"reveal": "all"}, {"digest": "00"}, {"digest": "zz" * 32}, {"circuit": 5},
                                    {"progress": "yes"}, {"more": 1}])
def test_a_job_with_anything_odd_is_refused(change: dict[str, Any]) -> None:
    assert Job.decode(JOB.encode()) == JOB
    with pytest.raises(MalformedFrame):
        Job.decode(json.dumps({**json.loads(JOB.encode()), **change}).encode())


def test_reports_survive_the_wire() -> None:
    meter = CostMeter()
    for phase in PHASES:
        with meter.phase(phase), meter.layer("conv"):
            meter.count_round(10)
            meter.count_work(and_gates=7, correlations={"dabits": 3})
            meter.count_message(2, 10)
            meter.count_message(-1, 5)
    report = PartyReport.of(meter, 123)
    assert PartyReport.decode(bytearray(report.encode()), 0) == report
    assert report.layers["conv"].bytes_sent == 45  # setup is in no layer
    assert report.layers["conv"].work.and_gates == 21 and report.round_bytes["setup"] == {10: 1}
    assert report.flights["online"] == {10: 1}


@pytest.mark.parametrize("number", [float("nan"), "nan", "inf", "1e999", "41"])
@pytest.mark.parametrize("place", ["soundness_bits", "seconds"])
def test_no_party_reports_a_number_that_compares_with_nothing(number: Any, place: str) -> None:
    """Of two parties' numbers the least or the most counts: one that is none would hide what the honest one says."""
    report = json.loads(PartyReport.of(CostMeter(), 0, 41.0).encode())
    (report if place in report else report["phases"]["online"])[place] = number
    payload = json.dumps(report).replace('"1e999"', "1e999")
    with pytest.raises(MalformedFrame, match="party 1 sent an unreadable cost report"):
        PartyReport.decode(bytearray(payload.encode()), 1)


@pytest.mark.parametrize(("name", "value"), [
    ("rounds", -1), ("messages", "3"), ("rounds", 1.5), ("bytes_to", {"0": -1})])
def test_no_party_reports_a_count_that_is_none(name: str, value: Any) -> None:
    report = json.loads(PartyReport.of(CostMeter(), 0).encode())
    report["phases"]["online"][name] = value
    with pytest.raises(MalformedFrame, match="unreadable cost report"):
        PartyReport.decode(bytearray(json.dumps(report).encode()), 1)


@pytest.mark.parametrize("error", [ProtocolAbort("a", where="b", hint="c"), PeerLost("a"), KernelError("a", where="b"),
                                   MpcBridgeError("a", where="party 1, round 3")])
def test_errors_survive_the_wire(error: MpcBridgeError) -> None:
    found = decode_error(bytearray(encode_error(error)), "party 1")
    assert type(found) is type(error) and found.what == error.what and found.hint == error.hint
    assert error.where in found.where and "party 1" in found.where


@pytest.mark.parametrize("name", ["BaseException", "SystemExit", "annotations", "__doc__", "NoSuchError", ""])
def test_only_this_packages_errors_are_made(name: str) -> None:
    payload = json.dumps({"class": name, "what": "w\x1b[2J", "where": "", "hint": ""}).encode()
    error = decode_error(bytearray(payload), "party 1")
    assert type(error) is MpcBridgeError and error.what == "w?[2J"


def test_party_configuration_survives_standard_input() -> None:
    config = PartyConfig(1, 3, 5, ("/tmp/x", ("127.0.0.1", 99)), "ab" * 32, 1.5, "a:b", "cpu", 7,
                         {-1: "01" * 32, 0: "02" * 32})
    found = PartyConfig.decode(config.encode())
    assert found == config and found.credentials().keys == {-1: b"\1" * 32, 0: b"\2" * 32}
    for bad in (b"{}", b"[]", replace(config, keys={0: "02" * 31}).encode(), replace(config, identity="x").encode(),
                config.encode().replace(b'{"-1"', b'{"x"')):
        with pytest.raises(UsageError):
            PartyConfig.decode(bad)


def variants(value: Any) -> Iterator[Any]:
    """The same structure with one leaf changed, for every leaf of dataclasses and tuples."""
    if is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            for changed in variants(getattr(value, item.name)):
                yield replace(value, **{item.name: changed})
    elif isinstance(value, tuple):
        for position, element in enumerate(value[:3]):
            for changed in variants(element):
                yield (*value[:position], changed, *value[position + 1:])
        yield (*value, 0)
    elif isinstance(value, dict):
        yield {**value, 10_000: 1}
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
        yield float(value)
    elif isinstance(value, str):
        yield value + "x"
    elif value is None:
        yield 0


def test_the_digest_covers_everything() -> None:
    circuit = load(Path(mpc_bridge.__file__).parent / "demo" / "digits.tflite")
    program = lower(circuit)
    own = digest(program, "salt")
    assert digest(lower(circuit.public()), "salt") == own
    assert digest(program, "other") != own
    # One step and value of each kind is enough; the encoding does not know which is which.
    steps = tuple({type(step): step for step in program.steps}.values())
    small = replace(program, steps=steps, values=program.values[:2])
    seen = [digest(variant, "salt") for variant in variants(replace(small, steps=()))]
    for step in steps:
        seen += [digest(replace(small, steps=(variant,)), "salt") for variant in variants(step)]
    assert len(seen) > 80 and len(set(seen)) == len(seen)
