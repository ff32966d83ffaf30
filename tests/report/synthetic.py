"""Results folders with known truth, written through the store's own schema: for tests and benchmarks only.

Accuracy of a run = task level + row gain + what the seed shares + noise, clipped to [0, 1]; curves rise from
chance to it; per-example outcomes are drawn so that their mean is the stated accuracy to 1/examples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from synthetic_rows import attack_rows, metric_rows, prediction_rows, runs_row, step_rows

from zobench.store.reader import COMPACT, MANIFEST
from zobench.store.schema import SCHEMA_VERSION, TABLES
from zobench.store.writer import RunFolder, to_table

Row = dict[str, Any]
SENTENCES = (
    "the film is a quiet wonder that never raises its voice",
    "two hours of plot and not one idea worth the ticket",
    "warm and sharply written , with a cast that listens",
    "a lifeless sequel that mistakes noise for energy",
    "it earns every one of its tears",
)


@dataclass
class Entry:
    """One row of the study: ``gain`` over the task level, spread over seeds, and what the runs table says
    of it.
    """

    name: str
    gain: float = 0.0
    group: str = "method"
    sd: float = 0.015
    robust_drop: float = 0.12
    fields: Row = field(default_factory=dict)
    status: dict[tuple[str, int], str] = field(default_factory=dict)
    seeds: Sequence[int] | None = None


@dataclass
class Study:
    """What to make."""

    entries: list[Entry]
    tasks: dict[str, float] = field(
        default_factory=lambda: {"sentiment": 0.72, "topic": 0.78, "inference": 0.66}
    )
    seeds: Sequence[int] = (0, 1, 2)
    budget: int = 600
    points: int = 6
    examples: int = 40
    attacks: tuple[str, ...] = ("char-typos", "irrelevant")
    steps: int = 30
    shared_sd: float = 0.01
    extra_metrics: int = 0
    tuned: tuple[str, ...] = ()
    suite: str = "fewshot"
    rng: int = 0
    texts: Sequence[str] = SENTENCES
    prompts: bool = True
    commit: str = "0123456789abcdef0123456789abcdef01234567"


def default_study() -> Study:
    """Four methods, controls, one diverged run, one row with another budget, one failed run."""
    return Study(
        [
            Entry("mezo", 0.05, fields={"note": "learning rate from docs/results/tuning.json"}),
            Entry("fzoo", 0.09, fields={"note": "learning rate from docs/results/tuning.json"}),
            Entry("zo-adam", 0.048, robust_drop=0.09),
            Entry("conmezo", 0.01, sd=0.03, status={("topic", 2): "diverged"}),
            Entry("mezo 1200", 0.07, fields={"budget_forwards": 1200}),
            Entry("broken", 0.0, status={("sentiment", 1): "failed", ("topic", 0): "out_of_memory"}),
            Entry(
                "zero-shot", -0.15, "control", sd=0.005, fields={"budget_forwards": 0, "method_order": "none"}
            ),
            Entry("in-context", -0.06, "control", sd=0.01, fields={"budget_forwards": 0, "shots": 4}),
            Entry("first-order AdamW", 0.16, "control", sd=0.008, fields={"method_order": "first"}),
            Entry("mezo shuffled labels", -0.19, "control", fields={"labels": "shuffled"}),
        ],
        tuned=("fzoo", "mezo"),
    )


def make_synthetic(folder: Path, study: Study | None = None, *, compact: bool = False) -> Path:
    """Write a results folder and return it; ``compact`` writes one file per table instead of one folder per
    run.
    """
    study = study or default_study()
    generator = np.random.default_rng(study.rng)
    shared = {
        (t, s): generator.normal(0, study.shared_sd)
        for t in study.tasks
        for s in range(1000)[: max(study.seeds) + 1]
    }
    everything: dict[str, list[Row]] = {name: [] for name in TABLES}
    for entry in study.entries:
        for task, level in study.tasks.items():
            for seed in entry.seeds or study.seeds:
                accuracy = float(
                    np.clip(level + entry.gain + shared[task, seed] + generator.normal(0, entry.sd), 0, 1)
                )
                tables = one_run(study, entry, task, seed, accuracy, generator)
                if compact:
                    for name, rows in tables.items():
                        everything[name] += rows
                else:
                    write_run(folder / "runs", tables)
    for tables in tuning_runs(study, generator):
        if not compact:
            write_run(folder / "runs", tables)
        for name, rows in tables.items():
            everything[name] += rows
    if compact:
        write_compact(folder / "runs", everything)
    return folder


def write_run(runs: Path, tables: dict[str, list[Row]]) -> None:
    row = tables["runs"][0]
    path = runs / row["run_id"]
    path.mkdir(parents=True, exist_ok=True)
    RunFolder(path).finish(row["status"], tables, row["error"] or "")


def write_compact(runs: Path, tables: dict[str, list[Row]]) -> None:
    (runs / COMPACT).mkdir(parents=True, exist_ok=True)
    names = {}
    for name, rows in tables.items():
        if rows:
            names[name] = f"{name}-000001.parquet"
            pq.write_table(to_table(name, rows), runs / COMPACT / names[name], compression="zstd")
    body = {"schema_version": SCHEMA_VERSION, "generation": 1, "files": names}
    (runs / COMPACT / MANIFEST).write_text(json.dumps(body))


def one_run(
    study: Study, entry: Entry, task: str, seed: int, accuracy: float, generator: np.random.Generator
) -> dict[str, list[Row]]:
    run_id = hashlib.sha256(f"{entry.name}|{task}|{seed}|{study.suite}|{study.rng}".encode()).hexdigest()[:20]
    status = entry.status.get((task, seed), "done")
    row = runs_row(study, entry, task, seed, run_id, status)
    if status in ("failed", "out_of_memory", "interrupted"):
        return {"runs": [row], "steps": [], "metrics": [], "predictions": [], "attacks": []}
    predictions = prediction_rows(study, run_id, task, seed, accuracy, generator)
    if predictions:
        accuracy = sum(p["correct"] for p in predictions) / len(predictions)
    metrics = [] if status == "diverged" else metric_rows(study, entry, row, accuracy, generator)
    attacked = (
        []
        if status == "diverged"
        else attack_rows(study, entry, run_id, task, predictions, generator, metrics)
    )
    tables = {
        "runs": [row],
        "steps": step_rows(study, row, generator),
        "metrics": metrics,
        "predictions": [] if status == "diverged" else predictions,
        "attacks": attacked,
    }
    for name, rows in tables.items():
        if name != "runs":
            for r in rows:
                r["run_id"] = run_id
    return tables


def tuning_runs(study: Study, generator: np.random.Generator) -> list[dict[str, list[Row]]]:
    """Five learning rates x two seeds for each tuned row; validation accuracy rises to the largest rate
    (the edge).
    """
    out = []
    for name in study.tuned:
        for i, lr in enumerate((1e-4, 3e-4, 1e-3, 3e-3, 1e-2)):
            for seed in (100, 101):
                task = next(iter(study.tasks))
                entry = Entry(
                    name,
                    fields={"purpose": "tuning", "tuning_of": name, "method_params": json.dumps({"lr": lr})},
                )
                run_id = hashlib.sha256(f"tune {name} {lr} {seed}".encode()).hexdigest()[:20]
                row = runs_row(study, entry, task, seed, run_id, "done")
                metric = {
                    "run_id": run_id,
                    "step": 300,
                    "forwards": study.budget,
                    "task": task,
                    "split": "validation",
                    "condition_kind": "clean",
                    "condition": "",
                    "metric": "accuracy",
                    "n": 100,
                    "final": True,
                    "value": 0.6 + 0.04 * i + float(generator.normal(0, 0.01)),
                }
                out.append({"runs": [row], "metrics": [metric]})
    return out
