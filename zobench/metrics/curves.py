"""Curves of a metric against a budget (forward passes, tokens, seconds): area, time to target.

A curve is two equal-length sequences, ``x`` increasing. The values between two measurements are unknown; each
function states its assumption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from zobench.metrics.arrays import Floats

Reading = Literal["last", "linear"]


@dataclass(frozen=True, slots=True)
class TimeToTarget:
    """``time`` spent when the target was first met, or the last budget observed if it was not (``reached``
    False).
    """

    time: float
    reached: bool


def area_under_curve(x: Sequence[float], y: Sequence[float], limit: float | None = None) -> float:
    """Mean height of the curve from its first measurement to ``limit``, by trapezoids: (1/(b - a)) integral
    y dx.

    Normalized, so that an accuracy curve gives an accuracy. After the last measurement the value is assumed
    constant.
    """
    xs, ys = _curve(x, y)
    end = float(xs[-1]) if limit is None else float(limit)
    if end <= xs[0]:
        raise ValueError(f"limit {end:g} is not past the first measurement at {xs[0]:g}")
    grid = np.append(xs[xs < end], end)
    return float(np.trapezoid(np.interp(grid, xs, ys), grid) / (end - xs[0]))


def time_to_target(
    x: Sequence[float],
    y: Sequence[float],
    target: float,
    *,
    higher: bool = True,
    reading: Reading = "last",
    hold: int = 1,
) -> TimeToTarget:
    """First budget at which the target is met by ``hold`` measurements in a row, right-censored at the last
    budget.

    ``last`` returns the budget of the measurement itself (a multiple of the evaluation interval, never
    optimistic); ``linear`` the interpolated crossing between it and the measurement before.
    """
    xs, ys = _curve(x, y)
    # A target computed from means may differ in its last bit from the value that it represents.
    gap = np.round(ys - target, 12)
    met = gap >= 0 if higher else gap <= 0
    run = 0
    for i, ok in enumerate(met):
        run = run + 1 if ok else 0
        if run == hold:
            first = i - hold + 1
            if reading == "last" or first == 0:
                return TimeToTarget(float(xs[first]), True)
            x0, x1, y0, y1 = xs[first - 1], xs[first], ys[first - 1], ys[first]
            return TimeToTarget(float(x0 + (x1 - x0) * (target - y0) / (y1 - y0)), True)
    return TimeToTarget(float(xs[-1]), False)


def median_time(times: Sequence[TimeToTarget]) -> float:
    """Kaplan-Meier median of censored times; ``inf`` if the survival curve never falls to one half."""
    if not times:
        raise ValueError("median_time needs at least one run")
    spent = stats.CensoredData.right_censored([t.time for t in times], [not t.reached for t in times])
    survival = stats.ecdf(spent).sf
    fallen = survival.quantiles[survival.probabilities <= 0.5 + 1e-12]
    return float(fallen[0]) if len(fallen) else float("inf")


def restricted_mean_time(times: Sequence[TimeToTarget], limit: float) -> float:
    """Mean of min(time, limit), where runs that missed the target count as the limit: a lower bound of the
    mean time.

    Every run must have been observed up to ``limit`` or have reached the target before it.
    """
    short = [t for t in times if not t.reached and t.time < limit]
    if short:
        raise ValueError(
            f"a run was stopped at {short[0].time:g}, before the limit {limit:g}, without the target"
        )
    return float(np.mean([min(t.time, limit) if t.reached else limit for t in times]))


def _curve(x: Sequence[float], y: Sequence[float]) -> tuple[Floats, Floats]:
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if xs.shape != ys.shape or xs.ndim != 1 or not len(xs):
        raise ValueError(f"a curve needs two equal non-empty sequences, not shapes {xs.shape} and {ys.shape}")
    if (np.diff(xs) < 0).any():
        raise ValueError("the budgets of a curve must not decrease")
    return xs, ys
