"""A results folder of many finished synthetic runs of a real suite, under the ids that its plan gives them.

``make`` expands the suite, invents the digests of its models and data and records them as a worker would, so
that ``zobench run`` finds every run finished and loads no model. Tables, status, plan and digests are written
by the store itself. Accuracies are drawn; no number of such a folder is a result.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zobench.runner.finished_runs import FinishedRuns, data_key
from zobench.runner.jobs import Job
from zobench.runner.plan_record import PlanRecord, run_entry
from zobench.spec import PlannedRun, identifying
from zobench.store.digests import digest_of, file_digest, sealed
from zobench.store.paths import COMPACT
from zobench.store.reader import MANIFEST, MANIFEST_COPY
from zobench.store.schema import SCHEMA_VERSION, TABLES
from zobench.store.writer import ENVIRONMENT, SPEC, RunFolder, to_table, versioned
from zobench.suite import expand, load

Tables = dict[str, list[dict[str, Any]]]
Made = tuple[PlannedRun, str, dict[str, str]]
"""A run, its id and its digests."""
RATES = 24
TASKS = ("nano-sentiment", "nano-topic", "nano-inference", "nano-choice")
CELLS = (RATES + 1) * len(TASKS)
"""Pairs of a row and a task; a suite has this many runs per seed."""
BUDGET, STEPS, POINTS, EXAMPLES = 40, 20, 4, 10
ENVIRONMENT_OF_ALL = {
    "python": "3.11.2",
    "threads": 1,
    "packages": {"torch": "2.13.0"},
    "command": ["zobench", "run"],
}


def write_suite(path: Path, runs: int) -> Path:
    """A suite of so many runs (a multiple of ``CELLS``): one method at 24 learning rates and a baseline, on
    four tasks; the number of seeds follows."""
    if runs < CELLS or runs % CELLS:
        raise ValueError(f"the number of runs must be a multiple of {CELLS}, not {runs}")
    rates = [float(f"{rate:.3g}") for rate in np.geomspace(1e-5, 1e-1, RATES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "suite: growth\nmodels: {nano: {name: 'builtin:nano'}}\n"
        f"tasks: {{{': {}, '.join(TASKS)}: {{}}}}\n"
        f"methods:\n  mezo: {{sweep: {{lr: {rates}}}}}\n  zero-shot: {{method: none, group: control}}\n"
        f"seeds: {list(range(runs // CELLS))}\nbudget: {{forwards: {BUDGET}, batch_size: 8}}\n"
        f"evaluation: {{at: [10, 20, 30], test_items: {EXAMPLES}}}\nexecutor: {{kind: inline}}\n"
    )
    return path


def make(suite: Path, folder: Path, *, compacted: bool = False) -> int:
    """Write a finished run for every planned one, in a folder of its own or, faster, all in compacted tables;
    returns their number."""
    plan, runs = expand(load(suite)), folder / "runs"
    runs.mkdir(parents=True)
    known, record = FinishedRuns(runs), PlanRecord(plan, runs)
    generator = np.random.default_rng(0)
    write = Compacted(runs) if compacted else Folders(runs)
    for start in range(0, len(plan.runs), CELLS):
        of_seed = []
        for planned in plan.runs[start : start + CELLS]:
            digests = _digests(planned)
            run_id = planned.spec.run_id(digests)
            known.learn(planned.spec, digests)
            job = Job(planned)
            record.expect(run_entry(planned), job.key)
            record.ended(job.key, run_id)
            of_seed.append((planned, run_id, digests))
        write.seed(of_seed, generator)
    write.close()
    known.save()
    record.save()
    return len(plan.runs)


def _digests(planned: PlannedRun) -> dict[str, str]:
    made_up = {part: digest_of(text.encode()) for part, text in _parts(planned)}
    return {**identifying(made_up["model"], made_up["data"]), "method": "1"}


def _parts(planned: PlannedRun) -> Iterator[tuple[str, str]]:
    yield "model", planned.spec.model.name
    yield "data", data_key(planned.spec)


class Folders:
    """Writes each run into its folder."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs

    def seed(self, made: Sequence[Made], generator: np.random.Generator) -> None:
        for planned, run_id, digests in made:
            path = self.runs / run_id
            path.mkdir()
            folder = RunFolder(path)
            folder.write_json(SPEC, planned.spec.model_dump(mode="json"))
            folder.write_json(ENVIRONMENT, ENVIRONMENT_OF_ALL)
            folder.finish("done", _tables(planned, run_id, digests, generator))

    def close(self) -> None: ...


