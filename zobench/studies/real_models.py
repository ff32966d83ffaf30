"""Results on the real language model: committed folders of compacted runs, and the tables computed from them.

    python -m zobench.studies.real_models RESULTS...   # first: docs/results/SUITE, from results folders
    python -m zobench.studies.real_models              # the tables of README.md and docs/real-models.md

A committed folder has the plan and the compacted runs, trials included, and nothing else: ``zobench report``
reads it, and ``zobench run SUITE --output docs/results/SUITE`` goes on from it.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd

from zobench.metrics.intervals import Interval, stratified_groups, wilson
from zobench.report.source import open_results
from zobench.store import compaction
from zobench.store.paths import COMPACT
from zobench.store.plan_file import FILE, PlanFile, read_plan
from zobench.studies import committed, markdown, real_problems, real_unlearning, small_and_real

FEWSHOT, ROBUSTNESS, UNLEARNING = "smollm2-fewshot", "smollm2-robustness", "smollm2-unlearning"
PROBLEMS = "drawn-problems"
_ACCURACY = (0.0, 1.0)


def keep(results: str | Path) -> Path:
    """Copy the finished runs of a results folder, compacted, to ``docs/results/SUITE``; runs that are being
    executed are not affected.

    Raises:
        ValueError: the folder has no plan.
    """
    runs = Path(results) / "runs"
    plan = read_plan(runs)
    if plan is None:
        raise ValueError(f"{runs}: no {FILE}; is this the results folder of a suite?")
    target = committed.results() / plan.suite / "runs"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "runs"
        shutil.copytree(runs, copy)
        compaction.compact(folder)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shutil.copytree(copy / COMPACT, target / COMPACT, ignore=shutil.ignore_patterns("lock*"))
        shutil.copy(copy / FILE, target / FILE)
    return target.parent


def runs_of(suite: str) -> pd.DataFrame:
    """The committed runs, trials included, with ``named``, the suite's name of the task."""
    runs = open_results(committed.results() / suite).runs
    return runs.assign(named=runs["label"].str.partition(" · ")[0])


def finals(suite: str) -> pd.DataFrame:
    """One line per finished result: row, group, task, seed, test accuracy, number of test examples."""
    found = open_results(committed.results() / suite).finals
    usual = (found["metric"] == "accuracy") & (found["split"] == "test")
    kept = found[usual & (found["condition_kind"] == "clean") & (found["purpose"] == "result")]
    named = runs_of(suite).set_index("run_id")["named"]
    columns = ["row", "group", "task", "seed", "value", "n"]
    whole = kept.assign(task=kept["run_id"].map(named))[columns]
    return whole.sort_values(["row", "task", "seed"], ignore_index=True)


def _plan(suite: str) -> PlanFile:
    plan = read_plan(committed.results() / suite / "runs")
    assert plan is not None, "committed results have a plan"
    return plan


def table(suite: str) -> list[str]:
    """Lines of the table: rows with results, best mean over their tasks first; accuracy with interval."""
    found, lines = finals(suite), []
    tasks = [t for t in dict.fromkeys(e.task for e in _plan(suite).entries) if t in set(found["task"])]
    for (row, group), mine in found.groupby(["row", "group"]):
        cells = [_cell(mine[mine["task"] == task]) for task in tasks]
        kind = "baseline" if group == "control" else "zeroth order"
        lines.append((mine.groupby("task")["value"].mean().mean(), [str(row), kind, *cells]))
    ordered = [cells for _, cells in sorted(lines, key=lambda line: (-line[0], line[1]))]
    return markdown.table(["row", "kind", *tasks], ordered)


def _cell(runs: pd.DataFrame) -> str:
    """Mean in % with its 95 % interval: over seeds, and over test examples where seeds give no spread (a
    single seed, or equal values)."""
    if runs.empty:
        return markdown.NOTHING
    values = runs["value"].to_numpy(dtype=float)
    count = f"{len(values)} seed{'s' if len(values) > 1 else ''}"
    if len(set(values)) > 1:
        return _shown(stratified_groups([values]).within(_ACCURACY), count)
    examples = int(runs["n"].iloc[0])
    return _shown(wilson(round(values[0] * examples), examples), f"{count}*")


