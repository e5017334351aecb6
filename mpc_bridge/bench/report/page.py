"""The page: one HTML file with its pictures' JavaScript in it, which asks nothing of any network.

Needs the extra ``report`` (Jinja2 for the text, vl-convert for Vega). Results files are a stranger's: all their text
goes through autoescaping or into a JSON block, and the page's policy runs the two scripts it came with and no other.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from mpc_bridge.bench.report import charts, words
from mpc_bridge.bench.report.content import content
from mpc_bridge.bench.report.extra import needs
from mpc_bridge.bench.report.figures import Source
from mpc_bridge.quantities import change, duration, grouped, size, span, times

TITLE = "mpc-bridge: what security costs"
#: Ratios from which a cell is a step darker; below the first it costs less.
_HEAT = (0.995, 1.5, 3.0, 10.0, 30.0)


def page(sources: Sequence[Source]) -> str:
    """The whole file.

    Raises:
        UsageError: the extra ``report`` is not installed.
    """
    jinja2, vl_convert = needs("jinja2"), needs("vl_convert")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
    environment.filters.update(times=times, duration=duration, size=size, grouped=grouped, change=change, span=span,
                               heat=heat, shape=words.shape)
    markup = environment.filters["safe"]
    library, script, style = vl_convert.javascript_bundle(), _template("page.js"), _palette() + _template("page.css")
    text, data = content(sources)
    return str(environment.from_string(_template("page.html.j2")).render(
        **text, title=TITLE, data=markup(_json(data)), style=markup(style),
        library=markup(library), script=markup(script), policy=_policy([library, script], style)))


def heat(ratio: float | None) -> int:
    """How dark a ratio is shown: 0 where nothing is paid, up to 5."""
    return 0 if ratio is None else sum(ratio > step for step in _HEAT)


def _policy(scripts: Iterable[str], style: str) -> str:
    allowed = " ".join(_hash(script) for script in scripts)
    return (f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; base-uri 'none'; "
            "form-action 'none'")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """JSON that no HTML parser takes for markup."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _template(name: str) -> str:
    return (files("mpc_bridge.bench.report") / "templates" / name).read_text(encoding="utf-8")


def _palette() -> str:
    light, dark = ("".join(f"--{name}:{colours[index]};" for name, colours in charts.PALETTE.items())
                   for index in (0, 1))
    return (f":root{{color-scheme:light;--font:{charts.FONT};{light}}}"
            "@media screen and (prefers-color-scheme:dark)"
            f"{{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}"
            f"@media screen{{:root[data-theme=dark]{{color-scheme:dark;{dark}}}}}\n")
