"""Which published claims appear at the scale of the built-in model: writes ``docs/claims.md`` from kept runs.

    python docs/claims.py --from RESULTS NAME   # compact the results folder of suite NAME, then the page
    python docs/claims.py                       # the page alone, from docs/results/*.parquet

``docs/results/NAME.parquet`` holds one line per run and evaluation point: task, row, group, parameters
chosen, seed, forwards, test accuracy. Everything on the page is computed from it; verdicts follow the
rule printed there.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from zobench.metrics.curves import time_to_target
from zobench.metrics.intervals import Interval
from zobench.metrics.paired import Comparison, compare, holm
from zobench.store.reader import read

HERE = Path(__file__).resolve().parent
PAGE = HERE / "claims.md"
REFERENCE = "mezo"
SHARE = 0.9
MARGIN = 0.02
COLUMNS = ["task", "row", "group", "params", "seed", "forwards", "accuracy", "chance", "budget", "commit"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A published statement about a row against MeZO.

    Attributes:
        kind: ``fewer`` forwards to the same accuracy; ``higher`` or ``lower`` accuracy at equal forwards;
            ``no gain``: no higher accuracy at equal forwards.
        ratio: the published ratio of forwards, where there is one.
    """

    row: str
    kind: Literal["fewer", "higher", "lower", "no gain"]
    says: str
    source: str
    ratio: float | None = None


CLAIMS = (
    Claim(
        "fzoo", "fewer", "the accuracy of MeZO with 3 times fewer forwards (11 tasks)", "2506.09034", 1 / 3
    ),
    Claim("fzoo", "fewer", "18 times fewer forwards (RoBERTa-large)", "2506.09034", 1 / 18),
    Claim("fzoo", "higher", "3 % more accurate on average", "2506.09034"),
    Claim("zo-muon", "fewer", "24.7 % of MeZO's queries to the same accuracy (SST-2)", "2602.17155", 0.247),
    Claim("mezo n=4", "no gain", "n > 1 gives no consistent gain at equal forwards", "2305.17333"),
    Claim("sparse-mezo", "higher", "3.7 points more accurate (LLaMA-7B, average)", "2402.15751"),
    Claim("sparse-mezo", "fewer", "3.5 times fewer steps to the same accuracy (RTE)", "2402.15751", 1 / 3.5),
    Claim("one-point", "lower", "one-point below two-point at equal forwards", "2305.17333, table 11"),
    Claim("conmezo", "fewer", "about twice as fast to the same loss", "2511.02757", 0.5),
    Claim(
        "hizoo", "higher", "higher on RoBERTa-large (70.9 against 67.4)", "2402.15173 as quoted in 2506.09034"
    ),
    Claim("subzero", "higher", "more accurate than MeZO (OPT-13B)", "2410.08989"),
    Claim("kerzoo", "higher", "2.6 to 2.9 points more accurate (OPT-2.7B)", "2505.18886"),
)


def compact(folder: Path, name: str) -> Path:
    """One Parquet file of the clean test accuracy of every finished run of the comparison in ``folder``."""
    found = read([folder], ("runs", "metrics"))
    runs, metrics = found.runs, found.metrics
    runs = runs[(runs["purpose"] == "result") & runs["status"].isin(("done", "diverged", "budget"))]
    points = metrics[
        (metrics["metric"] == "accuracy")
        & (metrics["split"] == "test")
        & (metrics["condition_kind"] == "clean")
    ]
    points = points[["run_id", "forwards", "value"]].rename(columns={"value": "accuracy"})
    runs = runs.rename(
        columns={"method_params": "params", "budget_forwards": "budget", "git_commit": "commit"}
    )
    table = runs.drop(columns="forwards").merge(points, on="run_id")
    path = HERE / "results" / f"{name}.parquet"
    ordered = table[COLUMNS].sort_values(["task", "row", "seed", "forwards"], ignore_index=True)
    ordered.to_parquet(path, index=False, compression="zstd")
    return path


