"""The settings selected by the tuning trials in a results folder, computed from the stored scores by the same
code as in ``zobench run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from zobench.cli.console import console, text
from zobench.spec import RunSpec
from zobench.suite.plan import Plan, TuningStudy
from zobench.suite.rows import shown
from zobench.suite.tuning import Tuner, setting_key

_SQL = """
select r.spec, r.status, r.forwards, m.metric, m.value, r.primary_metric
from runs r left join metrics m
  on r.run_id = m.run_id and m.final and m.split = 'validation' and m.condition_kind = 'clean'
where r.purpose = 'tuning'
"""


def selections(plan: Plan, folder: Path) -> list[dict[str, Any]]:
    """Every tuning study of the plan with its trials, scores, winner, flags and forward passes spent, as
    plain JSON values."""
    from zobench.store import query

    scores: dict[str, dict[str, float]] = {}
    forwards: dict[str, int] = {}
    for row in query(_SQL, folder).to_dict("records"):
        key = RunSpec.model_validate_json(row["spec"]).canonical()
        forwards[key] = int(row["forwards"] or 0)
        if row["status"] == "done" and isinstance(row["metric"], str):
            named = scores.setdefault(key, {})
            named[row["metric"]] = row["value"]
            if row["metric"] == row["primary_metric"]:
                named[""] = row["value"]  # the study asks for "" where it names no metric
    return [_selected(study, scores, forwards) for study in plan.studies]


def _selected(
    study: TuningStudy, scores: dict[str, dict[str, float]], forwards: dict[str, int]
) -> dict[str, Any]:
    tuner, spent = Tuner(study), 0
    while (setting := tuner.ask()) is not None:
        keys = [run.spec.canonical() for run in study.trials(setting, tuner.forwards)]
        tuner.tell(setting, [scores.get(key, {}).get(study.metric or "") for key in keys])
        spent += sum(forwards.get(key, 0) for key in keys)
    found = tuner.selection
    return {
        "row": study.row,
        "model": study.model,
        "task": study.task,
        "method": study.final_templates[0].spec.method.name,
        "metric": study.metric or "primary",
        "goal": study.goal,
        "sampler": study.sampler,
        "seeds": list(study.seeds),
        "winner": found.winner,
        "on_edge": list(found.on_edge),
        "within_noise": found.within_noise,
        "forwards": spent,
        "rungs": [list(rung) for rung in study.rungs],
        "trials": [
            {"params": t.params, "scores": list(t.scores), "score": t.score, "forwards": t.forwards}
            for t in found.trials
        ],
    }


def print_selections(found: list[dict[str, Any]], out: Console | None = None) -> None:
    """Print one line per tuning study."""
    header = ("row", "model", "task", "chosen", "score", "trials", "forwards", "remarks")
    table = Table(*header, box=None, pad_edge=False)
    for study in found:
        best = [t for t in study["trials"] if setting_key(t["params"]) == setting_key(study["winner"])][-1]
        remarks = [f"{name} on the edge of its grid" for name in study["on_edge"]]
        remarks += ["runner-up within noise"] if study["within_noise"] else []
        chosen = " ".join(f"{name}={shown(value)}" for name, value in study["winner"].items())
        cells = [study["row"], study["model"], study["task"], chosen, f"{best['score']:.4f}"]
        cells += [str(len(study["trials"])), f"{study['forwards']:,}", "; ".join(remarks)]
        table.add_row(*map(text, cells))
    (out or console()).print(table)
