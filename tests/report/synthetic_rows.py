"""Rows of one synthetic run, table by table; see :mod:`synthetic`."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from zobench import plugins
from zobench.store.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from synthetic import Entry, Study

Row = dict[str, Any]
LABELS = ("bad", "good")


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
        "method_card": {
            "title": f"The method {entry.name}",
            "source": "arXiv:2305.17333",
            "formula": "theta <- theta - lr g u",
            "order": "zeroth",
            "revision": 1,
        },
        "digests": {"method": str(plugins.revision(entry.name.split()[0]) or 1)},
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
        "method": entry.name.split()[0],
        "seed": seed,
        "git_commit": study.commit,
        "spec": json.dumps(spec),
        "environment": json.dumps(environment),
        **described(task, seed),
        **spent(entry, study, budget, run_id),
        **entry.fields,
    }


def described(task: str, seed: int) -> Row:
    return {
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
        "method_order": "zeroth",
        "space": json.dumps({"kind": "full", "params": {}}),
        "labels": "true",
        "shots": 0,
        "replay": "scalars",
        "perturbation": "streamed",
        "noise_backend": "counter",
        "resumed": 0,
        "started_utc": "2026-01-01T00:00:00+00:00",
        "finished_utc": "2026-01-01T00:01:00+00:00",
        "git_dirty": False,
        "zobench_version": "0.1.0",
        "schema_version": SCHEMA_VERSION,
        "tuning_forwards": 0,
    }


def spent(entry: Entry, study: Study, budget: int, run_id: str) -> Row:
    return {
        "method_params": json.dumps({"lr": 1e-3, "eps": 1e-3}),
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
                "prompt": f"{study.texts[i % len(study.texts)]} It was ___" if study.prompts else None,
                "gold_text": LABELS[gold] if study.prompts else None,
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
