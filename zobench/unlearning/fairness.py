"""What makes a comparison of unlearned models fair: when to stop, what to match, which noise to compare with,
how to choose settings.

- Stop rule (MUSE's): the first checkpoint whose forget score is at or below the oracle's, else the last one.
- Matched comparisons along theta(a) = theta_0 + a (theta_u - theta_0): every model is brought to the same
  forget score, or the same retained score, before its robustness is read. A raw "more robust" can be damage.
- Noise controls: what a random move of the same length does.
- Tuning: the same number of trials for each optimizer, judged on the validation half of the forget facts
  by one rule fixed here; a best value on the edge of its grid is flagged.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from zobench.unlearning.base import Passes
from zobench.unlearning.probes.interpolate import between
from zobench.unlearning.probes.noise import add_noise_of_norm_
from zobench.unlearning.probes.weights import distance


@dataclass(frozen=True, slots=True)
class Stop:
    """Which checkpoint is reported: its place in the curve, and whether the oracle's level was reached."""

    index: int
    reached: bool


def stop_rule(forget_scores: Sequence[float], oracle: float) -> Stop:
    """The first checkpoint at or below the oracle's forget score, else the last one (the budget is spent).
    Scores that are not finite are never at or below it."""
    if not forget_scores:
        raise ValueError("the stop rule needs at least one checkpoint")
    for index, score in enumerate(forget_scores):
        if score <= oracle:
            return Stop(index, True)
    return Stop(len(forget_scores) - 1, False)


@dataclass(frozen=True, slots=True)
class LinePoint:
    """Scores measured at theta(position), 0 the original model and 1 the unlearned one."""

    position: float
    forget: float
    retain: float


@dataclass(frozen=True, slots=True)
class Matched:
    """Where the line first meets the level, and both scores there by linear interpolation between neighbours.

    ``reached`` is false where the whole line stays on one side of the level; then the point is the unlearned
    model, which never forgets enough or keeps more than was asked.
    """

    position: float
    forget: float
    retain: float
    reached: bool


def matched(line: Sequence[LinePoint], by: Literal["forget", "retain"], level: float) -> Matched:
    """Walk from the original model until the chosen score first falls to ``level``.

    Raises:
        ValueError: fewer than two points, or the original model is already below the level.
    """
    points = sorted(line, key=lambda p: p.position)
    if len(points) < 2:
        raise ValueError("matching needs at least two measured points of the line")
    values = [p.forget if by == "forget" else p.retain for p in points]
    if values[0] < level:
        raise ValueError(f"the {by} score of the original model is {values[0]}, already below {level}")
    for i in range(1, len(points)):
        if values[i] <= level:
            step = values[i - 1] - values[i]
            return _point(points[i - 1], points[i], (values[i - 1] - level) / step if step else 0.0)
    last = points[-1]
    return Matched(last.position, last.forget, last.retain, reached=False)


def _point(a: LinePoint, b: LinePoint, share: float) -> Matched:
    return Matched(
        position=a.position + share * (b.position - a.position),
        forget=a.forget + share * (b.forget - a.forget),
        retain=a.retain + share * (b.retain - a.retain),
        reached=True,
    )


def position_of_level(
    original: nn.Module, module: nn.Module, score: Callable[[nn.Module], float], level: float, rounds: int = 7
) -> float:
    """The position whose *measured* score is nearest above ``level``, by bisection; one evaluation a round
    and one for the end. 1 where the unlearned model itself is still at or above the level.

    The score must fall along the line; where it does not, one of its crossings is found.
    """
    if score(module) >= level:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(rounds):
        middle = (low + high) / 2
        if score(between(original, module, middle)) >= level:
            low = middle
        else:
            high = middle
    return low


def noise_instead(original: nn.Module, module: nn.Module, seed: int) -> nn.Module:
    """The original model moved as far as unlearning moved it, in a random direction."""
    changed = copy.deepcopy(original)
    add_noise_of_norm_(changed, distance(original, module), seed)
    return changed


def noise_on_top(original: nn.Module, module: nn.Module, target: float, seed: int) -> nn.Module:
    """The unlearned model with noise of norm sqrt(target^2 - ||theta_u - theta_0||^2), which in high
    dimension brings it to the distance ``target`` from the original: that of the method it is compared with.

    ``ValueError`` where it is farther already.
    """
    own = distance(original, module)
    if target < own:
        raise ValueError(f"the model is {own:.4g} from the original already, beyond {target:.4g}")
    changed = copy.deepcopy(module)
    add_noise_of_norm_(changed, math.sqrt(target**2 - own**2), seed)
    return changed


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting tried: its value on the tuned axis, scores on the validation half and on retained facts."""

    value: float
    forget: float
    retain: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The trial taken, whether it forgets as much as the oracle, whether it lies on the edge of its grid."""

    trial: Trial
    reached: bool
    on_edge: bool


def choose(trials: Sequence[Trial], oracle: float) -> Choice:
    """Among trials at or below the oracle's forget score, the best retained score; if there is none, the
    lowest forget score. Ties: the smaller value. Scores that are not finite lose.
    ``ValueError`` where no trial is left."""
    sound = [t for t in trials if math.isfinite(t.forget) and math.isfinite(t.retain)]
    if not sound:
        raise ValueError(f"none of {len(trials)} trials has finite scores")
    enough = [t for t in sound if t.forget <= oracle]
    best = (
        min(enough, key=lambda t: (-t.retain, t.value))
        if enough
        else min(sound, key=lambda t: (t.forget, t.value))
    )
    values = [t.value for t in trials]
    return Choice(best, bool(enough), best.value in (min(values), max(values)))


def selection_score(forget: float, retain: float, oracle: float) -> float:
    """The rule of :func:`choose` as one number to maximize: 1 + retain at or below the oracle's forget score,
    else 1 - forget (both scores in [0, 1]). Not a number where either score is not."""
    if not (math.isfinite(forget) and math.isfinite(retain)):
        return math.nan
    return 1.0 + retain if forget <= oracle else 1.0 - forget


def worst_case(scores: Sequence[tuple[Hashable, float]]) -> dict[Hashable, float]:
    """Highest forget score of each strength over everything else a probe varies (learning rates, draws)."""
    found: dict[Hashable, float] = {}
    for strength, score in scores:
        found[strength] = max(score, found.get(strength, -math.inf))
    return found


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run of unlearning spends, in passes of one part of a minibatch through a model."""

    forwards: int
    backwards: int
    reference_forwards: int


def cost(passes: Passes, steps: int, *, losses: int = 0, gradients: int = 0) -> Cost:
    """Of ``steps`` steps with so many loss queries and gradients each; preparing the minibatch is in it."""
    return Cost(
        forwards=steps * (passes.prepare + passes.loss * (losses + gradients)),
        backwards=steps * passes.loss * gradients,
        reference_forwards=steps * passes.reference,
    )
