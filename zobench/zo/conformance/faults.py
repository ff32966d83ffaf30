"""Checks for faults that published zeroth-order code has: noise shared between tensors, another direction
applied than measured, accumulators that are never cleared, uncounted forward passes, defaults without source.

Two more faults of that kind have checks of their own: state outside the checkpoint (``resume``) and weights
restored by arithmetic (``learning-rate-zero``, ``drift``).
"""

from __future__ import annotations

import itertools
import re
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from zobench.zo.conformance.problems import Problem, quadratic, transformer
from zobench.zo.conformance.subject import Failed, Skip, StartedRun, Subject, expect
from zobench.zo.engine import Engine
from zobench.zo.estimators import Estimate, dense
from zobench.zo.method import ZerothOrder

CORRELATION = 0.9
"""Largest correlation of the noise of two tensors of equal shape, over four steps."""
FADED = 0.01
"""Share of the largest step that steps must fall below after the loss has become constant."""
PATIENCE = 1500
"""Steps within which they must do so; momentum 0.99 needs 460."""
SOURCES = re.compile(
    r"defaults? (of|as|in)|paper|authors?|script|README|published|choices?\b|MeZO|ZO-Bench|torch",
    re.IGNORECASE,
)
"""How the summary of a config says where its defaults are from."""


def _flat(space: Any) -> torch.Tensor:
    return torch.cat([space.entries(n).detach().reshape(-1).double() for n in space]).clone()


def _watched(subject: Subject, problem: Problem, points: list[torch.Tensor]) -> StartedRun:
    """A run in float64 that appends the tuned values of every query to ``points``."""
    spaces: list[Any] = []

    def loss(module: nn.Module, batch: Any) -> torch.Tensor:
        points.append(_flat(spaces[0]))
        return problem.loss(module, batch)

    # The points of modes that stack branches are not in the module's own tensors.
    run = subject.start(problem, dtype=torch.float64, loss=loss, engine=Engine(mode="snapshot"))
    spaces.append(run.space)
    return run


def _watched_anywhere(subject: Subject, points: list[torch.Tensor]) -> StartedRun:
    """On the quadratic, or on the transformer if the quadratic does not support the space."""
    try:
        return _watched(subject, quadratic(), points)
    except Skip:
        return _watched(subject, transformer(), points)


def independent_noise(subject: Subject) -> str:
    """Tensors of equal shape are displaced by different noise: the correlation between their displacements
    is far from 1 (a generator that is seeded anew for every tensor gives 1)."""
    if subject.method.card.order != "zeroth":
        raise Skip("displaces no weights")
    points: list[torch.Tensor] = []
    run = _watched(subject, transformer(), points)
    shifts = []
    for _ in range(4):
        before = _flat(run.space)
        points.clear()
        run.steps(1)
        shifts += [point - before for point in points]
    if not shifts:
        raise Skip("queries no loss")
    sizes = [run.space.size(n) for n in run.space]
    moved = dict(zip(run.space, torch.stack(shifts).split(sizes, dim=1), strict=True))
    found = {}
    for a, b in itertools.combinations(moved, 2):
        x, y = moved[a].reshape(-1), moved[b].reshape(-1)
        if run.space.shape(a) == run.space.shape(b) and x.any() and y.any():
            found[a, b] = abs(float(x @ y / (x.norm() * y.norm())))
    if not found:
        raise Skip("no two displaced tensors of equal shape")
    (a, b), largest = max(found.items(), key=lambda pair: pair[1])
    expect(largest < CORRELATION, f"the noise of {a!r} and {b!r} has correlation {largest:.3f}")
    return f"largest correlation of {len(found)} pairs of equal shape: {largest:.2f}"


