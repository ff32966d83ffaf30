"""What every optimizer must satisfy, as a kit: ``check(method_class, config=None) -> list[CheckResult]``.

Used by the tests, by ``zobench check NAME`` and by plugin packages::

    from zobench.zo.conformance import check, failures
    assert not failures(check(MyMethod))

``problems`` holds the small problems, ``subject`` one run of a method on one of them, ``checks`` the checks
themselves (conduct: what a step may and may not do) and ``oracles`` those against known answers
(unbiasedness, variance, descent).
"""

from zobench.zo.conformance.kit import CHECKS, CheckResult, check, failures

__all__ = ["CHECKS", "CheckResult", "check", "failures"]
