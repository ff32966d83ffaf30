"""MeZO in a plain torch loop, without the rest of zobench: ``python examples/plain_loop.py``.

The loop is the function ``fine_tune`` (ten lines); the rest defines a toy classifier to run it on.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zobench.zo import Engine, Objective, build_space
from zobench.zo.methods.mezo import Mezo


def fine_tune(model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]], lr: float) -> list[float]:
    """One MeZO step per batch; returns the losses."""
    space = build_space("full", {}, model)
    optimizer = Mezo(Mezo.Config(lr=lr, epsilon=1e-3, n=2), space, seed=0, engine=Engine(mode="snapshot"))
    objective = Objective(model.eval(), lambda module, batch: cross_entropy(module(batch[0]), batch[1]))
    losses = []
    for features, labels in batches:
        objective.set_batch((features, labels), sequences=len(labels), tokens=0)
        losses.append(optimizer.step(objective).loss)
    return losses


def main() -> None:
    torch.manual_seed(0)
    features = torch.randn(64, 10)
    labels = (features[:, 0] > 0).long()
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 2))
    losses = fine_tune(model, [(features, labels)] * 300, lr=0.02)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} after {len(losses)} steps")


if __name__ == "__main__":
    main()
