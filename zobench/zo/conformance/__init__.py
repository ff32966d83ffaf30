"""Conformance tests that every optimizer must pass: ``check(method_class, config=None) ->
list[CheckResult]``.

Used by the tests, by ``zobench check NAME`` and by plugin packages::

    from zobench.zo.conformance import check, failures
    assert not failures(check(MyMethod))

``problems`` defines the small test problems, ``subject`` the run of a method on one of them. ``checks``
contains the checks of what a step may and may not do, ``oracles`` those against known answers (unbiasedness,
variance, descent), ``ranks`` the check on two processes.
"""

from zobench.zo.conformance.kit import CHECKS, CheckResult, check, failures

__all__ = ["CHECKS", "CheckResult", "check", "failures"]