def compact_trials(folder: Path, name: str) -> Path:
    """One Parquet file of every trial of the tuning: task, row, parameters, seed, validation score, cost."""
    found = read([folder], ("runs", "metrics"))
    runs, metrics = found.runs, found.metrics
    runs = runs[runs["purpose"] == "tuning"]
    scored = metrics[(metrics["split"] == "validation") & metrics["final"]]
    scored = scored[["run_id", "metric", "value"]].rename(columns={"value": "validation"})
    runs = runs.rename(columns={"method_params": "params"}).drop(columns="row")
    runs = runs.rename(columns={"tuning_of": "row"})
    table = runs.merge(
        scored, left_on=["run_id", "primary_metric"], right_on=["run_id", "metric"], how="left"
    )
    path = HERE / "results" / f"{name}-trials.parquet"
    ordered = table[["task", "row", "params", "seed", "status", "validation", "forwards"]]
    ordered = ordered.sort_values(["task", "row", "params", "seed"], ignore_index=True)
    ordered.to_parquet(path, index=False, compression="zstd")
    return path


def finals(points: pd.DataFrame) -> pd.DataFrame:
    """Accuracy at the end of every run, as ``value``."""
    last = points.sort_values("forwards").groupby(["task", "row", "seed"], as_index=False).tail(1)
    return last.rename(columns={"accuracy": "value"})


def targets(points: pd.DataFrame) -> dict[str, float]:
    """Per task: nine tenths of the way from chance to the mean final accuracy of MeZO."""
    last = finals(points)
    last = last[last["row"] == REFERENCE].groupby("task")[["value", "chance"]].mean()
    return {str(t): float(r["chance"] + SHARE * (r["value"] - r["chance"])) for t, r in last.iterrows()}


def times(points: pd.DataFrame) -> pd.DataFrame:
    """Forwards until the target is first met; a miss counts as the budget (``reached`` False)."""
    goal = targets(points)
    lines = []
    for (task, row, seed), run in points.groupby(["task", "row", "seed"]):
        run = run.sort_values("forwards")
        met = time_to_target(run["forwards"].tolist(), run["accuracy"].tolist(), goal[str(task)])
        spent = met.time if met.reached else float(run["budget"].iloc[0])
        lines.append((task, row, seed, max(spent, 1.0), met.reached))
    return pd.DataFrame(lines, columns=["task", "row", "seed", "time", "reached"])


@dataclass(frozen=True, slots=True)
class Against:
    """A row against MeZO on common tasks and seeds: accuracy difference, and geometric mean ratio of forwards
    to target with its interval; p-values corrected by Holm over all rows."""

    row: str
    accuracy: Comparison
    ratio: tuple[float, float, float]
    p_accuracy: float
    p_ratio: float
    reached: int
    runs: int


def against_reference(points: pd.DataFrame) -> list[Against]:
    """Every method but MeZO, best final accuracy first."""
    points = points[points["group"] == "method"]
    last, spent = finals(points), times(points)
    logs = spent.assign(value=np.log(spent["time"]))
    pairs: dict[str, tuple[Comparison, Comparison]] = {}
    for row in points["row"].unique():
        accuracy, forwards = compare(last, row, REFERENCE), compare(logs, row, REFERENCE)
        if row != REFERENCE and accuracy is not None and forwards is not None:
            pairs[row] = (accuracy, forwards)
    p_accuracy = holm([accuracy.p for accuracy, _ in pairs.values()])
    p_ratio = holm([forwards.p for _, forwards in pairs.values()])
    found = []
    for i, (row, (accuracy, forwards)) in enumerate(pairs.items()):
        reached = spent.loc[spent["row"] == row, "reached"]
        ratio, corrected = _ratio(forwards.difference), (float(p_accuracy[i]), float(p_ratio[i]))
        found.append(Against(row, accuracy, ratio, *corrected, int(reached.sum()), len(reached)))
    return sorted(found, key=lambda a: -a.accuracy.difference.value)


