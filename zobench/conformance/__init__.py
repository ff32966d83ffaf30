"""Property tests of every kind of plugin: ``check(kind, cls, config=None) -> list[CheckResult]``.

Used by ``zobench check NAME`` and by plugin packages::

    from zobench.conformance import check, failures
    assert not failures(check("attacks", MyAttack))

Optimizers have their own kit (:mod:`zobench.zo.conformance`), which ``check("methods", ...)`` calls. The
other kinds are checked on the built-in model or on a fixed stand-in for it; a check takes seconds.
"""

from zobench.conformance.advice import advice
from zobench.conformance.kit import KINDS, check, failures

__all__ = ["KINDS", "advice", "check", "failures"]