class Compacted:
    """Writes the records of a seed at a time into one file per table. Those of the first seed are drawn; the
    others repeat them with their own ids, seeds and specifications, and values moved by up to 0.005."""

    def __init__(self, runs: Path) -> None:
        self.folder = runs / COMPACT
        self.folder.mkdir()
        self.first: dict[str, pa.Table] = {}
        self.number: dict[str, np.ndarray[Any, Any]] = {}
        self.writers = {
            name: pq.ParquetWriter(self._file(name), versioned(schema), compression="zstd")
            for name, schema in TABLES.items()
        }

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}-000001.parquet"

    def seed(self, made: Sequence[Made], generator: np.random.Generator) -> None:
        if not self.first:
            tables: Tables = {}
            for one in made:
                for name, records in _tables(*one, generator).items():
                    tables.setdefault(name, []).extend(records)
            places = {run_id: i for i, (_, run_id, _) in enumerate(made)}
            self.number = {n: np.array([places[r["run_id"]] for r in t]) for n, t in tables.items()}
            self.first = {name: to_table(name, records) for name, records in tables.items()}
            found = self.first
        else:
            found = {name: self._moved(name, made, generator) for name in self.first}
        for name, table in found.items():
            self.writers[name].write_table(table)

    def _moved(self, name: str, made: Sequence[Made], generator: np.random.Generator) -> pa.Table:
        """A table of the first seed as that of the runs ``made``."""
        table, number = self.first[name], self.number[name]
        columns: dict[str, Any] = {"run_id": [made[i][1] for i in number]}
        if name == "runs":
            columns |= _by_seed(made)
        if name == "metrics":
            columns["value"] = np.asarray(table["value"]) + 0.005 * generator.random(len(number))
        if name == "predictions":
            seed = made[0][0].spec.seed
            columns["example_id"] = [
                f"{made[i][0].spec.task.name}-{seed}-{row % EXAMPLES}" for row, i in enumerate(number)
            ]
        for column, values in columns.items():
            place = table.schema.get_field_index(column)
            table = table.set_column(place, table.schema.field(place), pa.array(values))
        return table

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()
        body = {
            "schema_version": SCHEMA_VERSION,
            "generation": 1,
            "files": {name: self._file(name).name for name in TABLES},
            "digests": {name: file_digest(self._file(name)) for name in TABLES},
        }
        for name in (MANIFEST, MANIFEST_COPY):
            (self.folder / name).write_bytes(sealed(body))


def _by_seed(made: Sequence[Made]) -> dict[str, list[Any]]:
    """The cells of the runs table that differ between seeds."""
    return {
        "seed": [planned.spec.seed for planned, _, _ in made],
        "spec": [planned.spec.model_dump_json() for planned, _, _ in made],
        "weights_digest": [digest_of(run_id.encode()) for _, run_id, _ in made],
        "data_digest": [digests["data"] for _, _, digests in made],
        "environment": [_environment(digests) for _, _, digests in made],
    }


def _environment(digests: dict[str, str]) -> str:
    return json.dumps({**ENVIRONMENT_OF_ALL, "digests": digests})


