"""The one-screen table at the end of ``zobench run``: rows against tasks, read from the results folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zobench.cli.console import console

if TYPE_CHECKING:
    import pandas as pd

_SQL = """
select r.row, r."group", r.model, r.task, r.seed, r.forwards, m.condition_kind as kind, m.condition, m.value
from runs r join metrics m using (run_id)
where m.final and r.purpose = 'result' and r.status in ('done', 'diverged', 'budget')
  and ((m.condition_kind = 'clean' and m.split = 'test' and m.metric = r.primary_metric)
    or (m.condition_kind in ('attack', 'null') and m.metric = 'accuracy'))
"""


def print_summary(folder: Path, out: Console | None = None) -> None:
    """Mean of the primary metric over seeds, for each row and task; the mean over tasks with its 95 %
    interval; and the accuracy left under each attack beside its null. Best mean first, controls last."""
    from zobench.store import query

    found = query(_SQL, folder)
    if found.empty:
        return
    found["column"] = found["task"]
    if found["model"].nunique() > 1:
        found["column"] = found["model"].str.split(":").str[-1] + " " + found["task"]
    (out or console()).print(_table(found))


def _table(found: pd.DataFrame) -> Table:
    clean = found[found["kind"] == "clean"]
    columns = list(dict.fromkeys(clean["column"]))
    attacks = list(dict.fromkeys(found[found["kind"] == "attack"]["condition"]))
    table = Table("row", box=None, pad_edge=False, header_style="bold", caption=_caption(attacks))
    for name in [*columns, "mean [95 %]", *(f"{a} | null" for a in attacks), "runs", "forwards"]:
        table.add_column(Text(name), justify="right")
    order = clean.groupby(["group", "row"])["value"].mean().reset_index()
    order = order.sort_values(["group", "value"], ascending=[False, False], key=_group_first)
    for group, row in zip(order["group"], order["row"], strict=True):
        mine = clean[clean["row"] == row]
        by_task = [_mean(mine[mine["column"] == c]["value"]) for c in columns]
        under = [_under(found[found["row"] == row], attack) for attack in attacks]
        spent = f"{mine['forwards'].mean():,.0f}"
        cells = [row, *by_task, _interval(mine), *under, str(len(mine)), spent]
        table.add_row(*map(Text, cells), style="dim" if group == "control" else "")
    return table


def _caption(attacks: list[str]) -> str:
    under = "; under attack: accuracy left, beside what the attack's null leaves" if attacks else ""
    return "means over seeds; intervals over seeds within tasks; dim rows are controls" + under


def _group_first(values: pd.Series) -> pd.Series:
    return values == "method" if values.name == "group" else values


def _mean(values: pd.Series) -> str:
    return "-" if values.empty else f"{values.mean():.3f}"


def _under(found: pd.DataFrame, attack: str) -> str:
    mine = found[found["condition"] == attack]
    kinds = [mine[mine["kind"] == kind]["value"] for kind in ("attack", "null")]
    return "-" if kinds[0].empty else " | ".join(_mean(values) for values in kinds)


def _interval(mine: pd.DataFrame) -> str:
    from zobench.metrics.intervals import stratified_mean

    found = stratified_mean(mine, task="column")
    if not math.isfinite(found.half):
        return f"{found.value:.3f}"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
