"""``mpc-bridge report``: where it writes, what it refuses, and that only the page needs more packages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mpc_bridge.cli import main
from tests.report_results import ROOT, Json, measured, mixed, written

__all__ = ["measured", "mixed", "written"]

Write = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in a folder of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def start(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as done:
            main(["report", *arguments])
        return int(done.value.code or 0), *capsys.readouterr()

    return start


def test_formats_and_destinations(tmp_path: Path, mixed: Json, written: Write, run: Run) -> None:
    path = str(written(mixed))
    for kind, start in (("csv", "file,revision,model,"), ("md", "# What security costs\n")):
        code, text, said = run(path, "--format", kind)
        assert code == 0 and said == "" and text.startswith(start)
        assert run(path, "-o", f"out.{kind}") == (0, "", f"wrote out.{kind}\n")
        assert (tmp_path / f"out.{kind}").read_text(encoding="utf-8") == text


def test_a_page_is_the_default(tmp_path: Path, mixed: Json, written: Write, run: Run) -> None:
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    assert run(str(written(mixed))) == (0, "", "wrote report.html\n")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and len(text) < 2_000_000


@pytest.mark.parametrize("package", ["vl_convert", "jinja2"])
def test_a_page_says_which_extra_it_needs(tmp_path: Path, mixed: Json, written: Write, run: Run, package: str,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    code, text, said = run(str(written(mixed)))
    assert code == 2 and text == "" and package in said and 'pip install "mpc-bridge[report]"' in said
    assert not (tmp_path / "report.html").exists()


def test_tables_need_no_extra(tmp_path: Path, mixed: Json, written: Write) -> None:
    hidden = "; ".join(f"sys.modules[{name!r}] = None" for name in ("jinja2", "vl_convert", "altair", "selenium"))
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {hidden}; from mpc_bridge.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "report", str(written(mixed)), "--format", "md"], cwd=tmp_path,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("# What security costs\n") and done.stderr == ""


def test_refusals(tmp_path: Path, mixed: Json, written: Write, run: Run) -> None:
    path = written(mixed)
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"schema": "mpc-bridge-overhead/1"}), encoding="utf-8")
    (tmp_path / "kept.md").write_text("kept", encoding="utf-8")
    for arguments, words in (
            ([str(path), "--format", "pdf"], "unknown format"), ([str(path), "-o", "x.pdf"], "says no format"),
            ([str(path), "-o", "x.md", "--format", "csv"], "has to end in .csv"),
            ([str(path), "-o", "none/x.md"], "does not exist"), ([str(broken), "-o", "kept.md"], "another schema"),
            ([str(tmp_path / "absent.json"), "-o", "kept.md"], "cannot read"),
            ([str(path), str(path), "-o", "kept.md"], "given twice"), ([], "Missing argument")):
        code, text, said = run(*arguments)
        assert code == 2 and words in said and text == "", arguments
    assert (tmp_path / "kept.md").read_text(encoding="utf-8") == "kept"
