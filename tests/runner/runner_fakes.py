"""A model of 170 weights, a task of counted words, an attack that swaps words: a run in milliseconds."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from zobench.attacks.base import Attack, AttackContext, AttackRecord, Victim
from zobench.data.example import Example, Splits
from zobench.models.base import ModelIdentity
from zobench.models.digest import parameter_count, weights_digest
from zobench.models.probe_record import Finding, ProbeRecord
from zobench.models.way import Way
from zobench.parameters import configure
from zobench.runner.factory import CatalogueFactory
from zobench.spec import Component, ModelRef
from zobench.tasks.base import Batch, MetricValue, Prediction, Task
from zobench.zo.base import Cost, MethodCard, Optimizer, StepRecord

WORDS = 40
USUAL = Way()
PROBED = ProbeRecord(USUAL, 1.0, 1e-4, (Finding("padded batch", 1e-6, True),))


class Bag(nn.Module):
    """Mean of word vectors, then a linear layer."""

    def __init__(self, classes: int = 2, width: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.embedding = nn.Parameter(torch.randn(WORDS, width, generator=generator) * 0.5)
        self.weight = nn.Parameter(torch.randn(classes, width, generator=generator) * 0.3)
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.embedding[ids].mean(1) @ self.weight.T + self.bias


@dataclass
class TinyModel:
    module: nn.Module
    identity: ModelIdentity
    tokenizer: Any = None
    architecture: str = "encoder"
    max_length: int = 64
    way: Way = USUAL
    probed: ProbeRecord | None = PROBED
    chat: None = None

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        raise ValueError("the tiny model generates nothing")

    def input_embeddings(self) -> torch.Tensor:
        return self.module.embedding


@dataclass(frozen=True)
class CountConfig:
    """``slow``: seconds a training forward takes; ``marker``: a file whose absence kills the process once;
    ``only``: a split of one class; ``prints``: each loss prints lines."""

    train: int = 48
    test: int = 40
    slow: float = 0.0
    marker: str = ""
    broken: bool = False
    loss_factor: float = 1.0
    only: str = ""
    prints: bool = False


class CountTask(Task):
    """Are there more low words (below half) than high ones?"""

    Config = CountConfig
    kind = "classification"
    chance = 0.5
    attackable = ("text",)

    def __init__(self, config: CountConfig) -> None:
        self.config = config
        self.batched = 0

    def splits(self, seed: int) -> Splits:
        def rows(name: str, n: int) -> list[Example]:
            rng = np.random.Generator(np.random.Philox(key=[seed, len(name)]))
            drawn = rng.integers(0, WORDS, (n, 5)).tolist()
            return [
                Example(
                    f"{name}-{i}",
                    {"text": " ".join(map(str, ids))},
                    1 if name == self.config.only else sum(w < WORDS // 2 for w in ids) // 3,
                )
                for i, ids in enumerate(drawn)
            ]

        if self.config.broken:
            raise ValueError("this task has no data")
        test = rows("test", self.config.test)
        return Splits(rows("train", self.config.train), rows("validation", 20), test, rows("demo", 4))

    def batch(self, lm: Any, examples: Sequence[Example]) -> Batch:
        self.batched += 1
        ids = torch.tensor([[int(w) for w in e.text["text"].split()] for e in examples])
        labels = torch.tensor([e.label for e in examples])
        return Batch({"ids": ids, "labels": labels}, len(examples), ids.numel())

    def loss(self, lm: Any, module: nn.Module, batch: Batch) -> torch.Tensor:
        self._trouble()
        logits = module(batch.inputs["ids"])
        return nn.functional.cross_entropy(logits, batch.inputs["labels"]) * self.config.loss_factor

    def _trouble(self) -> None:
        if self.config.slow:
            time.sleep(self.config.slow)
        if self.config.prints:
            print("on standard output")
            print("on standard error", file=sys.stderr)
            os.system("echo by a child >&2")
        marker = self.config.marker
        if marker.startswith("always"):
            os.kill(os.getpid(), signal.SIGKILL)
        if marker and not Path(marker).exists():
            Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def predict(
        self, lm: Any, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        ids = torch.tensor([[int(w) % WORDS for w in e.text["text"].split()] for e in examples])
        with torch.no_grad():
            logs = lm.module(ids).log_softmax(-1)
        answers = logs.argmax(-1).tolist()
        return [
            Prediction(e.id, str(a), a == e.label, a, tuple(p))
            for e, a, p in zip(examples, answers, logs.tolist(), strict=True)
        ]

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        n = len(examples)
        nll = -sum(p.log_probs[e.label] for e, p in zip(examples, predictions, strict=True)) / n
        return {
            "accuracy": MetricValue(sum(p.correct for p in predictions) / n, n),
            "nll": MetricValue(nll, n),
        }


@dataclass(frozen=True)
class SwapConfig:
    """``breaks``: a file that counts the runs of the attack, and how often it raises before it works; with
    ``kills`` it ends the process instead; ``spoils``: it leaves a weight changed."""

    budget: int = 6
    idea: bool = True
    breaks: str = ""
    times: int = 0
    kills: bool = False
    spoils: bool = False


class Swap(Attack):
    """Replaces words by one of the other half; its null replaces them by one of the same half."""

    Config = SwapConfig
    name = "swap"

    def __init__(self, config: SwapConfig) -> None:
        self.config = config

    def run(self, victim: Victim, examples: Sequence[Example], context: AttackContext) -> list[AttackRecord]:
        if self.config.breaks and self.config.idea:
            self._trouble(context)
        return [self._one(victim, e) for e in examples]

    def _trouble(self, context: AttackContext) -> None:
        counter = Path(self.config.breaks)
        before = len(counter.read_text()) if counter.exists() else 0
        counter.write_text("x" * (before + 1))
        if before < self.config.times:
            if self.config.kills:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.config.spoils:
                with torch.no_grad():
                    context.lm.module.bias += 1
            raise RuntimeError(f"attack broke the {before + 1}. time")

    def _one(self, victim: Victim, example: Example) -> AttackRecord:
        text = example.text["text"]
        clean = victim.query([example])[0]
        if not clean.correct:
            return AttackRecord(example.id, "skipped", "text", text, text, clean, clean, 1)
        words, final = text.split(), clean
        for i in range(self.config.budget - 1):
            shift = WORDS // 2 if self.config.idea else 0
            words[i % 5] = str((int(words[i % 5]) + shift) % WORDS)
            final = victim.query([example.with_text("text", " ".join(words))])[0]
            if not final.correct:
                break
        outcome = "failure" if final.correct else "success"
        return AttackRecord(example.id, outcome, "text", text, " ".join(words), clean, final, i + 2, i + 1)

    def null(self) -> Attack:
        return Swap(SwapConfig(self.config.budget, idea=False))


class Other(Swap):
    """The same under another name of the catalogue."""

    name = "other"


@dataclass(frozen=True)
class NineConfig:
    """``forwards`` a step, every ``rest``-th costs one only; ``fail_at``, ``memory_at``: step that raises."""

    lr: float = 0.5
    forwards: int = 9
    rest: int = 0
    fail_at: int = -1
    memory_at: int = -1
    greedy: bool = False


class Nine(Optimizer):
    """One-sided differences along 8 directions: 9 forwards a step, with momentum, so that state matters."""

    Config = NineConfig
    card = MethodCard("nine", "Nine", "test", "", "zeroth", "checkpoint")

    def __init__(self, config: NineConfig, space: Any, *, seed: int) -> None:
        super().__init__(config, space, seed=seed)
        self.t = 0
        self.momentum = {n: torch.zeros_like(space.entries(n)) for n in space}

    @classmethod
    def cost(cls, config: NineConfig) -> Cost:
        mean = config.forwards if not config.rest else config.forwards - 0.1
        return Cost(mean, config.forwards, 3, 4)

    def step(self, objective: Any) -> StepRecord:
        c, before = self.config, objective.meter.forwards
        if self.t == c.fail_at:
            raise RuntimeError("the method broke")
        if self.t == c.memory_at:
            raise torch.OutOfMemoryError("no room")
        queries = 1 if c.rest and self.t % c.rest == 0 else c.forwards + (c.greedy and self.t > 1)
        base = objective.loss()
        losses = [base]
        generator = torch.Generator().manual_seed(self.seed * 1000 + self.t)
        with torch.no_grad():
            for _ in range(queries - 1):
                theta = self.space.snapshot()
                u = {n: torch.randn(theta[n].shape, generator=generator) for n in self.space}
                self.space.restore({n: theta[n] + 1e-3 * u[n] for n in theta})
                losses.append(objective.loss())
                self.space.restore(theta)
                for n in theta:
                    self.momentum[n].mul_(0.9).add_(u[n], alpha=(losses[-1] - base) / 1e-3 / queries)
            for n in self.space:
                self.space.put_(n, self.space.entries(n) - c.lr * 0.1 * self.momentum[n])
        self.t += 1
        spent = objective.meter.forwards - before
        return StepRecord(self.t - 1, (), (), tuple(losses), base, c.lr, spent, 0, extras={"q": queries})

    def state_dict(self) -> dict[str, Any]:
        return {"t": self.t, "momentum": dict(self.momentum), "empty": [], "nothing": None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.t = state["t"]
        self.momentum = {n: t.clone() for n, t in state["momentum"].items()}


class FakeParts(CatalogueFactory):
    """The tiny things above; methods come from the catalogue unless they are here."""

    loads = 0

    def load_model(self, ref: ModelRef) -> TinyModel:
        if ref.name != "tiny":
            raise ValueError(f"no model {ref.name!r}")
        FakeParts.loads += 1
        module = Bag().eval()
        identity = ModelIdentity(
            "tiny", None, weights_digest(module), "float32", False, parameter_count(module)
        )
        return TinyModel(module, identity)

    def task(self, component: Component) -> Task:
        return CountTask(configure(CountConfig, component.params))

    def attack(self, component: Component) -> Attack:
        found = Other if component.name == "other" else Swap
        return found(configure(SwapConfig, component.params))

    def method(self, name: str) -> Any:
        return Nine if name == "nine" else super().method(name)


PARTS = FakeParts()


def counted_collectives(monkeypatch: Any) -> list[int]:
    """Bytes that this rank gives to each collective call of torch.distributed from now on."""
    from torch import distributed

    sent: list[int] = []
    honest = distributed.all_gather

    def all_gather(tensors, tensor, **options):
        sent.append(tensor.nbytes)
        return honest(tensors, tensor, **options)

    monkeypatch.setattr(distributed, "all_gather", all_gather)
    return sent
