"""``check`` applies the checks of a kind to one class; a check that does not apply states its reason."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from zobench.parameters import check as parameter_problems
from zobench.parameters import configure
from zobench.plugins import Kind
from zobench.zo.conformance import CheckResult, failures
from zobench.zo.conformance.subject import Failed, Skip, raised

__all__ = ["KINDS", "check", "failures"]

KINDS: dict[Kind, str] = {
    "methods": "zobench.zo.conformance",
    "tasks": "zobench.conformance.tasks",
    "attacks": "zobench.conformance.attacks",
    "objectives": "zobench.conformance.objectives",
    "probes": "zobench.conformance.probes",
    "rewards": "zobench.conformance.rewards",
    "sections": "zobench.conformance.sections",
}
"""Kinds that can be checked, and the module with their checks. Trackers only receive events."""


def check(kind: Kind, found: Any, params: Mapping[str, Any] | None = None) -> list[CheckResult]:
    """Apply every check of the kind to the class ``found``, with these parameters of its ``Config``.

    An error raised by the class is a failure with that error as its reason. The remaining checks still run.

    Raises:
        ValueError: the kind has no checks, or the parameters are invalid.
    """
    if kind not in KINDS:
        raise ValueError(f"there are no checks for {kind}; there are for {', '.join(KINDS)}")
    module = importlib.import_module(KINDS[kind])
    if kind == "methods":
        config = configure(found.Config, params) if params else None
        results: list[CheckResult] = module.check(found, config)
        return results
    if kind != "sections" and (problems := parameter_problems(found.Config, params or {})):
        told = "; ".join(f"{p.parameter or ''} {p.message} {p.hint}".strip() for p in problems)
        raise ValueError(f"{found.__name__} cannot be checked with these parameters: {told}")
    subject = module.SUBJECT(found, dict(params or {}))
    return list(applied(subject, module.CHECKS, found))


def applied(subject: Any, checks: Mapping[str, Callable[[Any], str]], found: type) -> Iterable[CheckResult]:
    """The outcome of every check of the class ``found``, in order."""
    for name, run in checks.items():
        try:
            detail = run(subject)
        except Skip as skip:
            yield CheckResult(name, False, True, str(skip))
        except Failed as failed:
            yield CheckResult(name, False, False, str(failed))
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; it is this check's failure
            yield CheckResult(name, False, False, raised(error, found))
        else:
            yield CheckResult(name, True, False, detail=detail)
