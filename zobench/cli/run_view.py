"""``zobench show RUN``: one run in the terminal, finished, unfinished or compacted."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console
from rich.table import Table

from zobench.cli.console import console, text
from zobench.cli.finding import FoundRun
from zobench.names import json_value
from zobench.store.reasons import reason

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT = 64, 8


def print_run(run: FoundRun, out: Console | None = None) -> None:
    """Print the status, specification, metrics of the final state, and curves of loss and accuracy."""
    out = out or console()
    facts, steps, metrics = _finished(run) if run.status is not None else _unfinished(run)
    out.print(text(f"run {run.run_id}  {facts.pop('row', '')}", style="bold"))
    error = str(facts.get("error") or "")
    out.print(_pairs({**facts, "status": _status(run, facts), "error": reason(error)}))
    spec = json_value(str(facts["spec"])) if "spec" in facts else {}
    if facts.get("warnings"):
        out.print(text("warnings", style="bold yellow"))
        out.print(_warnings(json_value(facts["warnings"])))
    for failure in _failures(run):
        tries = "try" if failure["tries"] == 1 else "tries"
        line = f"not measured: {failure['measurement']} ({failure['tries']} {tries}): {failure['reason']}"
        out.print(text(line, style="yellow"))
    out.print(text("specification", style="bold"))
    out.print(_spec(spec))
    if metrics:
        out.print(_metrics(metrics))
    points = [(s["forwards"], s["loss"]) for s in steps]
    _curve(out, "training loss", points)
    _curve(out, "test " + str(facts.get("primary_metric", "metric")), _test_curve(metrics, facts))
    if "\n" in error.strip():
        out.print(text("traceback", style="bold"))
        for line in error.strip().splitlines():
            out.print(text(line))


def _status(run: FoundRun, facts: dict[str, Any]) -> str:
    from zobench.report.superseded import today_of

    today = None
    if run.status is not None and facts["model_digest"]:
        today = today_of(run.run_id, facts["spec"], facts["model_digest"], facts["data_digest"])
    return f"{run.status or 'unfinished'}{f', superseded by {today}' if today else ''}"


def _failures(run: FoundRun) -> list[dict[str, Any]]:
    from zobench.store.reader import read_run

    if run.status is None:
        return []
    tables = read_run(run.folder, run.run_id)
    found: list[dict[str, Any]] = tables["failures"].to_pylist() if "failures" in tables else []
    return found


def _finished(run: FoundRun) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    from zobench.store.reader import read_run

    tables = read_run(run.folder, run.run_id)
    steps = tables["steps"].select(["forwards", "loss"]).to_pylist() if "steps" in tables else []
    metrics = tables["metrics"].to_pylist() if "metrics" in tables else []
    return tables["runs"].to_pylist()[0], steps, metrics


def _unfinished(run: FoundRun) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    from zobench.store.damage import unfinished_steps
    from zobench.store.digests import read_sealed

    folder = run.path
    body = read_sealed(folder / "spec.json")
    facts = {"row": body.get("row", ""), "spec": json.dumps(body.get("spec", body))}
    return facts, unfinished_steps(folder), []


_SHOWN = (
    "status", "error", "note", "model", "task", "method", "space", "seed", "budget_forwards", "forwards",
    "evaluation_forwards", "tuning_forwards", "steps", "refused_steps", "tied_steps",
    "generated_tokens", "judge_tokens", "failed_scores", "train_seconds",
    "peak_memory_bytes", "weights_digest", "artifacts_digest", "diagnostic_forwards", "data_digest",
    "git_commit", "git_dirty", "resumed", "started_utc", "finished_utc",
)  # fmt: skip


def _pairs(facts: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if name in _SHOWN and value not in (None, ""):
            table.add_row(
                text(name, style="dim"), text(f"{value:.6g}" if isinstance(value, float) else str(value))
            )
    return table


def _warnings(traps: list[dict[str, Any]]) -> Table:
    """One line per sanity check that training failed."""
    table = Table.grid(padding=(0, 2))
    for trap in traps:
        first = "before step 0" if trap["first_step"] < 0 else f"step {trap['first_step']}"
        steps = trap["steps"]
        where = first if steps == 1 else f"{steps} steps, the first {first}"
        table.add_row(text(trap["trap"], style="yellow"), text(trap["detail"]), text(where, style="dim"))
    return table


def _spec(spec: dict[str, Any]) -> Table:
    """One line per part of the specification."""
    table = Table.grid(padding=(0, 2))
    for name, value in spec.items():
        table.add_row(text(name, style="dim"), text(json.dumps(value, ensure_ascii=False)))
    return table


def _metrics(metrics: list[dict[str, Any]]) -> Table:
    table = Table("split", "condition", "metric", box=None, pad_edge=False, header_style="bold")
    for name in ("value", "stderr", "n"):
        table.add_column(name, justify="right")
    for row in metrics:
        if row["final"]:
            condition = f"{row['condition_kind']} {row['condition']}".strip()
            error = "-" if row["stderr"] is None else f"{row['stderr']:.4f}"
            cells = (row["split"], condition, row["metric"], _number(row["value"]), error, str(row["n"]))
            table.add_row(*map(text, cells))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _test_curve(metrics: list[dict[str, Any]], facts: dict[str, Any]) -> list[tuple[int, float]]:
    wanted = facts.get("primary_metric")
    found = [m for m in metrics if m["condition_kind"] == "clean" and m["metric"] == wanted]
    return sorted((m["forwards"], m["value"]) for m in found)


def _curve(out: Console, title: str, points: list[tuple[int, float]]) -> None:
    """Print a curve of at most ``_WIDTH`` columns; each shows the mean of the points that fall into it."""
    finite = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
    if len(finite) < 2:
        return
    last = max(x for x, _ in finite)
    width = min(_WIDTH, len(finite))
    columns: list[list[float]] = [[] for _ in range(width)]
    for x, y in finite:
        columns[min(width - 1, int(width * x / (last + 1)))].append(y)
    means = [sum(c) / len(c) if c else None for c in columns]
    known = [m for m in means if m is not None]
    low, high = min(known), max(known)
    out.print(
        text(f"{title} from {low:.4g} to {high:.4g}, against forward passes up to {last:,}", style="bold")
    )
    for line in _plot(means, low, high):
        out.print(text(line))


def _plot(means: list[float | None], low: float, high: float) -> list[str]:
    """Lines of a bar chart, the topmost first, with a resolution of an eighth of a line. A column without
    points is empty."""
    span = (high - low) or 1.0
    eighths = [None if m is None else 1 + round((m - low) / span * (8 * _HEIGHT - 1)) for m in means]
    lines = []
    for level in range(_HEIGHT - 1, -1, -1):
        heights = (0 if e is None else min(8, max(0, e - 8 * level)) for e in eighths)
        lines.append("│" + "".join(_BLOCKS[h] for h in heights))
    return lines