def _ratio(log: Interval) -> tuple[float, float, float]:
    return math.exp(log.value), math.exp(log.low), math.exp(log.high)


def verdict(claim: Claim, found: Against) -> str:
    """The rule of the page, on the uncorrected 95 % interval of the claim's own comparison."""
    if claim.kind == "fewer":
        _, low, high = found.ratio
        if low > 1:
            return "contradicted"
        inside = claim.ratio is not None and low <= claim.ratio <= high
        if high >= 1:
            return "not shown" if inside else "not shown, and not by that factor"
        return "appears" if inside else "appears, by another factor"
    low, high = found.accuracy.difference.low, found.accuracy.difference.high
    if claim.kind == "no gain":
        return "appears" if high < MARGIN else "contradicted" if low > 0 else "not shown"
    if claim.kind == "lower":
        low, high = -high, -low
    return "appears" if low > 0 else "contradicted" if high < 0 else "not shown"


def on_edge(points: pd.DataFrame, trials: pd.DataFrame) -> dict[str, list[str]]:
    """Rows whose chosen learning rate is the least or the largest that was tried, with the tasks."""
    found: dict[str, list[str]] = {}
    for (task, row), tried in trials.groupby(["task", "row"]):
        rates = sorted({json.loads(params)["lr"] for params in tried["params"]})
        mine = points[(points["task"] == task) & (points["row"] == row)]
        if {json.loads(params)["lr"] for params in mine["params"]} & {rates[0], rates[-1]}:
            found.setdefault(str(row), []).append(str(task))
    return found


def measured(claim: Claim, found: Against) -> str:
    if claim.kind == "fewer":
        return "{:.2f} × MeZO's forwards [{:.2f}, {:.2f}]".format(*found.ratio)
    d = found.accuracy.difference
    return f"{100 * d.value:+.1f} points [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"


def page(points: pd.DataFrame, trials: pd.DataFrame, real: pd.DataFrame | None) -> str:
    """The whole page in Markdown."""
    edges = on_edge(points, trials)
    found = against_reference(points)
    by_row = {a.row: a for a in found}
    tasks, seeds = sorted(points["task"].unique()), points["seed"].nunique()
    goal = ", ".join(f"{t} {100 * v:.1f} %" for t, v in sorted(targets(points).items()))
    lines = [
        HEAD.format(
            tasks=" and ".join(tasks),
            seeds=seeds,
            budget=int(points["budget"].max()),
            goal=goal,
            commits=_commits(points),
        )
    ]
    lines += ["| row | published | source | measured here | verdict |", "|---|---|---|---|---|"]
    for c in CLAIMS:
        if c.row in by_row:
            a = by_row[c.row]
            lines.append(f"| `{c.row}` | {c.says} | {c.source} | {measured(c, a)} | **{verdict(c, a)}** |")
    lines += ["", "## Every method against MeZO", "", TABLE_HEAD]
    lines += ["| row | " + " | ".join(tasks) + " | difference | p | forwards ratio | p | reached | edge |"]
    lines += ["|---|" + "---|" * (len(tasks) + 6)]
    means = finals(points).groupby(["row", "task"])["value"].mean()
    none = " | ".join(["–"] * 5)
    for row in sorted(points["row"].unique(), key=lambda r: -means[r].mean()):
        cells = " | ".join(f"{100 * means[row, t]:.1f}" if (row, t) in means.index else "–" for t in tasks)
        edge = ", ".join(t.removeprefix("nano-") for t in edges.get(row, []))
        lines.append(f"| `{row}` | {cells} | {_cells(by_row[row]) if row in by_row else none} | {edge} |")
    if real is not None:
        lines += ["", REAL_HEAD, *_real_table(real)]
    return "\n".join(lines) + "\n"


