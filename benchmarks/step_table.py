"""The table of docs/performance.md by one command: ``python benchmarks/step_table.py PARTS``.

Runs ``step.py`` once for each setting below, in a process of its own, and keeps its rows as
``PARTS/NAME.parquet``; a part that exists is not measured again. Then the rows of all parts are put into
docs/results/step.parquet, in the place of those of the same case on the same processor, the table between
the two marks of docs/performance.md is replaced (rows of at least seven repetitions), and the picture
docs/assets/step.svg is drawn: the ratio of a step to its forward passes against parameters, tokens and
branches. ``--only NAME ...`` measures some settings, ``--draw`` none. Needs pyarrow and matplotlib.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
BEGIN, END = "<!-- step.parquet: begin -->", "<!-- step.parquet: end -->"
MEZO = "mezo:loop mezo:snapshot mezo:streamed mezo:streamed-paired mezo:in-place-fused"
FEW = "mezo:loop mezo:snapshot mezo:streamed-paired lozo:factored-lazy"
GROUPED = "mezo:snapshot fzoo:grouped"
SETTINGS = {
    "float32": f"--cases {MEZO}",
    "float32-lozo": "--sizes 8x32 16x64 --cases lozo:factored-lazy",
    "float32-fzoo": "--cases fzoo:snapshot fzoo:grouped",
    "float32-16x64": "--sizes 16x64 --cases mezo:snapshot mezo:streamed mezo:streamed-paired",
    "float32-16x64-in-place": "--sizes 16x64 --cases mezo:in-place-fused",
    "float32-16x64-fzoo": "--sizes 16x64 --cases fzoo:snapshot",
    "bfloat16": f"--dtype bfloat16 --cases {MEZO}",
    "bfloat16-lozo": "--dtype bfloat16 --cases lozo:factored-lazy",
    "lora": f"--space lora --sizes 8x32 1x16 --cases {GROUPED}",
    "prefix": "--space prefix --cases mezo:snapshot",
    "2m": f"--shape 2m --cases {FEW}",
    "22m": f"--shape 22m --cases {FEW}",
    "1.3b": "--shape 1.3b --repeats 3 --no-restore --cases mezo:streamed-sliced mezo:streamed-paired",
    "float32-1x16": "--sizes 1x16 --cases mezo:loop mezo:snapshot mezo:in-place-fused lozo:factored-lazy",
    **{f"22m-{n}-branches": f"--shape 22m --branches {n} --cases fzoo:snapshot" for n in (2, 4, 8, 16)},
    **{
        f"22m-lora-{n}-branches": f"--shape 22m --space lora --sizes 1x16 --branches {n} --cases fzoo:grouped"
        for n in (2, 4, 8, 16)
    },
}
"""Options of step.py by the name of the part."""
GOALS = {
    ("mezo:snapshot", "full", "8x32", "float32"): 1.25,
    ("mezo:snapshot", "full", "16x64", "float32"): 1.08,
    ("mezo:snapshot", "full", "8x32", "bfloat16"): 1.5,
    ("mezo:streamed", "full", "8x32", "bfloat16"): 1.5,
    ("mezo:streamed-paired", "full", "8x32", "bfloat16"): 1.5,
    ("lozo:factored-lazy", "full", "8x32", "float32"): 1.05,
    ("lozo:factored-lazy", "full", "16x64", "float32"): 1.05,
    ("lozo:factored-lazy", "full", "8x32", "bfloat16"): 1.1,
    ("fzoo:snapshot", "full", "8x32", "float32"): 1.10,
    ("fzoo:snapshot", "full", "16x64", "float32"): 1.05,
    ("fzoo:grouped", "full", "8x32", "float32"): 1.10,
    ("mezo:snapshot", "lora", "8x32", "float32"): 1.02,
    ("mezo:snapshot", "prefix", "8x32", "float32"): 1.02,
    ("fzoo:grouped", "lora", "8x32", "float32"): 1.0,
    ("fzoo:grouped", "lora", "1x16", "float32"): 0.6,
}
"""Goals on the shape of 135 M parameters."""

ENOUGH = 7
"""Repetitions of a row of the table."""

COLOURS = (
    "mezo, loop",
    "mezo, snapshot",
    "mezo, streamed-paired",
    "lozo, factored-lazy",
    "mezo, in-place-fused",
    "fzoo, snapshot",
    "fzoo, grouped, LoRA",
    "mezo, streamed",
)
"""Cases in the order of matplotlib's colours."""

Rows = list[dict[str, Any]]


def measured(parts: Path, only: list[str] | None) -> None:
    """Measure the settings whose parts do not exist."""
    for name, options in SETTINGS.items():
        out = parts / f"{name}.parquet"
        if out.exists() or (only and name not in only):
            continue
        print(f"{name}: {options}", flush=True)
        subprocess.run([sys.executable, HERE / "step.py", *options.split(), "--out", out], check=True)


