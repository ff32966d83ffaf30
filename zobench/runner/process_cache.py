"""Cache of one process for use by many runs: loaded models, drawn splits, tokenized minibatches.

Models are loaded and data is tokenized once per process. After every run the model is restored bit by bit. A
model that cannot be restored (for instance with an adapter left in place) is loaded again.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from zobench.data.example import Example, Splits, single_class
from zobench.models.digest import weights_digest
from zobench.rewards.base import Reward
from zobench.rewards.making import made as reward_made
from zobench.rewards.making import refuse_file
from zobench.runner.bottleneck import bottleneck_batch
from zobench.runner.data_order import minibatch_rows, shuffle_labels
from zobench.runner.factory import Factory, component_key, content_key
from zobench.runner.micro_batches import groups_of, joined
from zobench.runner.results import TaskData
from zobench.runner.rewarded import reward_batch
from zobench.spec import ModelRef, RunSpec, bottleneck_of, reward_of

if TYPE_CHECKING:
    from zobench.models.base import LanguageModel
    from zobench.runner.unlearning_cache import UnlearningCache
    from zobench.tasks.base import Batch, Task

_MODELS_KEPT = 2
_DATA_KEPT = 24
_FACTS_KEPT = 2
_REWARDS_KEPT = 2
_BATCHES_KEPT = 20_000


@dataclass(slots=True)
class PristineModel:
    """A loaded model and, once a run is to change it, a copy of its tensors as loaded."""

    lm: LanguageModel
    copy: dict[str, torch.Tensor] | None = None

    def remember(self) -> None:
        """Copy the tensors, before the first run that changes them."""
        if self.copy is None:
            self.copy = {n: t.detach().clone() for n, t in self.lm.module.state_dict().items()}

    def put_back(self) -> bool:
        """Restore every tensor; False if the module no longer has the tensors that were loaded, or, without a
        copy, other values."""
        current = self.lm.module.state_dict()
        if self.copy is None:
            return weights_digest(self.lm.module) == self.lm.identity.digest
        if current.keys() != self.copy.keys():
            return False
        for name, tensor in current.items():
            if tensor.shape != self.copy[name].shape or tensor.dtype != self.copy[name].dtype:
                return False
            tensor.copy_(self.copy[name])
        self.lm.module.zero_grad(set_to_none=True)
        self.lm.module.eval()
        return True


@dataclass(frozen=True, slots=True)
class About:
    """Properties of a run's task, or of the facts of an unlearning run, for its record."""

    kind: str
    primary_metric: str
    chance: float | None
    digest: str


