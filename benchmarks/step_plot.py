"""Picture of step costs against model size: ``python benchmarks/step_plot.py OUT.svg FILE.parquet ...``

Reads files that ``benchmarks/step.py --out`` wrote and draws, for each case, the ratio of a step to its
forward passes against the number of parameters; bars are quartiles. Needs matplotlib.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

import pyarrow.parquet
from matplotlib.figure import Figure


def series(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows by case, in order of size; cases measured at one size only are left out."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: r["parameters"]):
        if row["case"] != "forward":
            found[f"{row['case']}, {row['dtype']}, {row['size']}"].append(row)
    return {name: line for name, line in found.items() if len({r["parameters"] for r in line}) > 1}


def picture(rows: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, line in series(rows).items():
        y = [r["ratio"] for r in line]
        below = [r["ratio"] - r["ratio_low"] for r in line]
        above = [r["ratio_high"] - r["ratio"] for r in line]
        axes.errorbar([r["parameters"] for r in line], y, [below, above], marker="o", capsize=3, label=name)
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set(xscale="log", xlabel="parameters", ylabel="step / its forward passes")
    axes.legend()
    return figure


def main() -> None:
    out, *files = sys.argv[1:]
    rows = [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
    picture(rows).savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main()