def table(rows: Rows) -> str:
    """Steps on the shape of 135 M parameters, as Markdown."""
    lines = [
        "| step | space | size | format | processor | goal | step / its forward passes "
        "| ns per parameter more | runs |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    whole = [row for row in rows if row["parameters"] in range(1 << 27, 1 << 28) and row["case"] != "forward"]
    for row in sorted((row for row in whole if row["repeats"] >= ENOUGH), key=place):
        goal = GOALS.get((row["case"], row["space"], row["size"], row["dtype"]))
        ratio = f"{row['ratio']:.2f} [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]"
        size = row["size"].replace("x", "\u00a0×\u00a0")
        what = f"{row['case'].replace(':', ', ')} | {row['space']} | {size}"
        more = f"{row['ns_per_parameter']:.2f}".replace("-", "−")
        lines.append(
            f"| {what} | {row['dtype']} | {family(row)} | {'' if goal is None else f'≤ {goal:g}'} | {ratio} "
            f"| {more} | {row['repeats']} |"
        )
    return "\n".join(lines)


def family(row: dict[str, Any]) -> int:
    """The processor's family, as far as its vector instructions tell two apart."""
    return 26 if "avx_vnni" in row["flags"].split() else 25


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What was measured, and on which processor."""
    what = ("state", "case", "space", "size", "dtype", "parameters", "forwards", "flags")
    return tuple(row[name] for name in what)


def place(row: dict[str, Any]) -> tuple[Any, ...]:
    """Place in the table: settings in the order of ``GOALS``' kinds, the two processors side by side."""
    spaces, sizes = ("full", "lora", "prefix"), ("8x32", "16x64", "1x16")
    methods = ("mezo", "lozo", "fzoo")
    modes = ("loop", "snapshot", "streamed", "streamed-paired", "in-place-fused")
    method, mode = row["case"].split(":")
    order = modes.index(mode) if mode in modes else len(modes)
    half = row["dtype"] == "bfloat16"
    where = (spaces.index(row["space"]), half, sizes.index(row["size"]), methods.index(method), order)
    return (*where, -family(row))


def tokens(row: dict[str, Any]) -> int:
    rows, length = row["size"].split("x")
    return int(rows) * int(length)


def panel(axes: Any, rows: Rows, over: Callable[[dict[str, Any]], float], what: str, low: float) -> None:
    """One line for each case and processor that was measured at several places of the axis."""
    lines: dict[tuple[str, int], Rows] = defaultdict(list)
    for row in sorted(rows, key=over):
        if row["case"] != "forward":
            name = f"{row['case'].replace(':', ', ')}{'' if row['space'] == 'full' else ', LoRA'}"
            lines[name, family(row)].append(row)
    for (name, which), line in lines.items():
        if len({over(row) for row in line}) > 1:
            y = [row["ratio"] for row in line]
            bars = [row["ratio"] - row["ratio_low"] for row in line]
            above = [row["ratio_high"] - row["ratio"] for row in line]
            x = [over(row) for row in line]
            # One colour per case in all panels.
            color = f"C{list(COLOURS).index(name)}" if name in COLOURS else None
            style = {"marker": "o", "markersize": 4, "capsize": 3, "color": color}
            dashes = "-" if which == 26 else "--"
            label = name if which == 26 else f"{name}, family {which}"
            axes.errorbar(x, y, [bars, above], label=label, linestyle=dashes, **style)
    axes.axhline(1.0, color="grey", linewidth=0.8, label="forward passes alone")
    axes.set(xscale="log", xlabel=what, ylim=(low, None))
    places = sorted({over(row) for line in lines.values() for row in line})
    axes.set_xticks(
        places,
        [f"{float(format(place / 1e6, '.3g')):g} M" if place > 1e5 else f"{place:g}" for place in places],
    )
    axes.xaxis.set_minor_locator(NullLocator())


def picture(rows: Rows) -> Figure:
    """Growth with parameters (8 x 32), with tokens and with branches; float32."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    one, two, three = figure.subplots(1, 3)
    plain = [row for row in rows if row["dtype"] == "float32"]
    full = [row for row in plain if row["space"] == "full"]
    at = [row for row in full if row["size"] == "8x32" and row["forwards"] in (2.0, 9.0)]
    panel(one, at, lambda row: row["parameters"], "parameters", 0.9)
    few = [row for row in full if row["parameters"] in range(1 << 27, 1 << 28)]
    panel(two, few, tokens, "tokens in the minibatch (135 M parameters)", 0.9)
    many = [row for row in plain if 1e7 < row["parameters"] < 1e8 and row["case"].startswith("fzoo")]
    panel(three, many, lambda row: row["forwards"] - 1, "branches (22 M parameters)", 0.0)
    one.set_ylabel("step / its forward passes")
    # One legend for all panels, below them, where it covers no line.
    each = [axes.get_legend_handles_labels() for axes in (one, two, three)]
    shown = {label: line for lines, labels in each for line, label in zip(lines, labels, strict=True)}
    figure.legend(shown.values(), shown, fontsize=7, loc="outside lower center", ncols=5, frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", type=Path)
    parser.add_argument("--only", nargs="+", choices=SETTINGS)
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    arguments.parts.mkdir(parents=True, exist_ok=True)
    if not arguments.draw:
        measured(arguments.parts, arguments.only)
    files = [arguments.parts / f"{name}.parquet" for name in SETTINGS]
    rows = [row for file in files if file.exists() for row in pyarrow.parquet.read_table(file).to_pylist()]
    kept = DOCS / "results" / "step.parquet"
    rows = [{**row, "state": "now"} for row in rows]
    again = {key(row) for row in rows}
    every = [row for row in pyarrow.parquet.read_table(kept).to_pylist() if key(row) not in again] + rows
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(every), kept)
    rows = [row for row in every if row["state"] == "now"]
    picture(rows).savefig(DOCS / "assets" / "step.svg", metadata={"Date": None})
    page = (DOCS / "performance.md").read_text("utf-8")
    above, rest = page.split(BEGIN)
    text = f"{above}{BEGIN}\n{table(rows)}\n{END}{rest.split(END)[1]}"
    (DOCS / "performance.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
