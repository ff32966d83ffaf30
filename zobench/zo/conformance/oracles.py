"""Checks against known answers: the applied direction is the measured one; unbiasedness and variance on a
quadratic; descent."""

from __future__ import annotations

import math

import torch

from zobench.zo.base import StepRecord
from zobench.zo.conformance.problems import Problem, hessian, logistic, quadratic, target, transformer
from zobench.zo.conformance.subject import Skip, StartedRun, Subject, expect
from zobench.zo.estimators import Estimate, dense
from zobench.zo.method import ZerothOrder

SAMPLES = 1000
"""Number of estimates for the mean and the variance."""
DEVIATIONS = 5.0
"""Tolerance of the statistical checks, in standard errors."""
DESCENT_FORWARDS = 500
"""Forward passes until which a run that descends is continued."""
LEARNING_RATES = (0.01, 0.03, 0.1, 0.003, 0.3, 0.001, 0.0003, 0.0001, 10.0)
"""Tried in this order by :func:`descent`. 10 is for steps that carry a factor of the smoothing radius."""


def _flat(run: StartedRun) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1).double() for p in run.space.tensors.values()]).clone()


def measured_is_applied(subject: Subject) -> str:
    """Every step is in the span of the displacements whose losses were measured in the same step
    (float64)."""
    if not subject.method.card.in_span:
        raise Skip("the card does not declare in_span: the update transforms what was measured")
    problem = quadratic()
    seen: list[torch.Tensor] = []

    def loss(module: torch.nn.Module, batch: object) -> torch.Tensor:
        seen.append(torch.cat([p.detach().reshape(-1).clone() for p in module.parameters()]))
        return problem.loss(module, batch)

    run = subject.start(problem, dtype=torch.float64, loss=loss)
    worst = 0.0
    for _ in range(40):
        seen.clear()
        before = _flat(run)
        run.steps(1)
        step = _flat(run) - before
        measured = torch.stack([point - before for point in seen], dim=1)
        measured = measured / measured.norm(dim=0).clamp_min(1e-300)
        inside = measured @ torch.linalg.lstsq(measured, step[:, None], driver="gelsd").solution
        worst = max(worst, float((step - inside[:, 0]).norm() / step.norm().clamp_min(1e-300)))
    expect(worst < 1e-5, f"{worst:.2g} of a step lies outside what was measured")
    return f"largest share outside the span in 40 steps: {worst:.1e}"


def estimate_of(run: StartedRun, record: StepRecord) -> torch.Tensor:
    """The gradient estimate of a record as one vector."""
    assert isinstance(run.optimizer, ZerothOrder)
    estimate = Estimate(record.seeds, record.coefficients, record.losses, record.loss)
    parts = [dense(run.optimizer.direction, estimate, name).reshape(-1).double() for name in run.space]
    return torch.cat(parts)


def unbiased(subject: Subject) -> str:
    """On a quadratic in float64, the mean of the estimates is the gradient and their variance is the
    theoretical one, for n and 4n directions.

    Var(g_hat_i) = (|g|^2 + (k - 2) g_i^2) / n for directions of independent entries with fourth moment k.
    """
    if not subject.method.card.unbiased:
        raise Skip("the card does not declare the estimate unbiased")
    counts = [None] if not subject.has("n") else [subject.config.n, 4 * subject.config.n]
    return "; ".join(_moments(subject if n is None else subject.changed(n=n), n or 1) for n in counts)


def _moments(subject: Subject, n: int) -> str:
    run = subject.changed(lr=0.0).start(quadratic(), dtype=torch.float64)
    if not isinstance(run.optimizer, ZerothOrder):
        raise Skip("not built on the ZerothOrder template: no estimate to look at")
    gradient = hessian() * (_flat(run) - target())
    draws = torch.stack([estimate_of(run, record) for record in run.steps(SAMPLES)])
    errors = draws - gradient
    squared = errors.square().sum(dim=1)
    total = float(squared.mean())
    kappa = run.optimizer.direction.fourth_moment
    size = float(gradient.square().sum())
    if kappa is not None:
        theory = size * (len(gradient) + kappa - 2) / n
        error = float(squared.std()) / math.sqrt(SAMPLES)
        expect(abs(total - theory) < DEVIATIONS * error, f"variance {total:.4g}, theory {theory:.4g}")
    bias = float(errors.mean(dim=0).square().sum())
    allowed = total / SAMPLES * (1 + DEVIATIONS * math.sqrt(2 / len(gradient)))
    expect(bias < allowed, f"squared bias {bias:.3g} with n = {n}, chance allows {allowed:.3g}")
    return f"n = {n}: squared bias {bias:.2g} (chance {total / SAMPLES:.2g}), variance {total:.3g}"


def descent(subject: Subject) -> str:
    """Some learning rate lowers the loss on a quadratic (to 50 %), a logistic regression (to 85 %) and a
    transformer (to 90 %)."""
    if not subject.method.card.descent:
        raise Skip("the card says it is not meant to lower the loss")
    wanted = ((quadratic(), 0.5, 120), (logistic(), 0.85, 120), (transformer(), 0.9, 150))
    easier = ", ".join(f"{key}={value!r}" for key, value in subject.method.small_problem.items())
    details = []
    for problem, share, steps in wanted:
        given = subject.as_given() if problem.name == "tiny transformer" else None
        under = f", {easier}" if subject.preset is not None else ""
        if given is not None:
            rate, ratio = _best_rate(given, problem, share, steps)
            under = ", defaults" if ratio <= share else f", {easier}; {ratio:.2f} under the defaults"
        if given is None or ratio > share:
            rate, ratio = _best_rate(subject, problem, share, steps)
        expect(ratio <= share, f"{problem.name}: loss at best {ratio:.3f} of the start, {share} wanted")
        details.append(f"{problem.name} {ratio:.2f} (lr {rate:g}{under})")
    return ", ".join(details)


def _best_rate(subject: Subject, problem: Problem, share: float, steps: int) -> tuple[float, float]:
    """The first learning rate that reaches the share of the starting loss, or the best one, and the share
    that it reached.

    A run that descends without reaching the share is continued up to ``DESCENT_FORWARDS`` forward passes:
    methods with one or two forward passes per step, or with one subspace at a time, need more steps.
    """
    best = (math.nan, math.inf)
    for rate in LEARNING_RATES:
        run = subject.changed(lr=rate).start(problem)
        before = run.objective.loss()
        for _ in range(steps):
            run.steps(1)
        ratio = run.objective.loss() / before
        while share < ratio < 1.0 and run.objective.meter.forwards < DESCENT_FORWARDS:
            run.steps(steps)
            ratio = run.objective.loss() / before
        if ratio < best[1]:
            best = (rate, ratio)
        if ratio <= share:
            break
    return best
