"""Details of single runs: specification, environment, cost, curve and the command that rebuilds the run."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise
from pathlib import PurePath
from typing import Any

import pandas as pd

from zobench.names import json_value
from zobench.report import page
from zobench.report.source import Source, runs_in
from zobench.store.paths import run_folder
from zobench.store.reader import compacted_statuses, runs_folder

MOST_POINTS = 150
FACTS = (
    "status",
    "error",
    "suite",
    "model",
    "model_digest",
    "dtype",
    "device",
    "task_params",
    "data_digest",
    "method",
    "method_params",
    "space",
    "labels",
    "shots",
    "budget_forwards",
    "batch_size",
    "forwards",
    "sequences",
    "tokens",
    "generated_tokens",
    "judge_tokens",
    "failed_scores",
    "train_seconds",
    "evaluation_seconds",
    "peak_memory_bytes",
    "steps",
    "refused_steps",
    "tied_steps",
    "parameters",
    "tuned_parameters",
    "weights_digest",
    "artifacts_digest",
    "diagnostic_forwards",
    "replay",
    "perturbation",
    "noise_backend",
    "resumed",
    "started_utc",
    "finished_utc",
    "git_commit",
    "git_dirty",
    "zobench_version",
    "tuning_forwards",
    "note",
)


def collect(source: Source, runs: pd.DataFrame, names: list[str], top: int) -> list[dict[str, Any]]:
    """Details of the first ``top`` runs: rows in the order of the ranking, first one seed of each task, then
    the next seed. Facts are texts, as on the page of a run.
    """
    place = {n: i for i, n in enumerate(names)}
    ordered = runs.assign(
        order=runs["row"].map(place), turn=runs.groupby(["row", "block"])["seed"].rank(method="first")
    )
    chosen = ordered.sort_values(["turn", "order", "label"]).head(top)
    return [
        {
            **r,
            "facts": {name: page.fact(value, name) for name, value in r["facts"].items()},
            "metrics": by_column(shown(r["metrics"])),
            "steps": regular(r["steps"]),
        }
        for r in describe(source, chosen, place)
    ]


def regular(steps: dict[str, Any]) -> dict[str, Any]:
    """A loss curve whose forward passes are stored as the first value ``from`` and their distance ``by``, if
    all distances are equal."""
    x = steps.get("x", [])
    gaps = {b - a for a, b in pairwise(x)}
    return {**steps, "x": {"from": x[0], "by": gaps.pop()}} if len(gaps) == 1 else steps


def shown(rows: list[list[Any]]) -> list[list[Any]]:
    """The measurements that a run's dialog shows: the final ones, and the curves on the clean test split."""
    return [m for m in rows if m[8] or (m[0], m[1]) == ("test", "clean")]


