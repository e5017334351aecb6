"""--majority dishonest and --preprocessing: a working default that says what it trusts; refusals of the rest."""

from __future__ import annotations

import json

import pytest

from tests.test_cli_commands import INPUTS, MODEL, Run, assert_refused, run

__all__ = ["run"]


def test_nothing_else_named_picks_a_working_default_and_says_what_it_trusts(run: Run) -> None:  # noqa: F811
    done = run("eval", MODEL, "--input", INPUTS, "--samples", "2", "--majority", "dishonest")
    assert done.returncode == 0, done.stderr
    assert "dishonest majority: security with abort against 1 of 2 parties" in done.stdout
    assert "a dealer: a process of its own that sees no data; trusted to deal what it should" in done.stdout
    assert "(sigma 52)" in done.stdout
    assert "equal: every output value" in done.stdout
    assert "the dealer" in done.stdout.splitlines()[-4]
    assert "AND gates, 1 797 888 ring multiplications" in done.stdout.splitlines()[-2]


@pytest.mark.parametrize(("security", "backend"), [("semi-honest", "additive"), ("malicious", "spdz2k")])
@pytest.mark.parametrize("parties", [3, 5])
def test_reports_name_the_dealer_and_count_what_it_sends(
    run: Run, parties: int, security: str, backend: str  # noqa: F811
) -> None:
    words = ["--majority", "dishonest", "--parties", parties, "--preprocessing", "dealer", "--json"]
    words += ["--security", security]
    done = run("eval", MODEL, "--input", INPUTS, "--samples", "1", *words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["threat_model"]["parties"] == parties and report["threat_model"]["corruptions"] == parties - 1
    assert report["backend"] == backend and report["preprocessing"] == "dealer"
    assert report["matches_reference"] is True
    helper = report["helper"]
    assert helper["name"] == "dealer" and "sees no data" in helper["trust"]
    dealt = helper["phases"]["preprocessing"]["bytes_sent"]
    assert len(dealt) == parties and dealt[0] > 100_000
    # the others get the seals of masks, or nothing
    assert all(0 < count < 2000 if security == "malicious" else not count for count in dealt[1:])
    assert all(len(phase["bytes_sent"]) == parties for phase in report["phases"].values())


def test_an_honest_majority_has_no_helper(run: Run) -> None:  # noqa: F811
    done = run("eval", MODEL, "--input", INPUTS, "--samples", "1", "--security", "semi-honest", "--json")
    report = json.loads(done.stdout)
    assert report["backend"] == "rep3" and report["helper"] is None and report["preprocessing"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--preprocessing", "dealer"], 3, ["rep3-mac needs no preprocessing", "leave --preprocessing out"]),
        (["--majority", "dishonest", "--preprocessing", "magic"], 2, ["use dealer or ot"]),
        (["--majority", "dishonest", "--parties", "6"], 3, ["2 to 5 parties"]),
        # one party too many is no reason to trust a dealer unasked
        (["--security", "semi-honest", "--parties", "4"], 3, ["additive"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_refusals(run: Run, arguments: list[str], code: int, words: list[str]) -> None:  # noqa: F811
    assert_refused(run("eval", MODEL, "--input", INPUTS, *arguments), code, *words)
