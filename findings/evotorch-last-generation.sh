#!/usr/bin/env bash
# evotorch evaluates a last generation that its distribution never learns from: run(1) returns the starting point
#
# Surprising: SNES, XNES, PGPE and CEM, asked for k generations, evaluate k populations and report the distribution after k - 1 updates. A step first
# updates with the losses of the population before, then samples and evaluates a new one, whose losses wait for a step that may never come.
# After run(1) the status says one iteration, and the center is bit for bit the starting point. With a budget of 1,000 evaluations in populations of
# 500, half of what was paid for is unused in `status["center"]`.
# Who meets it: whoever compares optimizers at equal numbers of evaluations and takes the center, the documented estimate, at the end.
# Versions: evotorch 0.6.1, torch 2.13.0, numpy 2.3.5 (Python 3.11). Seen 2026-11-29:
#   SNES, XNES, PGPE, CEM: after run(1) 1 population evaluated, center moved: False; after run(2) 2 populations, center moved: True
# Fails (exit 1) when a center has moved after one generation, or has not after two.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "evotorch==0.6.1" "torch==2.13.0" "numpy==2.3.5"
cat > "$folder/try.py" <<'PY'
import logging

import torch
from evotorch import Problem
from evotorch.algorithms import CEM, PGPE, SNES, XNES

logging.disable(logging.CRITICAL)
START = torch.zeros(3)


class Quadratic(Problem):
    def __init__(self):
        super().__init__("min", solution_length=3, initial_bounds=(-1, 1), seed=1)
        self.populations = 0

    def _evaluate_batch(self, batch):
        self.populations += 1
        batch.set_evals((batch.values - 5).square().sum(-1))


def seen(algorithm, **options):
    problem = Quadratic()
    search = algorithm(problem, popsize=50, stdev_init=1.0, center_init=START, **options)
    told = []
    for _ in range(2):
        search.run(1)
        told.append((problem.populations, not torch.equal(search.status["center"], START)))
    return told


rates = {"center_learning_rate": 0.5, "stdev_learning_rate": 0.1}
found = {
    "SNES": seen(SNES),
    "XNES": seen(XNES),
    "PGPE": seen(PGPE, **rates),
    "CEM": seen(CEM, parenthood_ratio=0.5),
}
for name, told in found.items():
    print(name, "; ".join(f"after run({i}): {n} evaluated, center moved: {moved}" for i, (n, moved) in enumerate(told, 1)))
assert all(told == [(1, False), (2, True)] for told in found.values()), "the behaviour has changed"
PY
"$folder/venv/bin/python" -W ignore "$folder/try.py"