def shared(runs: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Runs with each value of facts, specification and environment as its index in the returned list.

    Runs of a suite share most of these values, so a page stores each one once.
    """
    values: dict[str, int] = {}

    def placed(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        return {k: values.setdefault(json.dumps(v), len(values)) for k, v in part.items()}

    placed_runs = [{**r, **{k: placed(r[k]) for k in ("facts", "spec", "environment")}} for r in runs]
    return placed_runs, [json_value(text) for text in values]


def by_column(rows: list[list[Any]]) -> list[dict[str, list[Any]]]:
    """Records for the page's scripts: each column as its distinct values ``of`` and, with several, the index
    ``at`` of each record's value. A run of an unlearning suite has thousands of records of few names.
    """
    columns: list[dict[str, list[Any]]] = []
    for values in zip(*rows, strict=True):
        place = {v: i for i, v in enumerate(dict.fromkeys(values))}
        of = list(place)
        columns.append({"of": of} if len(of) == 1 else {"of": of, "at": [place[v] for v in values]})
    return columns


def describe(source: Source, runs: pd.DataFrame, place: dict[str, int]) -> list[dict[str, Any]]:
    """Facts and curves of these runs."""
    if runs.empty:
        return []
    ids = runs["run_id"].tolist()
    homes = _homes(source, ids)
    steps, measured, attacked = _steps(source, ids), _metrics(source, ids), _attacks(source, ids)
    diagnosed = _diagnostics(source, ids)
    return [
        {
            "id": r["run_id"],
            "r": place[r["row"]],
            "label": r["label"],
            "seed": int(r["seed"]),
            "value": None if pd.isna(r["value"]) else float(r["value"]),
            "flag": r["flag"],
            "facts": {k: plain(r[k]) for k in FACTS if not _missing(r[k])},
            "spec": parsed(r["spec"]),
            "environment": parsed(r["environment"]),
            "command": command(r, homes.get(r["run_id"], source.folders[0])),
            "steps": steps.get(r["run_id"], {}),
            "warnings": [*warnings(r["warnings"]), *filter(None, [r["flag"]])],
            "metrics": measured.get(r["run_id"], []),
            "diagnostics": diagnosed.get(r["run_id"], []),
            "attacks": attacked.get(r["run_id"], []),
        }
        for r in runs.to_dict("records")
    ]


def command(run: dict[Any, Any], folder: str) -> str:
    """The command line of the run, and the command that rebuilds or shows it from the folder."""
    environment = parsed(run["environment"])
    typed = environment.get("command") if isinstance(environment, dict) else None
    replays = not _missing(run["replay"]) and run["replay"] != "checkpoint"
    verb = "replay" if replays else "show"
    again = f"zobench {verb} {run['run_id']} --results {shlex.quote(folder)}"
    return (_typed(typed) + "\n" if typed else "") + again


def _typed(words: list[Any]) -> str:
    """A recorded command line as it can be typed, wherever its program was installed."""
    program, *rest = map(str, words)
    if PurePath(program).name in ("zobench", "__main__.py"):
        program = "zobench"
    return shlex.join([program, *rest])


def _homes(source: Source, ids: list[str]) -> dict[str, str]:
    """Results folder of each run: the first of the report's folders that has it, loose or compacted."""
    found: dict[str, str] = {}
    for folder in reversed(source.folders):
        runs = runs_folder(folder)
        loose = {i for i in ids if run_folder(runs, i).is_dir()}  # before the manifest: see store.reader
        compacted = compacted_statuses(runs)
        found.update({i: folder for i in ids if i in loose or i in compacted})
    return found


def _steps(source: Source, ids: list[str]) -> dict[str, dict[str, Any]]:
    found = source.sql(
        f"""
        with s as (select run_id, forwards, loss, lr, moved,
            ntile({MOST_POINTS}) over (partition by run_id order by step) as bin
          from steps where run_id in {runs_in(ids)})
        select run_id, bin, max(forwards) as forwards, avg(loss) as loss, avg(lr) as lr,
          sum(case when moved then 0 else 1 end) as refused
        from s group by run_id, bin order by run_id, bin
        """
    )
    return {
        str(i): {
            "x": g["forwards"].tolist(),
            "loss": [_number(v, 4) for v in g["loss"]],
            "refused": int(g["refused"].sum()),
        }
        for i, g in found.groupby("run_id")
    }


def _metrics(source: Source, ids: list[str]) -> dict[str, list[list[Any]]]:
    """All metrics of the final state, and the curve of the primary metric."""
    found = source.sql(
        f"""
        select run_id, split, condition_kind, condition, metric, forwards, value, n, stderr, final
        from metrics
        where run_id in {runs_in(ids)} and condition_kind <> 'diagnostic'
        order by run_id, condition_kind <> 'clean', condition_kind, condition, metric, forwards
        """
    )
    columns = ["split", "condition_kind", "condition", "metric", "forwards", "value", "n", "stderr", "final"]
    return {
        str(i): [[plain(v) for v in row] for row in g[columns].itertuples(index=False, name=None)]
        for i, g in found.groupby("run_id")
    }


def _diagnostics(source: Source, ids: list[str]) -> dict[str, list[list[Any]]]:
    """Per diagnostic and metric: number of readings, the first, the last and their mean."""
    found = source.sql(
        f"""
        select run_id, condition, metric, count(value) as readings, arg_min(value, step) as first,
          arg_max(value, step) as last, avg(value) as mean
        from metrics
        where run_id in {runs_in(ids)} and condition_kind = 'diagnostic' and isfinite(value)
        group by run_id, condition, metric order by run_id, condition, metric
        """
    )
    columns = ["condition", "metric", "readings", "first", "last", "mean"]
    return {
        str(i): [[plain(v) for v in row] for row in g[columns].itertuples(index=False, name=None)]
        for i, g in found.groupby("run_id")
    }


def warnings(text: Any) -> list[str]:
    """The sanity checks that a run failed (``zobench.zo.sanity_checks``), one line each."""
    traps = parsed(text)
    if not isinstance(traps, list):
        return []
    return [
        f"{t['trap']}: {t['detail']} "
        + ("(before step 0)" if t["first_step"] < 0 else f"({t['steps']} steps, first {t['first_step']})")
        for t in traps
    ]


def _attacks(source: Source, ids: list[str], most: int = 3) -> dict[str, list[dict[str, Any]]]:
    """The most damaging edits of each run."""
    from zobench.report.edits import parts

    found = source.sql(
        f"""
        select run_id, condition, example_id, original, edited, clean_output, final_output, queries,
          changed_words
        from attacks where run_id in {runs_in(ids)} and outcome = 'success' and condition_kind = 'attack'
          and field is distinct from 'image'
        qualify row_number() over (
          partition by run_id order by changed_words, queries, example_id, condition) <= {most}
        order by run_id, changed_words, queries, example_id, condition
        """
    )
    out: dict[str, list[dict[str, Any]]] = {}
    for record in found.to_dict("records"):
        r = {str(k): v for k, v in record.items()}
        edit = parts(str(r.pop("original")), str(r.pop("edited")))
        out.setdefault(str(r.pop("run_id")), []).append(
            {**{k: plain(v) for k, v in r.items()}, "parts": edit}
        )
    return out


def parsed(text: Any) -> Any:
    """The value of a JSON text; other texts unchanged."""
    try:
        return json_value(text)
    except (TypeError, json.JSONDecodeError):
        return None if _missing(text) else str(text)


def plain(value: Any) -> Any:
    """The value as a JSON value; missing values as ``None``."""
    if _missing(value):
        return None
    if isinstance(value, str | bool):
        return value
    number = float(value)
    return int(number) if number.is_integer() else float(f"{number:.6g}")


def _missing(value: Any) -> bool:
    return value is None or (not isinstance(value, str | list | dict) and bool(pd.isna(value))) or value == ""


def _number(value: Any, digits: int) -> float | None:
    return None if pd.isna(value) else float(f"{value:.{digits}g}")
