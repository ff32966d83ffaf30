"""``ZOTrainer``: the Hugging Face ``Trainer`` with a method of this library in place of backpropagation.

    from zobench.trainer import ZOTrainer

    trainer = ZOTrainer(model=model, args=args, train_dataset=rows, method="mezo", config={"epsilon": 1e-3})
    trainer.train()

The Trainer provides data order, evaluation, logging, callbacks, checkpoints, resuming and learning-rate
schedules. The method provides the step: its losses are computed over all micro-batches of the step (gradient
accumulation), in eval mode, without gradients. The method's state is saved and loaded as the Trainer's
optimizer state, so that a resumed training produces bit-identical results. Needs the extra ``trainer``
(accelerate, which the Trainer requires).
"""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import Trainer

from zobench.parameters import configure, fields
from zobench.plugins import lookup
from zobench.zo import Engine, Objective, ParameterSpace, build_space
from zobench.zo.base import Optimizer, StepRecord

PUTS_OFF = ("factored-lazy", "offload")
"""Modes in which the weights lack the last steps until they are asked for through the space."""


class ZOTrainer(Trainer):
    """A ``Trainer`` whose step is a method of ``zobench list methods`` or a class derived from ``Optimizer``.

    Args:
        method: catalogue name, name of a plugin, or class.
        config: parameters of the method, as a mapping or an instance of its ``Config``. The learning rate is
            ``args.learning_rate`` unless given here; schedules of ``args`` multiply it. Weight decay is given
            here: ``args.weight_decay`` is refused, because methods apply it in different ways.
        space: parameter space to tune, a key of ``zobench.zo.SPACES``; ``space_params`` are its parameters.
            ``None``: the parameters that require a gradient, for a model wrapped by peft its adapter.
        engine: how losses at perturbed weights are computed (``zobench.zo.Engine``).
        max_forwards: budget in forward passes of the step's batch; training stops before a step that might
            exceed it.
        kwargs: arguments of ``Trainer``; ``model`` must be an instance.

    Attributes:
        method: the method; available after training has started.
        objective: its objective; ``objective.meter.forwards`` counts forward passes.
        records: one ``StepRecord`` for each step taken in this process.

    Raises:
        ValueError: the method or a parameter is unknown, the method needs data besides the step's batch, the
            engine's mode puts steps off, or ``args`` ask for weight decay, fp16 scaling or several devices.
    """

    def __init__(
        self,
        *,
        method: str | type[Optimizer] = "mezo",
        config: Any = None,
        space: str | None = None,
        space_params: Mapping[str, Any] | None = None,
        engine: Engine | None = None,
        max_forwards: int | None = None,
        **kwargs: Any,
    ) -> None:
        kind: type[Optimizer] = lookup("methods", method) if isinstance(method, str) else method
        if kind.card.needs:
            raise ValueError(
                f"{kind.card.name} needs {', '.join(kind.card.needs)} besides the step's batch, which a "
                "Trainer does not give; use it in a suite"
            )
        if engine is not None and engine.mode in PUTS_OFF:
            raise ValueError(
                f"mode {engine.mode!r} puts steps off, and the Trainer saves the weights without them; "
                "use mode 'snapshot' or 'streamed'"
            )
        super().__init__(**kwargs)
        _refuse_settings(self)
        assert self.model is not None, "the Trainer refuses to be made without a model"
        given = _config(kind, config, self.args.learning_rate)
        tuned = _space(self.model, space, dict(space_params or {}))
        self.method: Optimizer = kind(given, tuned, seed=self.args.seed, engine=engine)
        self.objective: Objective = Objective(self.model, self._loss)
        self.max_forwards = max_forwards
        self.records: list[StepRecord] = []
        self._waiting: list[Any] = []
        self._prepared = False

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """The method's state as the Trainer's optimizer; ``training_step`` takes the steps."""
        if self.optimizer is None:
            self.optimizer = MethodState(self)
        return self.optimizer

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Store the micro-batch; after the last one of the step, take the method's step. Returns the step's
        loss."""
        self._waiting.append(self._prepare_inputs(inputs))
        if len(self._waiting) < self.current_gradient_accumulation_steps:
            return torch.zeros((), device=self.args.device)
        batch, self._waiting = self._waiting, []
        model.eval()
        items = num_items_in_batch if len(batch) > 1 else None
        sequences, tokens = sum(map(_rows, batch)), sum(map(_tokens, batch))
        self.objective.set_batch((batch, items), sequences=sequences, tokens=tokens)
        self._follow_schedule()
        if not self._prepared:
            self.method.prepare(self.objective)
            self._prepared = True
        record = self.method.step(self.objective)
        self.records.append(record)
        self._stop_at_budget()
        return torch.tensor(record.loss, device=self.args.device)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log as the Trainer does, and add the number of forward passes spent so far."""
        super().log({**logs, "forwards": float(self.objective.meter.forwards)}, *args, **kwargs)

    def _loss(self, module: nn.Module, batch: Any) -> torch.Tensor:
        """Mean loss over the step's examples. If the Trainer counts items, each micro-batch yields its part
        of the mean and the parts are summed; else the mean over the micro-batches is taken."""
        parts, items = batch
        with self.compute_loss_context_manager():
            # A copy for each call: compute_loss may remove the labels, which later calls need.
            losses: list[Any] = [
                self.compute_loss(module, dict(part), num_items_in_batch=items) for part in parts
            ]
        total = torch.stack([loss.float() for loss in losses]).sum()
        scaled = items is not None and (self.model_accepts_loss_kwargs or self.compute_loss_func is not None)
        if len(losses) == 1:
            only: torch.Tensor = losses[0]
            return only
        return total if scaled else total / len(losses)

    def _follow_schedule(self) -> None:
        """Set the method's learning rate to the scheduler's current value."""
        if "lr" in fields(type(self.method.config)):
            rate = self._get_learning_rate()
            if rate != self.method.config.lr:
                self.method.config = dataclasses.replace(self.method.config, lr=rate)

    def _stop_at_budget(self) -> None:
        most = type(self.method).cost(self.method.config).max_forwards_in_step
        spent = self.objective.meter.forwards
        if self.max_forwards is not None and spent + most > self.max_forwards:
            self.control.should_training_stop = True