class ProcessCache:
    """The caches of one process.

    Args:
        own_code: whether rewards in Python files of the user may be executed; only a command that runs the
            user's own suite may permit it.
    """

    def __init__(self, parts: Factory, *, own_code: bool = False) -> None:
        self.parts = parts
        self._own_code = own_code
        self._rewards: OrderedDict[str, Reward] = OrderedDict()
        self._models: OrderedDict[ModelRef, PristineModel] = OrderedDict()
        self._data: OrderedDict[tuple[str, int], TaskData] = OrderedDict()
        self._facts: OrderedDict[tuple[object, ...], UnlearningCache] = OrderedDict()

    def model(self, ref: ModelRef) -> LanguageModel:
        """The model of ``ref`` as loaded; the same object at every call until it is evicted."""
        if ref not in self._models:
            while len(self._models) >= _MODELS_KEPT:
                self._models.popitem(last=False)
            self._models[ref] = PristineModel(self.parts.load_model(ref))
        self._models.move_to_end(ref)
        return self._models[ref].lm

    def remember(self, ref: ModelRef) -> None:
        """Copy the tensors of a loaded model, so that ``put_back`` restores them. Without that call they must
        not be changed (``perturbation: offload`` changes copies in a file)."""
        self._models[ref].remember()

    def put_back(self, ref: ModelRef) -> None:
        """Restore the model after a run; if that is impossible, evict it so that the next run loads it."""
        pristine = self._models.get(ref)
        if pristine is not None and not pristine.put_back():
            del self._models[ref]

    def about(self, spec: RunSpec) -> About:
        """Kind, primary metric, chance and data digest of a run."""
        if spec.unlearning is not None:
            facts = self.facts(spec)
            return About("unlearning", facts.forget_metric, facts.splits.chance, facts.digest)
        data = self.data(spec)
        return About(data.task.kind, data.task.primary_metric, data.task.chance, data.digest)

    def facts(self, spec: RunSpec) -> UnlearningCache:
        """The data shared by unlearning runs on the same models and data. The first call must happen before
        the model is trained, because the cache keeps a copy of the model as reference."""
        from zobench.runner.unlearning_cache import facts_key, open_facts

        key = facts_key(spec)
        if key not in self._facts:
            while len(self._facts) >= _FACTS_KEPT:
                self._facts.popitem(last=False)
            self._facts[key] = open_facts(spec, self.model(spec.model), self.parts)
        self._facts.move_to_end(key)
        return self._facts[key]

    def data(self, spec: RunSpec) -> TaskData:
        """The run's task and examples; drawn once per (task with parameters, seed)."""
        key = (component_key(spec.task), spec.seed)
        if key not in self._data:
            while len(self._data) >= _DATA_KEPT:
                self._data.popitem(last=False)
            task = self.parts.task(spec.task)
            splits = task.splits(spec.seed)
            _refuse_one_class(task, splits, spec.task.name)
            digest = splits.digest()
            self._data[key] = TaskData(task, content_key(spec.task, digest), splits, digest)
        self._data.move_to_end(key)
        return self._data[key]

    def minibatch(
        self, spec: RunSpec, index: int, *, stream: str = "", among: Sequence[int] | None = None
    ) -> Batch:
        """Minibatch ``index`` of a run, tokenized; the same object for all methods.

        ``stream`` names an order other than that of training. ``among``: indices of the examples that it
        draws from, which must depend only on the stream's name; the minibatch is smaller if they are fewer.
        """
        data = self.data(spec)
        ref = reward_of(spec)
        scored = spec.train_on if ref is None else ref.model_dump_json()
        # Task and seed are already fixed by `data`, and `among` by `stream`; the method must not matter.
        micro, parts = spec.budget.micro_batch, 1 if spec.split is None else spec.split.parts
        key = (spec.model, spec.labels, spec.budget.batch_size, micro, parts, stream, index, scored)
        if key not in data.batches:
            while len(data.batches) >= _BATCHES_KEPT:
                data.batches.popitem(last=False)
            rows = self._training_rows(data, spec)
            numbers = range(len(rows)) if among is None else among
            size = spec.budget.batch_size if among is None else min(spec.budget.batch_size, len(among))
            order = f"{data.key} {stream}" if stream else data.key
            chosen = minibatch_rows(spec.seed, order, len(numbers), size, index)
            drawn = [rows[numbers[i]] for i in chosen]
            if ref is not None:
                place = (spec.seed, stream, index)
                data.batches[key] = reward_batch(self.model(spec.model), data.task, ref, drawn, place)
                return data.batches[key]
            if bottleneck_of(spec) is not None:
                place = (spec.seed, stream, index)
                data.batches[key] = bottleneck_batch(self.model(spec.model), data.task, drawn, place)
                return data.batches[key]
            make = data.task.batch if spec.train_on == "loss" else data.task.scored_batch
            made = functools.partial(make, self.model(spec.model))
            whole = micro is None and parts == 1
            data.batches[key] = made(drawn) if whole else joined(made, groups_of(drawn, micro, parts))
        data.batches.move_to_end(key)
        return data.batches[key]

    def reward(self, spec: RunSpec) -> Reward:
        """The reward of the run, which must have one; a judge's model stays loaded."""
        ref = reward_of(spec)
        assert ref is not None, "this run trains on no reward"
        key = ref.model_dump_json()
        if key not in self._rewards:
            while len(self._rewards) >= _REWARDS_KEPT:
                self._rewards.popitem(last=False)
            self._rewards[key] = reward_made(ref, own_code=self._own_code)
        self._rewards.move_to_end(key)
        return self._rewards[key]

    def row_tokens(self, spec: RunSpec) -> tuple[float, ...]:
        """Number of tokens of every training example as in a training minibatch; the mean over its
        candidates."""
        data, lm = self.data(spec), self.model(spec.model)
        if spec.model not in data.row_tokens:
            alone = (data.task.batch(lm, [row]) for row in data.splits.train)
            data.row_tokens[spec.model] = tuple(b.tokens / b.sequences for b in alone)
        return data.row_tokens[spec.model]

    @staticmethod
    def _training_rows(data: TaskData, spec: RunSpec) -> list[Example]:
        if spec.labels == "true":
            return list(data.splits.train)
        if data.shuffled is None:
            data.shuffled = shuffle_labels(data.splits.train, spec.seed)
        return data.shuffled


def refuse_untrusted(spec: RunSpec, *, own_code: bool) -> None:
    """``ValueError`` if the run's reward is a Python file, unless ``own_code`` permits to execute it."""
    ref = reward_of(spec)
    if ref is not None and not own_code:
        refuse_file(ref)


def _refuse_one_class(task: Task, splits: Splits, name: str) -> None:
    """``ValueError`` if the examples have a single class, because every accuracy would be 0 or 100."""
    only = single_class(splits.test)
    if only is not None:
        raise ValueError(
            f"task {name!r}: all {len(splits.test)} test rows have the class {task.class_name(only)!r}: "
            "accuracy would say nothing"
        )
