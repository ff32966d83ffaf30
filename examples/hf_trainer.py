"""A zobench method inside a Hugging Face ``Trainer``: override ``training_step``, and give it an optimizer
that rests.

``ZerothOrderTrainer`` takes any method of the library. The Trainer keeps its data order, callbacks, logging
and evaluation; the step is the method's, without a backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import Trainer

from zobench.zo import Objective, build_space
from zobench.zo.base import Optimizer


class ZerothOrderTrainer(Trainer):
    """``ZerothOrderTrainer(method=Mezo, config=Mezo.Config(lr=1e-3), model=..., args=...,
    train_dataset=...)``."""

    def __init__(self, *, method: type[Optimizer], config: Any, **kwargs: Any) -> None:
        resting = torch.optim.SGD(kwargs["model"].parameters(), lr=0.0)
        schedule = torch.optim.lr_scheduler.ConstantLR(resting, factor=1.0)
        super().__init__(optimizers=(resting, schedule), **kwargs)
        self.objective = Objective(self.model, lambda module, batch: module(**batch).loss)
        self.method = method(config, build_space("full", {}, self.model), seed=self.args.seed)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        model.eval()
        batch = self._prepare_inputs(inputs)
        self.objective.set_batch(batch, sequences=len(batch["labels"]), tokens=batch["labels"].numel())
        return torch.tensor(self.method.step(self.objective).loss, device=self.args.device)