def _shown(i: Interval, count: str) -> str:
    return f"{100 * i.value:.1f} [{100 * i.low:.1f}, {100 * i.high:.1f}], {count}"


def missing(suite: str) -> list[str]:
    """Lines of the table of progress: finished results and trials of every planned row and task."""
    entries, runs = _plan(suite).entries, runs_of(suite)
    tasks = list(dict.fromkeys(e.task for e in entries))
    lines = []
    for row in dict.fromkeys(e.row for e in entries):
        cells = []
        for task in tasks:
            mine = [e for e in entries if (e.row, e.task) == (row, task) and e.kind != "trials"]
            planned = sum(len(e.seeds) for e in mine)
            kinds = runs.loc[(runs["row"] == row) & (runs["named"] == task), "purpose"].value_counts()
            trials = int(kinds.get("tuning", 0))
            cells.append(f"{kinds.get('result', 0)} of {planned}" + (f", {trials} trials" if trials else ""))
        lines.append([row, *cells])
    return markdown.table(["row", *tasks], lines)


def attacked(suite: str) -> list[str]:
    """Lines of the table of attacks on classification, one per task and row, in %; runs of several seeds are
    averaged.

    Clean accuracy on all test examples, then per attack the accuracy of the attacked examples under it and,
    after a slash, under its budget-matched random baseline.
    """
    found = open_results(committed.results() / suite).finals
    kept = found[(found["metric"] == "accuracy") & (found["purpose"] == "result")]
    runs = runs_of(suite).set_index("run_id")
    kept = kept[kept["run_id"].map(runs["task"]) != PROBLEMS]
    kept = kept.assign(task=kept["run_id"].map(runs["named"]))
    means = 100 * kept.groupby(["task", "row", "condition_kind", "condition"])["value"].mean()
    names = sorted(set(kept["condition"]) - {""})
    lines = []
    for task, row in kept[["task", "row"]].drop_duplicates().itertuples(index=False):
        mine = means[task, row]
        pairs = [[mine.get((kind, name)) for kind in ("attack", "null")] for name in names]
        cells = [markdown.NOTHING if None in pair else "{:.0f} / {:.0f}".format(*pair) for pair in pairs]
        lines.append([task, row, f"{mine['clean', '']:.1f}", *cells])
    return markdown.table(["task", "row", "clean", *names], sorted(lines))


def problems(suite: str) -> list[str]:
    """Lines of the table of word problems under attack."""
    return real_problems.lines(suite, PROBLEMS)


def ordered(suite: str) -> list[str]:
    """Lines of the table of rank correlations with small boards."""
    return small_and_real.compared(finals(suite))


def unlearned(suite: str) -> list[str]:
    """Lines of the table of unlearned models, before probes."""
    return real_unlearning.states(open_results(committed.results() / suite))


def probed(suite: str) -> list[str]:
    """Lines of the table of unlearned models after each probe."""
    return real_unlearning.probes(open_results(committed.results() / suite))


MADE = {
    "smollm2": (table, FEWSHOT),
    "smollm2-missing": (missing, FEWSHOT),
    "smollm2-order": (ordered, FEWSHOT),
    "smollm2-attacked": (attacked, ROBUSTNESS),
    "smollm2-problems": (problems, ROBUSTNESS),
    "smollm2-attacked-missing": (missing, ROBUSTNESS),
    "smollm2-unlearned": (unlearned, UNLEARNING),
    "smollm2-probed": (probed, UNLEARNING),
    "smollm2-unlearned-missing": (missing, UNLEARNING),
}
"""Function and suite of the table between two comments of each name."""


def rewritten(text: str) -> str:
    """``text`` with every table of this module replaced by the current one."""
    for name, (make, suite) in MADE.items():
        place = re.search(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", text, re.DOTALL)
        if place:
            text = text[: place.start()] + "\n".join(make(suite)) + "\n" + text[place.end() :]
    return text


def main() -> None:
    for results in sys.argv[1:]:
        print(keep(results))
    for path in (committed.docs().parent / "README.md", committed.docs() / "real-models.md"):
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
