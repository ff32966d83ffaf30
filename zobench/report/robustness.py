"""The robustness section: accuracy before and after each attack, paired tests on examples, accuracy during
training.

Before and after refer to the same examples and the same trained model. An attack cannot make an example
correct (wrong ones are not attacked), so McNemar's test of before against after has an empty cell and
reflects only the number of successes. The test of the attack against its budget-matched random baseline has
both cells and tests whether the attack's strategy has an effect. Both are made per seed, and the largest
p-value is shown. Intervals are two-stage bootstraps over seeds and examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from scipy import special

from zobench.metrics.intervals import bounded_ends
from zobench.metrics.measures import SHARE
from zobench.metrics.paired import holm
from zobench.report import edit_shares
from zobench.report.cards import Cards
from zobench.report.cells import Cell
from zobench.report.certified import certified
from zobench.report.lines import Line, chart
from zobench.report.own_tables import own_tables
from zobench.report.ranking import Ranking
from zobench.report.robust_tests import tests_of
from zobench.report.source import Source, metric_curves
from zobench.report.tables import labels

MOST_ROWS = 12
KEYS = ["row", "block", "condition"]
MEANS = (
    "accuracy_before",
    "accuracy",
    "drop",
    "pdr",
    "success_rate",
    "net_success_rate",
    "strict_accuracy_before",
    "strict_accuracy",
    "queries",
    "similarity",
    "changed_words",
    "tokens_before",
    "tokens_after",
    "length_ratio",
)
"""Metrics shown as means over runs; the counts in ``SUMS`` are summed."""
SUMS = ("queries_total", "queries_unique", "cache_hits")


def collect(source: Source, ranking: Ranking) -> Cell:
    """All of the section except the first table; empty lists if nothing was attacked."""
    rows = [s.row for s in ranking.standings][:MOST_ROWS]
    details, cards = attacked_examples(source, rows), Cards(source)
    return {
        "measured": measured(source, details, rows),
        "along": along(source, rows),
        "tables": own_tables(source, cards, rows, labels(source)),
        "certified": certified(source, rows),
        **edit_shares.collect(source, cards, details, rows),
    }


def attacked_examples(source: Source, rows: list[str]) -> pd.DataFrame:
    """One record per attacked example of the shown rows, attacks and random baselines, without the texts."""
    source.connection.register("shown_rows", pd.DataFrame({"row": rows}))
    found = source.sql(
        """
        select r."row", r.block, r.seed,
          a.run_id, a.condition, coalesce(a.attack, a.condition) as attack, a.condition_kind as kind,
          a.example_id, a.task = r.task as own, a.task, a.outcome, a.clean_correct, a.final_correct,
          a.source, a.position, a.part_of_speech, a.edits,
          length(regexp_replace(a.original, '[^ ]', '', 'g')) + 1 as words
        from attacks a join runs r using (run_id) join shown_rows s on s."row" = r."row"
        where r.purpose is distinct from 'tuning'
        order by r."row", block, a.condition, r.seed, a.example_id
        """
    )
    once = ["run_id", "task", "condition", "kind", "example_id"]
    return found.assign(again=found.groupby(once).cumcount())  # repeats of an attack that samples its answers


def measured(source: Source, details: pd.DataFrame, rows: list[str]) -> list[Cell]:
    """One entry per row, task and attack: means over runs, summed queries, and the tests."""
    finals = source.finals[(source.finals["purpose"] != "tuning") & source.finals["row"].isin(rows)]
    names = labels(source)
    foreign = finals["split"] != "test"
    finals = finals.assign(block=finals["block"].where(~foreign, finals["measured"]))
    own = finals[finals["condition_kind"] == "attack"]
    found = _pivot(own, MEANS, "mean").join(_pivot(own, SUMS, "sum"), how="outer")
    null = _pivot(finals[finals["condition_kind"] == "null"], ("success_rate",), "mean")
    found = found.join(null.rename(columns={"success_rate": "null_success_rate"}))
    tests = {
        key: tests_of(part)
        for key, part in details.assign(
            block=details["block"].where(details["own"], details["task"])
        ).groupby(KEYS, sort=False)
    }
    untested = tests_of(details.iloc[:0])
    place = {r: i for i, r in enumerate(rows)}
    out = []
    cells: Any = found.iterrows()
    for key, values in sorted(cells, key=lambda kv: (kv[0][1], kv[0][2], place[kv[0][0]])):
        row, block, condition = key
        numbers = {str(k): None if pd.isna(v) else float(v) for k, v in values.items()}
        about = {"row": row, "label": names.get(block, block), "condition": condition}
        out.append({**about, **numbers, **tests.get(key, untested)})
    adjusted = holm([float("nan") if c["p_null"] is None else c["p_null"] for c in out])
    for cell, p in zip(out, adjusted, strict=True):
        cell["p_null"] = None if p != p else float(p)
    return out


def _pivot(finals: pd.DataFrame, metrics: tuple[str, ...], how: str) -> pd.DataFrame:
    part = finals[finals["metric"].isin(metrics)]
    table = part.groupby([*KEYS, "metric"])["value"].agg(how).unstack("metric")
    return table.reindex(columns=list(metrics))


def along(source: Source, rows: list[str]) -> list[Cell]:
    """Robust accuracy during training: one chart per task and attack that was measured at several points,
    with a line for each row; the first chart of each task shows the clean accuracy.
    """
    curves = metric_curves(source)
    curves = curves[curves["row"].isin(rows) & ~curves["metric"].isin(["loss", "nll"])]
    attacked = curves[curves["kind"] == "attack"]
    several = attacked.groupby(KEYS)["point"].transform("nunique") > 1
    names = labels(source)
    out = []
    for block, mine in attacked[several].groupby("block", sort=True):
        clean = curves[(curves["kind"] == "clean") & (curves["block"] == block)]
        parts = [("clean", clean), *mine.groupby("condition", sort=True)]
        charts = []
        for condition, part in parts:
            with_flat = [attacked, curves][condition == "clean"]
            flat = with_flat[(with_flat["block"] == block) & (with_flat["condition"] == _named(condition))]
            points = pd.concat([part, flat]).drop_duplicates(["row", "point"])
            charts.append({"name": condition, "svg": chart(list(_lines(points, rows)), str(condition))})
        out.append({"label": names.get(str(block), str(block)), "charts": charts})
    return out


def _named(condition: Any) -> str:
    return "" if condition == "clean" else str(condition)


def _lines(points: pd.DataFrame, rows: list[str]) -> Iterator[Line]:
    for i, row in enumerate(rows):
        mine = points[points["row"] == row].sort_values("point")
        if mine.empty:
            continue
        n = mine["n"].to_numpy(dtype=float)
        t = special.stdtrit(n.clip(2) - 1, 0.975)
        half = t * mine["sd"].to_numpy(dtype=float) / n**0.5
        ends = bounded_ends(mine["mean"], half, SHARE)
        marks = zip(mine["point"], mine["mean"], *ends, strict=True)
        yield Line(row, i, tuple((float(x), float(y), float(a), float(b)) for x, y, a, b in marks))
