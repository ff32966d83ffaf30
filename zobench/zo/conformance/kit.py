"""``check`` applies every check to one method and returns the results; a skipped check states its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from zobench.zo.base import Optimizer
from zobench.zo.conformance import checks, faults, oracles, ranks
from zobench.zo.conformance.subject import Failed, Skip, Subject, raised

CHECKS: dict[str, Callable[[Subject], str]] = {
    "moves": checks.moves,
    "learning-rate-zero": checks.learning_rate_zero,
    "dtypes": checks.dtypes,
    "forwards": checks.forwards,
    "passes": checks.passes,
    "state-size": checks.state_size,
    "budget": checks.budget,
    "global-random-state": checks.global_random_state,
    "refusals": checks.refusals,
    "no-batch": checks.no_batch,
    "determinism": checks.determinism,
    "resume": checks.resume,
    "replay": checks.replays,
    "modes": checks.modes,
    "drift": checks.drift,
    "outside-untouched": checks.outside_untouched,
    "distributed": ranks.distributed,
    "measured-is-applied": oracles.measured_is_applied,
    "estimate-is-measured": faults.estimate_is_measured,
    "independent-noise": faults.independent_noise,
    "stops": faults.stops,
    "hidden-queries": faults.hidden_queries,
    "defaults-cited": faults.defaults_cited,
    "unbiased": oracles.unbiased,
    "descent": oracles.descent,
}
"""Name -> check, in the order of the table."""

AS_GIVEN = ("moves", "forwards")
"""Checks of the default config itself: it must train and have the declared cost."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one check.

    Attributes:
        name: key in ``CHECKS``.
        passed: True if the check was run and passed.
        skipped: True if the check does not apply; ``reason`` gives the reason.
        reason: why the check was skipped, or how it failed.
        detail: the measured values.
    """

    name: str
    passed: bool
    skipped: bool
    reason: str = ""
    detail: str = ""


def check(
    method: type[Optimizer], config: Any = None, *, only: Iterable[str] | None = None
) -> list[CheckResult]:
    """Apply every check, or those named in ``only``, to ``method`` with ``config``.

    Without a config, ``moves`` and ``forwards`` use the method's defaults, and the other checks its defaults
    with ``method.small_problem``. In ``descent``, the transformer is tried with the plain defaults first; the
    detail states which config reached the required loss.

    An error raised by the method is a failure with that error as its reason. The remaining checks still run.
    """
    preset = Subject(method, method.Config() if config is None else config)
    small = preset
    if config is None and method.small_problem:
        small = replace(preset.changed(**method.small_problem), preset=preset.config)
    names = list(CHECKS) if only is None else list(only)
    return [_one(name, preset if name in AS_GIVEN else small) for name in names]


def _one(name: str, subject: Subject) -> CheckResult:
    try:
        detail = CHECKS[name](subject)
    except Skip as skip:
        return CheckResult(name, False, True, str(skip))
    except Failed as failed:
        return CheckResult(name, False, False, str(failed))
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; it is reported as this check's failure
        return CheckResult(name, False, False, raised(error, subject.method))
    return CheckResult(name, True, False, detail=detail)


def failures(results: Iterable[CheckResult]) -> list[str]:
    """``name: reason`` for every check that neither passed nor was skipped."""
    return [f"{r.name}: {r.reason}" for r in results if not r.passed and not r.skipped]