def _tables(
    planned: PlannedRun, run_id: str, digests: dict[str, str], generator: np.random.Generator
) -> Tables:
    right = generator.random(EXAMPLES) < 0.7
    return {
        "runs": [_run(planned, run_id, digests)],
        "metrics": list(_metrics(planned, run_id, float(right.mean()), generator)),
        "predictions": [_prediction(planned, run_id, i, bool(r)) for i, r in enumerate(right)],
        "steps": [_step(run_id, i) for i in range(STEPS)] if planned.group == "method" else [],
    }


def _run(planned: PlannedRun, run_id: str, digests: dict[str, str]) -> dict[str, Any]:
    spec = planned.spec
    spent = BUDGET if planned.group == "method" else 0
    return {
        "run_id": run_id,
        "suite": "growth",
        "row": planned.row,
        "group": planned.group,
        "note": planned.note,
        "purpose": spec.purpose,
        "status": "done",
        "error": "",
        "model": spec.model.name,
        "model_digest": digests["model"],
        "parameters": 934_000,
        "tuned_parameters": 934_000,
        "dtype": "float32",
        "device": "cpu",
        "task": spec.task.name,
        "task_kind": "classification",
        "task_params": json.dumps(spec.task.params, sort_keys=True),
        "primary_metric": "accuracy",
        "chance": 0.5,
        "data_digest": digests["data"],
        "method": spec.method.name,
        "method_params": json.dumps(spec.method.params, sort_keys=True),
        "method_order": "zeroth" if spent else "none",
        "space": spec.space.model_dump_json(),
        "labels": spec.labels,
        "shots": spec.shots,
        "seed": spec.seed,
        "budget_forwards": spec.budget.forwards,
        "batch_size": spec.budget.batch_size,
        "forwards": spent,
        "tokens": 240 * spent,
        "train_seconds": 0.02 * spent,
        "steps": spent // 2,
        "weights_digest": digest_of(run_id.encode()),
        "replay": "scalars",
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "git_dirty": False,
        "schema_version": SCHEMA_VERSION,
        "spec": spec.model_dump_json(),
        "environment": _environment(digests),
    }


def _metrics(
    planned: PlannedRun, run_id: str, accuracy: float, generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
    points = range(POINTS + 1) if planned.group == "method" else (0,)
    for point in points:
        last = point == max(points)
        share = point / POINTS
        values = {"accuracy": 0.5 + (accuracy - 0.5) * share if not last else accuracy, "nll": 1 - share / 2}
        for metric, value in values.items():
            yield {
                "run_id": run_id,
                "step": 5 * point,
                "forwards": 10 * point,
                "tokens": 2400 * point,
                "seconds": 0.2 * point,
                "task": planned.spec.task.name,
                "split": "test",
                "condition_kind": "clean",
                "condition": "",
                "params": json.dumps({"at": 10 * point}),
                "metric": metric,
                "value": value + 0.001 * float(generator.random()) * (not last),
                "n": EXAMPLES,
                "final": last,
            }


def _prediction(planned: PlannedRun, run_id: str, index: int, right: bool) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "step": STEPS,
        "forwards": BUDGET,
        "task": planned.spec.task.name,
        "split": "test",
        "condition_kind": "clean",
        "condition": "",
        "example_id": f"{planned.spec.task.name}-{planned.spec.seed}-{index}",
        "gold": "good",
        "output": "good" if right else "bad",
        "label": 1,
        "log_probs": [-0.5, -0.9],
        "correct": right,
        "strict_correct": right,
        "tokens": 30,
    }


def _step(run_id: str, index: int) -> dict[str, Any]:
    spent = 2 * (index + 1)
    return {
        "run_id": run_id,
        "step": index,
        "forwards": spent,
        "tokens": 240 * spent,
        "seconds": 0.02 * spent,
        "loss": 1.0 / (index + 1),
        "lr": 0.001,
        "seeds": [index],
        "coefficients": [0.5],
        "losses": [1.0, 1.1],
        "moved": True,
        "reason": "",
        "extras": "{}",
    }
