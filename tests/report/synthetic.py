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

from zobench.store.reader import COMPACT, MANIFEST
from zobench.store.schema import SCHEMA_VERSION, TABLES
from zobench.store.writer import RunFolder, to_table

Row = dict[str, Any]
LABELS = ("bad", "good")
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


def runs_row(study: Study, entry: Entry, task: str, seed: int, run_id: str, status: str) -> Row:
    budget = entry.fields.get("budget_forwards", study.budget)
    spec = {
        "method": {"name": entry.name},
        "task": {"name": task},
        "seed": seed,
        "budget": {"forwards": budget},
    }
    environment = {
        "python": "3.11.2",
        "cpu": "a processor",
        "threads": 1,
        "packages": {"torch": "2.13.0"},
        "command": ["zobench", "run", f"suites/{study.suite}.yaml"],
    }
    return {
        "run_id": run_id,
        "suite": study.suite,
        "row": entry.name,
        "group": entry.group,
        "note": "",
        "purpose": "result",
        "tuning_of": None,
        "status": status,
        "error": {
            "failed": "ValueError: the loss is not a number",
            "out_of_memory": "out of memory",
            "diverged": "loss above 20 for 10 steps",
        }.get(status, ""),
        "model": "builtin:nano",
        "model_digest": "sha256:" + "ab" * 32,
        "parameters": 934_000,
        "tuned_parameters": 934_000,
        "dtype": "float32",
        "device": "cpu",
        "task": task,
        "task_kind": "classification",
        "task_params": "{}",
        "primary_metric": "accuracy",
        "chance": 0.5,
        "data_digest": hashlib.sha256(f"{task}{seed}".encode()).hexdigest(),
        "method": entry.name.split()[0],
        "method_params": json.dumps({"lr": 1e-3, "eps": 1e-3}),
        "method_order": "zeroth",
        "space": json.dumps({"kind": "full", "params": {}}),
        "labels": "true",
        "shots": 0,
        "seed": seed,
        "budget_forwards": budget,
        "batch_size": 16,
        "forwards": budget,
        "evaluation_forwards": 70,
        "sequences": budget * 16,
        "tokens": budget * 16 * 30,
        "train_seconds": budget * 0.02,
        "evaluation_seconds": 3.0,
        "peak_memory_bytes": 400 * 2**20 + len(entry.name) * 2**20,
        "steps": budget // 2,
        "refused_steps": 0,
        "weights_digest": hashlib.sha256(run_id.encode()).hexdigest(),
        "replay": "scalars",
        "perturbation": "streamed",
        "noise_backend": "counter",
        "resumed": 0,
        "started_utc": "2026-01-01T00:00:00+00:00",
        "finished_utc": "2026-01-01T00:01:00+00:00",
        "git_commit": study.commit,
        "git_dirty": False,
        "zobench_version": "0.1.0",
        "schema_version": SCHEMA_VERSION,
        "spec": json.dumps(spec),
        "environment": json.dumps(environment),
        "tuning_forwards": 0,
        **entry.fields,
    }


def metric_rows(
    study: Study, entry: Entry, row: Row, accuracy: float, generator: np.random.Generator
) -> list[Row]:
    budget, n, rows = row["budget_forwards"], max(study.examples, 1), []
    grid = [int(budget * i / study.points) for i in range(study.points + 1)] if budget else [0]
    for b in grid:
        share = 1 - np.exp(-4 * b / budget) if budget else 1.0
        value = accuracy if b == budget else 0.5 + (accuracy - 0.5) * share + generator.normal(0, 0.005)
        place = {
            "step": b // 2,
            "forwards": b,
            "tokens": b * 480,
            "seconds": b * 0.02,
            "task": row["task"],
            "split": "test",
            "condition_kind": "clean",
            "condition": "",
            "params": json.dumps({"at": b}),
            "n": n,
        }
        names = {"accuracy": value, "nll": 1.2 - value, "ece": 0.05, "brier": 1 - value}
        names |= {f"extra_{i}": 0.5 for i in range(study.extra_metrics)}
        for metric, v in names.items():
            rows.append({**place, "metric": metric, "value": float(v), "stderr": 0.03, "final": False})
            if b == budget:
                rows.append({**rows[-1], "final": True})
    return rows


