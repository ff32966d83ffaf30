"""A results folder with every kind of file that zobench writes, and seeded random damage to one of them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zobench.store import compact
from zobench.store.checkpoint_file import CHECKPOINT, EARLIER
from zobench.store.step_log import STEPS_LOG

SUITE = """\
suite: damage
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-sentiment: {}
methods:
  mezo: {params: {lr: 2e-4}}
  meerkat: {params: {density: 0.01}}
  zo-adam: {params: {lr: 2e-4}}
  zo-sgd-momentum: {params: {lr: 2e-4}}
attacks:
  char-typos: {}
seeds: [1]
budget: {forwards: 24, batch_size: 2}
evaluation: {at: [0, 12], test_items: 6, attack_items: 2}
checkpoint: {every_steps: 3}
executor: {kind: inline}
"""
DONE, REPLAYED, KILLED, STOPPED = "done", "replayed", "killed", "stopped"
"""What becomes of runs: a result, another one whose replay is tried, a killed run and a stopped one."""
ENDS = {"mezo": DONE, "meerkat": REPLAYED, "zo-adam": KILLED, "zo-sgd-momentum": STOPPED}


@dataclass(frozen=True)
class Recipe:
    """A suite, what becomes of its rows, and the kinds of file that are damaged; rows that are not in
    ``ends`` become results."""

    suite: str
    ends: dict[str, str]
    kinds: dict[str, Find]


@dataclass(frozen=True)
class Base:
    """Undamaged folders: ``whole`` has every run finished, ``loose`` and ``compacted`` the results, a killed
    run and a stopped one. ``ids`` by what became of the run, or by its row."""

    folder: Path
    ids: dict[str, str]
    kinds: dict[str, Find]

    @property
    def suite(self) -> Path:
        return self.folder / "damage.yaml"

    def of(self, state: str) -> Path:
        return self.folder / state


def make_base(folder: Path, recipe: Recipe | None = None) -> Base:
    """Run the suite (default: :data:`FIRST`), and stop two of its runs on their way."""
    from zobench.runner import run_plan
    from zobench.store import read
    from zobench.suite import expand, load

    recipe = recipe or FIRST
    folder.mkdir(parents=True)
    suite = folder / "damage.yaml"
    suite.write_text(recipe.suite, encoding="utf-8")
    plan = expand(load(suite))
    ended = [row for row in plan.rows() if recipe.ends.get(row) not in (KILLED, STOPPED)]
    for state, rows in (("whole", [None]), ("loose", ended)):
        for row in rows:
            assert not run_plan(plan, folder / state, progress=False, only=row).failed
    ids = {r.row: r.run_id for r in read(folder / "whole").runs.itertuples()}
    for run in plan.runs:
        if run.row not in ended:
            assert _stopped(run, folder / "loose" / "runs") == ids[run.row]
    ids |= {end: ids[row] for row, end in recipe.ends.items()}
    _forget_end(folder / "loose" / "runs" / ids[KILLED])
    shutil.copytree(folder / "loose", folder / "compacted")
    assert compact(folder / "compacted") == len(ended)
    return Base(folder, ids, recipe.kinds)


def _stopped(run: object, runs: Path) -> str:
    from zobench.runner.execute import Control, run_one
    from zobench.runner.factory import DEFAULT, load_parts
    from zobench.runner.jobs import Job
    from zobench.runner.process_cache import ProcessCache

    seen: list[object] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= 8)  # type: ignore[operator]
    job = Job(run, "damage", checkpoint_every=3)  # type: ignore[arg-type]
    outcome = run_one(job, runs, ProcessCache(load_parts(DEFAULT)), control)
    assert outcome.status == "interrupted"
    return outcome.run_id


def _forget_end(run: Path) -> None:
    """As a kill would have left it."""
    for path in (run / "status.json", *run.glob("*.parquet")):
        path.unlink()


Find = Callable[[Base], tuple[str, str]]
"""State and path below it of the file to be damaged."""


def in_run(row: str, name: str) -> Find:
    return lambda base: ("loose", f"runs/{base.ids[row]}/{name}")


def fixed(state: str, pattern: str) -> Find:
    def find(base: Base) -> tuple[str, str]:
        path = next(iter(sorted(base.of(state).glob(pattern))))
        return state, str(path.relative_to(base.of(state)))

    return find


_WRITTEN = ("runs", "steps", "metrics", "predictions", "attacks")
KINDS: dict[str, Find] = {
    "status of a result": in_run(DONE, "status.json"),
    "specification": in_run(DONE, "spec.json"),
    "environment": in_run(DONE, "environment.json"),
    **{f"{name} table": in_run(DONE, f"{name}.parquet") for name in _WRITTEN},
    "last checkpoint": in_run(KILLED, CHECKPOINT),
    "earlier checkpoint": in_run(KILLED, EARLIER),
    "step log": in_run(KILLED, STEPS_LOG),
    "specification, unfinished": in_run(KILLED, "spec.json"),
    "environment, unfinished": in_run(KILLED, "environment.json"),
    "status of a stopped run": in_run(STOPPED, "status.json"),
    "steps table of a stopped run": in_run(STOPPED, "steps.parquet"),
    "artifact": fixed("loose", "runs/artifacts/*.safetensors"),
    "plan": fixed("loose", "runs/plan.json"),
    "remembered digests": fixed("loose", "runs/digests.json"),
    "lock": in_run(DONE, "lock"),
    "manifest": fixed("compacted", "runs/compact/manifest.json"),
    "copy of the manifest": fixed("compacted", "runs/compact/manifest-copy.json"),
    **{
        f"compacted {name}": fixed("compacted", f"runs/compact/{name}-*.parquet")
        for name in ("runs", "steps", "metrics")
    },
}
FIRST = Recipe(SUITE, ENDS, KINDS)
WAYS = ("flip", "zero", "cut")


def damage(data: bytes, way: str, draw: random.Random) -> bytes:
    """``data`` with one to eight flipped bits, a zeroed range of 1 to 64 bytes, or cut short; never equal to
    it."""
    while True:
        changed = bytearray(data)
        if way == "flip":
            for _ in range(draw.choice((1, 1, 1, 2, 8))):
                changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        elif way == "zero":
            start, size = draw.randrange(len(data)), draw.randint(1, 64)
            changed[start : start + size] = bytes(len(changed[start : start + size]))
        else:
            del changed[draw.randrange(len(data)) :]
        if changed != data:
            return bytes(changed)


@dataclass(frozen=True)
class Trial:
    """One damage, fixed by its number and the seed: every kind in turn, in every way in turn."""

    number: int
    seed: int = 0
    kinds: tuple[str, ...] = tuple(KINDS)

    @property
    def kind(self) -> str:
        return self.kinds[self.number % len(self.kinds)]

    @property
    def way(self) -> str:
        return WAYS[self.number // len(self.kinds) % len(WAYS)]

    def apply(self, base: Base, target: Path) -> Path:
        """Copy the folder to ``target`` and damage the file in it, which is returned."""
        state, name = base.kinds[self.kind](base)
        shutil.copytree(base.of(state), target)
        path = target / name
        draw = random.Random(f"{self.seed} {self.number}")
        path.write_bytes(damage(path.read_bytes(), self.way, draw))
        return path