def estimate_is_measured(subject: Subject) -> str:
    """The estimate that a step's update receives is in the span of the displacements whose losses were
    measured in the same step (float64), also if the update transforms it."""
    points: list[torch.Tensor] = []
    run = _watched_anywhere(subject, points)
    optimizer = run.optimizer
    if not isinstance(optimizer, ZerothOrder) or subject.method.card.order != "zeroth":
        raise Skip("not a zeroth-order method on the ZerothOrder template: no estimate to look at")
    worst = [0.0]
    before = [_flat(run.space)]

    def watch(estimate: Estimate) -> None:
        parts = [dense(optimizer.direction, estimate, name).reshape(-1).double() for name in run.space]
        g = torch.cat(parts)
        if points and g.any():
            measured = torch.stack([point - before[0] for point in points], dim=1)
            measured = measured / measured.norm(dim=0).clamp_min(1e-300)
            inside = measured @ torch.linalg.lstsq(measured, g[:, None], driver="gelsd").solution
            worst[0] = max(worst[0], float((g - inside[:, 0]).norm() / g.norm()))

    optimizer.watch = watch
    for _ in range(20):
        points.clear()
        before[0] = _flat(run.space)
        run.steps(1)
    expect(worst[0] < 1e-5, f"{worst[0]:.2g} of an estimate lies outside what was measured")
    return f"largest share outside the span in 20 steps: {worst[0]:.1e}"


def stops(subject: Subject) -> str:
    """After the loss has become constant, steps fade: below 1 % of the largest earlier one within 1500 steps.
    An accumulator that is never cleared keeps moving the weights."""
    if subject.method.card.order == "none":
        raise Skip("never moves")
    if subject.method.card.noisy:
        raise Skip("the card says that the estimate has noise of its own")
    if not subject.method.card.fades:
        raise Skip(
            "the card says that steps keep their length: a momentum enters by its sign or polar factor"
        )
    if subject.has("weight_decay"):
        subject = subject.changed(weight_decay=0.0)
    problem, constant = transformer(), [False]

    def loss(module: nn.Module, batch: Any) -> torch.Tensor:
        value = problem.loss(module, batch)
        return value * 0.0 + 1.0 if constant[0] else value

    run = subject.start(problem, dtype=torch.float64, loss=loss)
    largest = max(_step(run) for _ in range(6))
    if largest == 0.0:
        raise Skip("six steps of this config move nothing")
    constant[0] = True
    last = largest
    for count in range(1, PATIENCE + 1):
        last = _step(run)
        if last < FADED * largest:
            return f"{count} steps after the loss became constant"
    raise Failed(f"steps are {last / largest:.2g} of the largest one {PATIENCE} steps after the last change")


def _step(run: StartedRun) -> float:
    """Take one step; its length."""
    before = _flat(run.space)
    run.steps(1)
    return float((_flat(run.space) - before).norm())


def hidden_queries(subject: Subject) -> str:
    """The module does not run more often than forward passes are counted."""
    run = subject.start()
    calls = [0]

    def count(module: nn.Module, args: Any) -> None:
        calls[0] += 1

    handle = run.module.register_forward_pre_hook(count)
    run.steps(6)
    handle.remove()
    counted = run.objective.meter.forwards
    expect(calls[0] <= counted, f"the module ran {calls[0]} times, {counted} forward passes are counted")
    return f"{calls[0]} runs of the module, {counted} forward passes counted"


def defaults_cited(subject: Subject) -> str:
    """The config's docstring describes every parameter, and its summary says where the defaults are from: the
    paper, the authors' script or README, or a choice. (Published scripts, options and READMEs disagree.)"""
    config = type(subject.config)
    text = config.__doc__ or ""
    for field in fields(config):
        expect(
            re.search(rf"^\s+{field.name}: ", text, re.MULTILINE) is not None, f"{field.name} is undescribed"
        )
    summary = text.split("Attributes:")[0]
    if not fields(config):
        raise Skip("no parameters")
    expect(SOURCES.search(summary) is not None, "the summary does not say where the defaults are from")
    return "every parameter described, source of the defaults named"
