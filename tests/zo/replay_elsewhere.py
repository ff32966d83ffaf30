"""Record every replayable method here, replay it in a process whose torch uses another processor level.

Run as a program: ``python replay_elsewhere.py FILE`` reads what :func:`record` wrote and prints, as JSON, the
digest of the weights that each method's replay ends with.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zobench.plugins import entries, lookup, missing_package
from zobench.zo.conformance.subject import Subject
from zobench.zo.method import Method
from zobench.zo.trajectory import from_row, replay, to_row

STEPS = 6
REPLAYABLE = tuple(
    name
    for name, entry in sorted(entries("methods").items())
    if entry.origin == "builtin"
    and not missing_package(name)
    and lookup("methods", name).card.replay != "checkpoint"
)


def subject(name: str) -> Subject:
    """The method as the conformance kit checks it, with weight decay where it has some."""
    method = lookup("methods", name)
    given = Subject(method, method.Config())
    if method.small_problem:
        given = given.changed(**method.small_problem)
    decayed = "weight_decay" if given.has("weight_decay") else ""
    return replace(given, config=replace(given.config, weight_decay=0.01)) if decayed else given


def record(path: Path) -> dict[str, str]:
    """Run every method; write starting weights, records and artifacts; return the digests."""
    kept: dict[str, Any] = {}
    digests = {}
    for name in REPLAYABLE:
        run = subject(name).start()
        start = run.space.state_dict()
        rows = [json.dumps(to_row(r)) for r in run.steps(STEPS)]
        artifacts = run.optimizer.artifacts() if isinstance(run.optimizer, Method) else {}
        kept[name] = {"start": start, "rows": rows, "artifacts": artifacts, "seed": run.optimizer.seed}
        digests[name] = run.space.digest()
    torch.save(kept, path)
    return digests


def rebuild(path: Path) -> dict[str, str]:
    """Digests of the replays of what :func:`record` wrote."""
    found = {}
    for name, kept in torch.load(path, weights_only=True).items():
        own = subject(name)
        again = own.start()
        again.space.load_state_dict(kept["start"])
        found[name] = replay(
            [from_row(json.loads(row)) for row in kept["rows"]],
            again.space,
            own.method,
            own.config,
            seed=kept["seed"],
            start=lambda o, a=kept["artifacts"]: o.load_artifacts(a) if isinstance(o, Method) else None,
        )
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    level = torch.backends.cpu.get_cpu_capability()
    print(json.dumps({"level": level, "digests": rebuild(Path(sys.argv[1]))}))
