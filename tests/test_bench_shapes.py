"""Shapes of networks: what people write, and what they get to read."""

from __future__ import annotations

import pytest

from mpc_bridge.bench.shapes import LAN, SHAPES, WAN, Shape, parse_shape
from mpc_bridge.errors import UsageError


def test_names() -> None:
    assert parse_shape("local") is None
    assert parse_shape("lan") == LAN == Shape("lan", 0.001, 10**9)
    assert parse_shape(" WAN ") == WAN == Shape("wan", 0.040, 10**8)


@pytest.mark.parametrize(("text", "name", "rtt", "bandwidth"), [
    ("10ms/300mbit", "10ms/300mbit", 0.010, 300_000_000),
    ("10 ms / 300 Mbit/s", "10ms/300mbit", 0.010, 300_000_000),
    ("0.010s/0.3gbit", "10ms/300mbit", 0.010, 300_000_000),
    ("0ms/1kbit", "0us/1kbit", 0.0, 1000),
    ("250us/2.5gbit/s", "250us/2.5gbit", 0.000250, 2_500_000_000),
    ("5s/1tbit", "5s/1tbit", 5.0, 10**12),
    ("1234567us/1234567.891kbit", "1.234567s/1.234567891gbit", 1.234567, 1_234_567_891),
])
def test_numbers(text: str, name: str, rtt: float, bandwidth: int) -> None:
    shape = parse_shape(text)
    assert shape == Shape(name, rtt, bandwidth)
    assert parse_shape(name) == shape


def test_equal_networks_are_one() -> None:
    assert parse_shape("1000us/1000mbit") is LAN
    assert parse_shape("0.04s/0.1gbit/s") is WAN


@pytest.mark.parametrize("text", [
    "", "/", "moon", "10ms", "10ms/", "/1mbit", "10/1mbit", "10ms/1", "-1ms/1mbit", "1e3ms/1mbit", "10min/1mbit",
    "10ms/1mbps", "10ms/300mbit/s/s", "nanms/1mbit", "infs/1mbit", "10.ms/1mbit", "٣ms/1mbit", "1ms/1gbit;reboot",
    "5.001s/1mbit", "1ms/0.999kbit", "1ms/1.1tbit", "0.1us/1mbit", "1ms/1.0000001kbit", "9" * 99 + "ms/1mbit",
])
def test_bad_text_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_shape(text)
    assert caught.value.where and caught.value.hint


def test_limits_hold_for_shapes_from_elsewhere() -> None:
    for rtt, bandwidth in ((-1e-6, 10**6), (5.1, 10**6), (float("nan"), 10**6), (0.1, 999), (0.1, 10**12 + 1)):
        with pytest.raises(UsageError):
            Shape("x", rtt, bandwidth)


def test_words() -> None:
    assert str(SHAPES["lan"]) == "lan: 1 ms round trip, 1 Gbit/s"
    assert str(SHAPES["wan"]) == "wan: 40 ms round trip, 100 Mbit/s"
    assert str(parse_shape("250us/56kbit")) == "250 us round trip, 56 kbit/s"