class MethodState(torch.optim.Optimizer):
    """Presents the method to the Trainer as an optimizer: parameter groups for the schedule, and its state
    for checkpoints. ``step`` does nothing, because a step needs the objective."""

    def __init__(self, trainer: ZOTrainer) -> None:
        self._trainer = trainer
        config = trainer.method.config
        rate = config.lr if "lr" in fields(type(config)) else trainer.args.learning_rate
        super().__init__(list(trainer.method.space.tensors.values()), {"lr": rate})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Does nothing; :meth:`ZOTrainer.training_step` takes the step."""

    def state_dict(self) -> dict[str, Any]:
        groups = [{k: v for k, v in g.items() if k != "params"} for g in self.param_groups]
        meter = self._trainer.objective.meter
        return {
            "name": self._trainer.method.card.name,
            "method": self._trainer.method.state_dict(),
            "prepared": self._trainer._prepared,
            "spent": {"forwards": meter.forwards, "tokens": meter.tokens, "sequences": meter.sequences},
            "param_groups": groups,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if "method" not in state:
            raise ValueError(
                "this checkpoint holds the state of another optimizer: it was not written by ZOTrainer"
            )
        now = self._trainer.method.card.name
        if (before := state.get("name", now)) != now:
            raise ValueError(
                f"this checkpoint holds the state of {before!r}, not of {now!r}; resume with {before!r}"
            )
        self._trainer.method.load_state_dict(state["method"])
        self._trainer._prepared = bool(state["prepared"])
        meter, spent = self._trainer.objective.meter, state["spent"]
        meter.forwards, meter.tokens = spent["forwards"], spent["tokens"]
        meter.sequences = spent["sequences"]
        for group, saved in zip(self.param_groups, state["param_groups"], strict=True):
            group.update(saved)


def _refuse_settings(trainer: Trainer) -> None:
    if trainer.args.fp16:
        raise ValueError("fp16: gradient scaling has no meaning without gradients; load the model in float16")
    if trainer.args.weight_decay:
        raise ValueError(
            "args.weight_decay is for torch's optimizers and would have no effect; give it to a method that "
            "has it: config={'weight_decay': ...}"
        )
    if trainer.args.world_size > 1 or trainer.args.n_gpu > 1 or trainer.is_deepspeed_enabled:
        raise ValueError("ZOTrainer runs on one device; CUDA_VISIBLE_DEVICES=0 chooses one")


def _config(kind: type[Optimizer], given: Any, rate: float) -> Any:
    if given is not None and not isinstance(given, Mapping):
        return given
    params = dict(given or {})
    if "lr" in fields(kind.Config):
        params.setdefault("lr", rate)
    return configure(kind.Config, params)


def _space(model: nn.Module, kind: str | None, params: dict[str, Any]) -> ParameterSpace:
    if kind is not None:
        return build_space(kind, params, model)
    named = dict(model.named_parameters())
    tuned = [name for name, parameter in named.items() if parameter.requires_grad]
    if len(tuned) == len(named):
        return build_space("full", params, model)
    return build_space("names", {"include": [glob.escape(name) for name in tuned]}, model)


def _rows(inputs: Mapping[str, Any]) -> int:
    return next((len(v) for v in inputs.values() if isinstance(v, torch.Tensor) and v.ndim), 1)


def _tokens(inputs: Mapping[str, Any]) -> int:
    mask = inputs.get("attention_mask")
    if isinstance(mask, torch.Tensor):
        return int(mask.sum())
    ids = inputs.get("input_ids")
    return int(ids.numel()) if isinstance(ids, torch.Tensor) else 0
