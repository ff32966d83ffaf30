"""Fixed sets of word problems: training problems, which may occur in the model's training text, and held-out
problems for validation and test.

Validation and test problems occur in no training text; form and operands decide to which of the two a
problem belongs. No two problems of a split share form and operands.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from zobench.data.synthetic.draw import bucket, digest, stream
from zobench.data.synthetic.problems import Problem, draw_problem, render
from zobench.names import nearest

SPLITS = ("train", "validation", "test")
SEED = 12
QUOTA: dict[str, tuple[int, int, int, int]] = {
    "train": (100, 200, 200, 200),
    "validation": (10, 30, 30, 30),
    "test": (40, 120, 120, 120),
}
"""Problems of one, two, three and four steps; few one-step problems exist."""
PROMPT = "Q: {question}\nA:"


@dataclass(frozen=True, slots=True)
class ProblemRow:
    id: str
    question: str
    problem: Problem


@cache
def problem_rows(split: str) -> tuple[ProblemRow, ...]:
    """All problems of a split in a fixed order, steps mixed; plain wording, no irrelevant sentences."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}{nearest(split, SPLITS)}")
    rng = stream(SEED, "problems", split)
    rows: list[ProblemRow] = []
    for steps, quota in enumerate(QUOTA[split], start=1):
        seen: set[tuple[str, tuple[int, ...]]] = set()
        while len(seen) < quota:
            problem = draw_problem(rng, steps)
            key = (problem.form, problem.operands)
            if key in seen or split_of(problem) != split:
                continue
            seen.add(key)
            name = digest(problem.form, *problem.operands)[:12]
            rows.append(ProblemRow(f"problem-{steps}-{name}", render(rng, problem), problem))
    rng.shuffle(rows)
    return tuple(rows)


def split_of(problem: Problem) -> str:
    """``train`` for problems that training text may contain, else ``validation`` (a quarter) or ``test``."""
    if not problem.held_out:
        return "train"
    return "validation" if bucket(4, "validation", problem.form, *problem.operands) == 0 else "test"
