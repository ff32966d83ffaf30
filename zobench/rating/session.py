"""A method, driven by a person's rankings.

A step of the method is repeated from its beginning whenever a choice was made, until it has all choices that
it asks for; then its update is written and the next step begins. Nothing else is stored than the choices:
weights, direction seeds and pictures follow from them, with the same bits in every process.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from zobench.data.example import Example
from zobench.data.image import Image
from zobench.rating.choices import Choice, Choices
from zobench.runner.data_order import minibatch_rows
from zobench.runner.data_order import stream as numbers
from zobench.runner.execute import digests_of
from zobench.runner.process_cache import ProcessCache
from zobench.runner.spaces import space_of
from zobench.spec import RunSpec
from zobench.zo.objective import Meter
from zobench.zo.ranked import RankedObjective

Shown = Image | str
MODES = ("auto", "snapshot")


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be chosen from.

    Attributes:
        key: a random word that an answer must repeat; it is valid once.
        items: pictures or texts, in the order of the points.
        order: indices into ``items`` in the order in which they are displayed.
        named: indices that were chosen before, the best one first.
        wanted: how many are to be named in all.
        prompt: the question behind a text; empty for pictures.
        step, forwards, budget: the position in the run.
    """

    key: str
    items: tuple[Shown, ...]
    order: tuple[int, ...]
    named: tuple[int, ...]
    wanted: int
    prompt: str
    step: int
    forwards: int
    budget: int


class _Unanswered(Exception):
    """A choice is needed; the step is repeated when it was made."""

    def __init__(self, items: tuple[Shown, ...], named: tuple[int, ...], wanted: int) -> None:
        super().__init__(f"{wanted - len(named)} of {wanted} choices are missing")
        self.items, self.named, self.wanted = items, named, wanted


class Session:
    """The run of a suite, rated by a person instead of its task's loss.

    Args:
        spec: the run; its method must only compare losses (``Optimizer.picks``), its task show pictures or
            texts, and its ``perturbation`` be ``auto`` or ``snapshot``.
        folder: the choices are stored in a subfolder named after the run.

    Raises:
        ValueError: the run cannot be rated, or its pictures are not those that were rated earlier.
    """

    def __init__(self, spec: RunSpec, folder: Path, bench: ProcessCache) -> None:
        method = bench.parts.method(spec.method.name)
        self._spec, self._lm, self._data = spec, bench.model(spec.model), bench.data(spec)
        self._data.task.refuse_model(self._lm)
        if spec.perturbation not in MODES:
            raise ValueError(f"rankings need perturbation auto or snapshot, not {spec.perturbation}")
        self._space = space_of(spec, self._lm, bench.parts)
        self._optimizer = bench.parts.optimizer(spec, self._space)
        config = self._optimizer.config
        self._picks, self._cost = method.picks(config), method.cost(config)
        if not self._picks:
            raise ValueError(f"method {spec.method.name!r} needs losses; a person gives rankings alone")
        self.run_id = spec.run_id(digests_of(spec, bench))
        self.choices = Choices(folder / self.run_id, self.run_id)
        self.meter = Meter(spec.budget.forwards)
        self._objective = RankedObjective(self._lm.module, self._show, self._order, self._picks, self.meter)
        self._cached: dict[int, Shown] = {}
        self._step, self._asked, self._at = 0, 0, 0
        self.question = self._next()

    def choose(self, key: str, item: int) -> bool:
        """Store a choice and go on to the next question. False, and nothing is done, if the question with
        this key is not open any more or the item cannot be chosen."""
        question = self.question
        if question is None or not secrets.compare_digest(key.encode(), question.key.encode()):
            return False
        if item in question.named or not 0 <= item < len(question.items):
            return False
        self.choices.add(Choice(_digest(question.items), item))
        self.question = self._next()
        return True

    def current(self) -> Shown:
        """What the model shows at the current weights."""
        (shown,) = self._data.task.shown(self._lm, [self._example()])
        return shown

    @property
    def prompt(self) -> str:
        """The question behind a text."""
        return "" if self._example().image is not None else self._data.task.prompt_text(self._example())

    def _example(self) -> Example:
        rows = self._data.splits.train
        (row,) = minibatch_rows(self._spec.seed, self._data.key, len(rows), 1, self._step)
        return rows[row]

    def _next(self) -> Question | None:
        """Take all steps whose choices are known; the question that is open then, ``None`` at the end of the
        budget."""
        spec, dearest = self._spec, self._cost.max_forwards_in_step
        while self.meter.forwards + dearest <= spec.budget.forwards:
            before = self.meter.forwards
            self._asked, self._at = 0, 0
            self._objective.set_batch([self._example()], sequences=1, tokens=0)
            try:
                self._optimizer.step(self._objective)
            except _Unanswered as open_:
                self.meter.forwards = before
                return self._asking(open_)
            self._step += 1
            self._cached = {}
        return None

    def _asking(self, open_: _Unanswered) -> Question:
        order = numbers("rating", self.run_id, self._step, self._asked).permutation(len(open_.items))
        return Question(
            secrets.token_hex(16),
            open_.items,
            tuple(int(i) for i in order),
            open_.named,
            open_.wanted,
            self.prompt,
            self._step,
            self.meter.forwards,
            self._spec.budget.forwards,
        )

    def _done(self) -> int:
        """Choices of the steps before this one."""
        return self._step * sum(self._picks)

    def _show(self, module: nn.Module, batch: Any) -> Shown:
        """The picture or text of a point. Points of steps that are complete need none."""
        at, self._at = self._at, self._at + 1
        if len(self.choices.made) - self._done() >= sum(self._picks) and not self._cached:
            return ""
        if at not in self._cached:
            (self._cached[at],) = self._data.task.shown(self._lm, batch)
        return self._cached[at]

    def _order(self, shown: Sequence[Shown], wanted: int) -> Sequence[int]:
        """The choices that were made about what is shown."""
        start = self._done() + sum(self._picks[: self._asked])
        made = self.choices.made[start : start + wanted]
        items = tuple(shown)
        if self._cached and any(c.shown != _digest(items) for c in made):
            raise ValueError(
                f"{self.choices.path}: its choices were made about other pictures or texts, for instance by "
                "another version of zobench or on another machine; move the file away to start anew"
            )
        named = tuple(c.item for c in made)
        if len(named) < wanted:
            raise _Unanswered(items, named, wanted)
        self._asked += 1
        return named


def _digest(items: Sequence[Shown]) -> str:
    """SHA-256 of pictures and texts."""
    parts = [item.digest() if isinstance(item, Image) else f"text {item}" for item in items]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
