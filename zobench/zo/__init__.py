"""The optimizer library: zeroth-order methods as compositions of space x direction x estimator x update.

It needs torch only, works without the rest of zobench, and tunes any ``nn.Module``::

    from zobench.zo import Engine, Objective, build_space
    from zobench.zo.methods.mezo import Mezo

    space = build_space("full", {}, model)
    optimizer = Mezo(Mezo.Config(lr=1e-3, epsilon=1e-3), space, seed=0, engine=Engine(mode="snapshot"))
    objective = Objective(model, lambda module, batch: loss_of(module, batch))
    for batch in batches:
        objective.set_batch(batch, sequences=len(batch), tokens=0)
        record = optimizer.step(objective)

The parts of a run:

- ``Engine(mode="auto", noise="counter", precision="auto", fused=False, branches=16)`` holds the choices that
  do not depend on the method. Every method takes it as the keyword ``engine=``. ``optimizer.engine.mode`` is
  the mode in use.
- ``optimizer.state_dict()`` is a flat dict of plain numbers and tensors without the weights; these are in
  ``space.state_dict()``.
- Direction seeds are ``derive_seed(run seed, step, query)`` for every method: common random numbers.
- ``zobench.zo.trajectory`` turns step records into plain dicts and replays them.
- ``zobench.zo.conformance.check`` tests any method, built in or external, against the rules of the library.

To add a method, read ``zobench.zo.method`` (the template) and any file of ``zobench.zo.methods``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zobench.zo.base import Cost, MethodCard, Optimizer, StepRecord
    from zobench.zo.conformance import check
    from zobench.zo.engine import Engine
    from zobench.zo.method import Method, ZerothOrder
    from zobench.zo.objective import BudgetExhausted, Meter, Objective
    from zobench.zo.space import ParameterSpace, SpaceConfig, build_space
    from zobench.zo.trajectory import replay

_HOMES = {
    "BudgetExhausted": "objective",
    "Cost": "base",
    "Engine": "engine",
    "Meter": "objective",
    "Method": "method",
    "MethodCard": "base",
    "Objective": "objective",
    "Optimizer": "base",
    "ParameterSpace": "space",
    "SpaceConfig": "space",
    "StepRecord": "base",
    "ZerothOrder": "method",
    "build_space": "space",
    "check": "conformance",
    "replay": "trajectory",
}

__all__ = [
    "BudgetExhausted",
    "Cost",
    "Engine",
    "Meter",
    "Method",
    "MethodCard",
    "Objective",
    "Optimizer",
    "ParameterSpace",
    "SpaceConfig",
    "StepRecord",
    "ZerothOrder",
    "build_space",
    "check",
    "replay",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
