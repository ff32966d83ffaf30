"""A plan as a table in the terminal."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from zobench.cli.console import console, text
from zobench.suite.cost import Estimate, RowCost
from zobench.suite.plan import Plan, TuningStudy

_COLUMNS = (
    "runs", "budget", "steps", "forwards", "tuning", "test examples", "attacked examples", "state B/param",
)  # fmt: skip


def json_parts(plan: Plan, cost: Estimate) -> Iterator[str]:
    """The plan and its cost as the lines of one JSON object, a run at a time: the whole text of a hundred
    thousand runs would take gigabytes."""
    body = {
        "plan": plan.model_copy(update={"runs": ()}).model_dump(mode="json"),
        "cost": cost.as_dict(),
    }
    # In JSON the quotes of a text are escaped, so that this can only be the key of the plan, the first one.
    head, tail = json.dumps(body, indent=1).split('"runs": []', 1)
    if not plan.runs:
        yield f'{head}"runs": []{tail}'
        return
    yield f'{head}"runs": ['
    for run in plan.runs:
        end = "" if run is plan.runs[-1] else ","
        yield textwrap.indent(json.dumps(run.model_dump(mode="json"), indent=1), 3 * " ") + end
    yield f"  ]{tail}"


def print_plan(plan: Plan, cost: Estimate, out: Console | None = None) -> None:
    """Print the rows with their runs and cost, the runs in their order, then the total."""
    out = out or console()
    out.print(text(f"{plan.suite}: {plan.description}".rstrip(": "), style="bold"))
    out.print(_rows(cost, out.width))
    runs = sum(row.runs + row.tuning_runs for row in cost.rows)
    out.print(text(f"{runs} runs, in this order:"))
    out.print(_runs(plan, out.width))
    trained = (cost.total("forwards") or 0) + (cost.total("tuning_forwards") or 0)
    out.print(
        text(
            f"total: {runs} runs, {trained:,} forward passes of training, "
            f"{_at_most(cost.total('test_rows'))} test examples to evaluate, "
            f"{_at_most(cost.total('attacked_rows'))} examples to attack (random baselines included)"
        )
    )


def _rows(cost: Estimate, width: int) -> Table:
    table = Table("row", "group", box=None, pad_edge=False, header_style="bold")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for row in cost.rows:
        table.add_row(text(row.row), row.group, *_cells(row))
    return _unbroken(table, width)


def _unbroken(table: Table, width: int) -> Table:
    """The table with widths at which lines break between words only, as long as the words fit into ``width``.

    Each column gets its longest word, and what is left goes to the columns in turn. Rich itself narrows
    columns below their ``min_width`` and widens them again, which cuts the last column.
    """
    cells = [[str(cell) for cell in (c.header, *c.cells)] for c in table.columns]
    least = [max(cell_len(word) for cell in column for word in [*cell.split(), ""]) for column in cells]
    left = width - sum(least) - 2 * len(cells)
    for column, texts, narrow in zip(table.columns, cells, least, strict=True):
        more = max(0, min(left, max(map(cell_len, texts)) - narrow))
        left -= more
        column.width, column.overflow = narrow + more, "fold"
    return table


def _cells(row: RowCost) -> list[str]:
    tuning = f"{row.tuning_runs} runs, {row.tuning_forwards:,}" if row.tuning_runs else "-"
    return [
        str(row.runs),
        f"{row.budget:,}",
        f"{row.steps:,}",
        f"{row.forwards:,}",
        tuning,
        _count(row.test_rows),
        _count(row.attacked_rows),
        f"{row.state_bytes:g}",
    ]


def _runs(plan: Plan, width: int) -> Table:
    header = ("#", "row", "model", "task", "seed", "budget", "attacks or probes")
    table = Table(*header, box=None, pad_edge=False)
    number = 0
    for run in plan.runs:
        number += 1
        spec = run.spec
        probes = spec.unlearning.probes if spec.unlearning is not None else ()
        attacks = ", ".join(a.label for a in (*spec.attacks, *probes)) or "-"
        named = (run.shown_model, run.shown_task)
        cells = (*named, str(spec.seed), f"{spec.budget.forwards:,}", attacks)
        table.add_row(str(number), text(run.row), *map(text, cells))
    for study in plan.studies:
        first = number + 1
        asked = sum(count for count, _ in study.schedule)
        number += asked * len(study.seeds) + len(study.final_templates)
        what = f"tune: {_settings(study)} x seeds {', '.join(map(str, study.seeds))}, then the chosen one"
        seeds = ", ".join(str(run.spec.seed) for run in study.final_templates)
        budget = f"{study.trial_templates[0].spec.budget.forwards:,}"
        table.add_row(
            f"{first}-{number}", text(study.row), text(study.model), text(study.task), seeds, budget, what
        )
    for follower in plan.followers:
        number += 1
        spec, what = follower.template.spec, f"probes, after {follower.row}"
        named = (follower.template.shown_model, follower.template.shown_task)
        cells = (*named, str(spec.seed), "0", what)
        table.add_row(str(number), text(follower.template.row), *map(text, cells))
    return _unbroken(table, width)


def _count(value: int | None) -> str:
    return "all of the task" if value is None else f"{value:,}"


def _at_most(value: int | None) -> str:
    """A number of examples: the planner does not know how many a task has, so there may be fewer."""
    return f"at most {value:,}" if value else _count(value)


def _settings(study: TuningStudy) -> str:
    """``6 settings``, or with halving ``8 settings at 150, 4 at 300, 2 at 600 forward passes``."""
    if not study.rungs:
        return f"{study.size} settings"
    (count, forwards), *later = study.rungs
    told = [f"{count} settings at {forwards:,}", *(f"{c} at {f:,}" for c, f in later)]
    return ", ".join(told) + " forward passes"
