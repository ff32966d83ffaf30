"""Renders sections and data as one offline HTML text.

Untrusted text is escaped where it is written: HTML by jinja's autoescape, JSON inside ``<script>`` by
replacing ``< > &`` and the two line separators of JavaScript, and scripts insert names only as text. As a
second safeguard, a Content-Security-Policy forbids network access and all scripts except the page's own (by
SHA-256).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from zobench.metrics import measures

HERE = Path(__file__).resolve().parent
STYLES = ("base", "layout", "tables", "charts", "robustness", "print")
SCRIPTS = (
    "data",
    "dom",
    "theme",
    "fragment",
    "panels",
    "filters",
    "copying",
    "tables",
    "plot",
    "curves",
    "pareto",
    "profiles",
    "examples",
    "heads",
    "runs",
    "compare",
    "cards",
    "tuning",
    "start",
)
APART = re.compile(r"(?<=\d) %|\bp (?:[=<]|&lt;) (?=[\d.])")


def render(template: str, body: dict[str, Any], data: dict[str, Any]) -> str:
    """A complete page. ``body`` goes to the template, ``data`` to the scripts."""
    program = "\n".join(asset(f"{name}.js") for name in SCRIPTS)
    library = plotly()
    return (
        environment()
        .get_template(template)
        .render(
            **body,
            style=Markup("\n".join(asset(f"{name}.css") for name in STYLES)),
            program=Markup(program),
            library=Markup(library),
            data=Markup(json_for_script(data)),
            policy=policy([program, library]),
        )
    )


def render_plain(template: str, body: dict[str, Any]) -> str:
    """A page without any script."""
    style = Markup("\n".join(asset(f"{name}.css") for name in STYLES))
    return environment().get_template(template).render(**body, style=style, policy=policy([]))


def section(template: str, folder: Path, values: dict[str, Any]) -> Markup:
    """A section's HTML from the text of a template or from an ``.html`` file in ``folder``."""
    env = environment(folder)
    named = template.endswith(".html") and "\n" not in template
    return unbroken(
        Markup((env.get_template(template) if named else env.from_string(template)).render(**values))
    )


def unbroken(html: Markup) -> Markup:
    """The same text without line breaks between a number and its ``%``, or within ``p = 0.04``."""
    return Markup(APART.sub(lambda found: found[0].replace(" ", "\u00a0"), str(html)))


@functools.cache
def environment(folder: Path = HERE / "templates") -> Environment:
    """Environment with the templates of ``folder``, then the page's own; autoescape is on, and undefined
    names are errors."""
    env = Environment(
        loader=FileSystemLoader([folder, HERE / "templates"]),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["count"] = count
    env.filters["time"] = lambda v: "–" if v != v else "not reached" if v == float("inf") else count(v)
    env.filters["percent"] = percent
    env.filters["share"] = lambda v, share: (f"{100 * v:.1f}" if share else f"{v:.3f}").replace("-", "−")
    env.filters["measured"] = measured
    env.filters["heading"] = lambda text: text[:1].upper() + text[1:]
    env.filters["exact"] = exact
    env.filters["fact"] = fact
    env.filters["own"] = own
    env.filters["records"] = lambda frame: frame.to_dict("records")
    env.filters["mebibytes"] = lambda v: "" if v is None else f"{v / 2**20:,.0f}"
    env.filters["p"] = lambda v: "" if v is None or v != v else "< 0.001" if v < 0.001 else f"{v:.2g}"
    return env


@functools.cache
def asset(name: str) -> str:
    """A hand-written style sheet or script. It must not contain the end tag of its HTML element."""
    text = (HERE / "assets" / name).read_text(encoding="utf-8")
    assert "</script" not in text.lower(), name
    assert "</style" not in text.lower(), name
    return text


@functools.cache
def plotly() -> str:
    """The smallest bundle of plotly.js with all trace types of a page; origin: ``vendor/plotly.json``."""
    text = (HERE / "vendor" / "plotly-basic.min.js").read_text(encoding="utf-8")
    assert "</script" not in text.lower(), "plotly.js cannot be inlined"
    return text


def json_for_script(data: Any) -> str:
    """JSON that cannot end its ``<script type="application/json">``; NaN and infinity are errors."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def policy(scripts: list[str]) -> str:
    """Content-Security-Policy: no network, no plug-ins, no forms; only the given inline scripts. Inline
    styles are allowed because plotly sets some.
    """
    hashes = " ".join(f"'sha256-{_digest(s)}'" for s in scripts) or "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'none'; font-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()


def count(value: float | None) -> str:
    """``600``, ``28.8k``, ``4.3M``."""
    if value is None or value != value:
        return ""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.3g}{unit}"
    if 0 < abs(value) < 0.01:
        return "< 0.01" if value > 0 else "> −0.01"
    return f"{value:.0f}" if abs(value) >= 10 or float(value).is_integer() else f"{value:.2g}"


def own(value: float | None, form: str) -> str:
    """A value of an attack's own metric in the format that its card declares."""
    if form == "percent":
        return percent(value) or "–"
    return "–" if value is None else f"{value:,.0f}" if form == "count" else f"{value:.3g}"


def exact(value: float | None) -> Markup:
    """Attribute of a table cell with the unrounded number, which sorting, CSV and export use."""
    known = value is not None and value == value
    return Markup(' data-sort="{}"').format(repr(float(value)) if known and value is not None else "")


def measured(value: float | None, metric: str) -> str:
    """A value of that metric: a share in percent with its sign, other numbers with four digits."""
    if value is None or value != value:
        return "–"
    text = f"{100 * value:.1f} %" if measures.in_percent(metric) else f"{value:.4g}"
    return text.replace("-", "−") if abs(value) >= 1e-4 else text


def fact(value: Any, name: str) -> str:
    """A fact of a run as text: counts with separators, bytes in MiB, other numbers with three digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if name.endswith("_bytes"):
        return f"{value / 2**20:,.0f} MiB"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def percent(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.1f}".replace("-", "−")