def prediction_rows(
    study: Study, run_id: str, task: str, seed: int, accuracy: float, generator: np.random.Generator
) -> list[Row]:
    n = study.examples
    right = generator.permutation(n) < round(accuracy * n)
    rows = []
    for i in range(n):
        gold = i % 2
        label = gold if right[i] else 1 - gold
        p = 0.8 if label else 0.2
        rows.append(
            {
                "step": 300,
                "forwards": study.budget,
                "task": task,
                "split": "test",
                "condition_kind": "clean",
                "condition": "",
                "example_id": f"{task}-{seed}-{i}",
                "gold": str(gold),
                "output": LABELS[label],
                "label": label,
                "log_probs": [float(np.log(1 - p)), float(np.log(p))],
                "correct": bool(right[i]),
                "strict_correct": None,
                "raw": "",
                "tokens": 0,
            }
        )
    return rows


def attack_rows(
    study: Study,
    entry: Entry,
    run_id: str,
    task: str,
    predictions: list[Row],
    generator: np.random.Generator,
    metrics: list[Row],
) -> list[Row]:
    """Attacked examples; their metrics are appended to ``metrics`` as the runner would."""
    out: list[Row] = []
    for name in study.attacks if predictions else ():
        rates = {}
        for kind, rate in (("attack", entry.robust_drop), ("null", entry.robust_drop / 5)):
            mine = [_attacked(study, p, name, kind, rate, generator, i) for i, p in enumerate(predictions)]
            out += mine
            right = [m for m in mine if m["clean_correct"]]
            rates[kind] = sum(m["outcome"] == "success" for m in right) / max(1, len(right))
            place = {
                "step": 300,
                "forwards": predictions[0]["forwards"],
                "tokens": 0,
                "seconds": 1.0,
                "task": task,
                "split": "test",
                "condition_kind": kind,
                "condition": name,
                "params": "{}",
                "final": True,
                "n": len(mine),
                "stderr": None,
            }
            after = sum(m["final_correct"] for m in mine) / len(mine)
            metrics += [
                {**place, "metric": "accuracy", "value": after},
                {**place, "metric": "success_rate", "value": rates[kind]},
                {**place, "metric": "queries", "value": 12.0},
            ]
        metrics.append(
            {
                **place,
                "condition_kind": "attack",
                "metric": "net_success_rate",
                "value": rates["attack"] - rates["null"],
            }
        )
    return out


def _attacked(
    study: Study, p: Row, name: str, kind: str, rate: float, generator: np.random.Generator, i: int
) -> Row:
    original = study.texts[i % len(study.texts)]
    words = original.split()
    at = int(generator.integers(0, len(words)))
    fooled = bool(p["correct"] and generator.uniform() < rate)
    edited = " ".join([*words[:at], words[at][::-1] + "x", *words[at + 1 :]])
    return {
        "forwards": p["forwards"],
        "task": p["task"],
        "condition_kind": kind,
        "condition": name,
        "example_id": p["example_id"],
        "outcome": "success" if fooled else "failure" if p["correct"] else "skipped",
        "field": "sentence",
        "original": original,
        "edited": edited if p["correct"] else original,
        "gold": p["gold"],
        "clean_output": p["output"],
        "final_output": LABELS[1 - p["label"]] if fooled else p["output"],
        "clean_correct": p["correct"],
        "final_correct": bool(p["correct"] and not fooled),
        "queries": 12,
        "changed_words": 1,
        "similarity": 0.9,
        "source": "typo",
        "position": at,
        "part_of_speech": "",
        "clean_tokens": 12,
        "final_tokens": 13,
        "reason": "",
    }


def step_rows(study: Study, row: Row, generator: np.random.Generator) -> list[Row]:
    budget = row["budget_forwards"]
    rows = []
    for i in range(study.steps if budget else 0):
        spent = int(budget * (i + 1) / study.steps)
        loss = 0.45 + 0.5 * np.exp(-3 * spent / budget) + generator.normal(0, 0.03)
        rows.append(
            {
                "step": i,
                "forwards": spent,
                "tokens": spent * 480,
                "seconds": spent * 0.02,
                "loss": float(loss),
                "lr": 1e-3,
                "seeds": [i],
                "coefficients": [0.1],
                "losses": [float(loss)],
                "moved": True,
                "reason": "",
                "extras": "{}",
            }
        )
    return rows