def _cells(a: Against) -> str:
    d = a.accuracy.difference
    difference = f"{100 * d.value:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"
    ratio = "{:.2f} [{:.2f}, {:.2f}]".format(*a.ratio)
    return f"{difference} | {a.p_accuracy:.2g} | {ratio} | {a.p_ratio:.2g} | {a.reached}/{a.runs}"


def _real_table(real: pd.DataFrame) -> list[str]:
    last = finals(real)
    last = last.assign(mezo=last["seed"].map(last[last["row"] == REFERENCE].set_index("seed")["value"]))
    lines = ["| row | accuracy | difference from MeZO | runs | code |", "|---|---|---|---|---|"]
    for row, runs in sorted(last.groupby("row"), key=lambda g: -g[1]["value"].mean()):
        pair = None if row == REFERENCE else compare(last, str(row), REFERENCE)
        shown = "–"
        if pair is not None:
            d = pair.difference
            shown = f"{100 * d.value:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"
        lines.append(
            f"| `{row}` | {100 * runs['value'].mean():.1f} | {shown} | {len(runs)} | {_commits(runs)} |"
        )
    return lines


def _commits(runs: pd.DataFrame) -> str:
    return ", ".join(sorted({c[:7] for c in runs["commit"]}))


HEAD = """# Which published claims appear at this scale

Written by `docs/claims.py` from `docs/results/queries-to-target.parquet`, the runs of `zobench run
suites/queries-to-target.yaml`: {tasks} on the built-in model of about a million parameters, all weights
tuned, {budget} forwards a run, {seeds} seeds, code {commits}. Every method chose its learning rate among
five, half a decade apart, on validation rows of another data seed
(`docs/results/queries-to-target-trials.parquet`); the grids' centres come from one pilot for all
(`benchmarks/rate_pilot.py`). Other parameters: each paper's defaults. What holds at a million parameters,
{budget} forwards and two classification tasks need not hold at seven billion and forty thousand, nor the
other way round: a verdict here is about this scale.

*Rule.* A row is compared with `mezo` on common tasks and seeds: final test accuracy (mean over tasks of
paired differences, 95 % t interval), and forwards until nine tenths of the way from chance to MeZO's mean
final accuracy ({goal}), as geometric mean of paired ratios; a run that misses counts as its whole budget,
which draws ratios towards 1. A direction **appears** if the interval excludes no difference, is
**contradicted** if it lies on the other side, else **not shown**. "By another factor" and "not by that
factor": the published ratio lies outside the interval. "No gain" appears if the interval ends below +2
points. Intervals are not corrected for the number of claims; the table below carries p-values corrected by
Holm.
"""
TABLE_HEAD = """Mean final test accuracy (%) per task; difference from MeZO in points; ratio of forwards to
target; p-values by paired t test, Holm-corrected over the rows; runs that reached the target; tasks
whose chosen learning rate lies on the edge of its grid, where a wider grid might have given more.
"""
REAL_HEAD = """## Real data: SST-2 on a sentence encoder

`zobench run suites/fewshot-real.yaml`: all-MiniLM-L6-v2, at most 32 tokens, the classification head tuned;
final test accuracy in per cent on 500 rows, difference in points with 95 % t interval over paired seeds.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="source", nargs=2, metavar=("RESULTS", "NAME"))
    options = parser.parse_args()
    if options.source:
        folder, name = Path(options.source[0]), options.source[1]
        compact(folder, name)
        compact_trials(folder, name)
    PAGE.write_text(from_results(), encoding="utf-8")


def from_results() -> str:
    real = HERE / "results" / "fewshot-real.parquet"
    points = pd.read_parquet(HERE / "results" / "queries-to-target.parquet")
    trials = pd.read_parquet(HERE / "results" / "queries-to-target-trials.parquet")
    return page(points, trials, pd.read_parquet(real) if real.exists() else None)


if __name__ == "__main__":
    main()
