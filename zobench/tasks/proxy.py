"""Ranking small networks before they are trained: Kendall's tau of proxies with the trained accuracy.

The examples are designs of small transformers for images or texts (:mod:`zobench.proxies`). What the run's
method trains is a learned proxy, a model of architecture ``ranker`` such as ``builtin:nano-parzc``, on
``known`` networks whose accuracy is known:

    L = -mean over pairs of tanh((p_i - p_j) (y_i - y_j)) + penalty KL(q || N(0, 1))

(after ParZC, arXiv 2402.02105: predictions p, standardized accuracies y, and the divergence of the last,
Bayesian layer, whose noise is a function of the minibatch). The test examples are networks that it has not
seen. On the same networks the proxies without training are measured: number of weights, W-PCA (arXiv
2504.15983), W-PCA without the number of weights, and a random order.

The accuracy of a network is the mean over ``trainings`` trainings of ``steps`` steps of AdamW, the same ones
for every seed of a run; the seed draws the initial weights and the minibatch that proxies see, and the known
networks. A network is trained when its accuracy is first needed, and the accuracy is kept in the cache
(:mod:`zobench.proxies.kept`). This does not count as forward passes of the run, whose budget is that of the
learned proxy.
"""

from __future__ import annotations

import functools
import json
import statistics as means
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch

from zobench.data.example import Example, Splits
from zobench.data.synthetic.draw import stream
from zobench.metrics.ranking import kendall_tau
from zobench.models.base import LanguageModel
from zobench.models.packages import cache_folder
from zobench.parameters import Bounds, Count, Parameters, Rate
from zobench.proxies import kept, ranking
from zobench.proxies.nets import Design, designs
from zobench.tasks.base import Batch, MetricValue, Prediction, Task

KIND = "proxy"
LEARNED = "learned"


@dataclass(frozen=True)
class ProxyConfig(Parameters):
    """Parameters of a ranking of networks."""

    data: Literal["image", "text"] = "image"
    """What the networks are trained on: digits, or generated opinions."""
    nets: Annotated[int, Bounds(ge=5, le=384)] = 65
    """Number of networks."""
    known: Annotated[int, Bounds(ge=2)] = 12
    """Networks with known accuracy, from which the learned proxy learns; drawn by the seed."""
    validation: Count = 3
    """Networks for tuning trials; all others are ranked."""
    inits: Count = 5
    """Initializations over which statistics and W-PCA are averaged."""
    steps: Count = 100
    """Steps of each training of a network."""
    trainings: Count = 1
    """Trainings of each network, from different initial weights, whose accuracies are averaged."""
    penalty: Rate = 1e-3
    """Weight of the divergence; its value was not found."""

    def __post_init__(self) -> None:
        super().__post_init__()
        used = self.known + self.validation
        if used + 2 > self.nets:
            raise ValueError(
                f"nets: at least {used + 2}, for {self.known} known, {self.validation} validation and two "
                f"ranked networks, not {self.nets}"
            )


class ProxyRanking(Task):
    """See :class:`ProxyConfig`."""

    Config: ClassVar[type] = ProxyConfig
    kind: ClassVar[str] = KIND
    primary_metric: ClassVar[str] = "kendall_tau"
    measures: ClassVar[tuple[str, ...]] = (
        "kendall_tau",
        *(f"kendall_tau_{name.replace('-', '_')}" for name in ranking.FIXED),
    )
    chance = 0.0

    def __init__(self, config: ProxyConfig) -> None:
        self.config = config

    def refuse_model(self, lm: LanguageModel) -> None:
        if lm.architecture != "ranker":
            raise ValueError(
                f"{lm.identity.name} is {lm.architecture}; a task of kind {KIND} needs a learned proxy of "
                "networks, such as builtin:nano-parzc"
            )
        config: Any = lm.module.config
        if (config.blocks, config.columns) != (ranking.BLOCKS, ranking.COLUMNS):
            raise ValueError(
                f"{lm.identity.name} reads {config.blocks} x {config.columns} statistics; there are "
                f"{ranking.BLOCKS} x {ranking.COLUMNS}"
            )

    def splits(self, seed: int) -> Splits:
        """Known, validation and ranked networks drawn by ``seed``; the networks are the same for all
        seeds."""
        c = self.config
        rows = [self._example(net, design, seed) for net, design in enumerate(designs(c.nets))]
        stream(seed, "proxy split").shuffle(rows)
        return Splits(rows[: c.known], rows[c.known : c.known + c.validation], rows[c.known + c.validation :])

    def _example(self, net: int, design: Design, seed: int) -> Example:
        shown = f"{design.depth} x {design.width}, {design.ratio:g}, {design.heads}, {design.activation}"
        told = f"accuracy on {self.config.data}s after {self.config.steps} steps"
        meta = {"net": net, "seed": seed}
        return Example(f"{self.config.data}/net-{net:03d}", {"design": shown}, answer=told, meta=meta)

    def _known(self, seed: int) -> _Known:
        return _known(self, seed, str(cache_folder()))

    def statistics_of(self, example: Example) -> torch.Tensor:
        """Statistics of the blocks (:func:`zobench.proxies.ranking.statistics`)."""
        c, seed = self.config, _seed(example)
        return ranking.statistics(c.data, designs(c.nets)[_net(example)], seed, c.inits)

    def accuracies_of(self, examples: Sequence[Example]) -> list[float]:
        """Trained accuracies of these networks, which are trained if necessary."""
        c, every = self.config, designs(self.config.nets)
        wanted = [every[_net(e)] for e in examples]
        found = [kept.accuracies(c.data, wanted, seed, c.steps) for seed in range(1, c.trainings + 1)]
        return [sum(of_net) / len(of_net) for of_net in zip(*found, strict=True)]

    def batch(self, lm: LanguageModel, examples: Sequence[Example]) -> Batch:
        """Standardized statistics and accuracies, and the noise of the Bayesian layer. Cost: no forward pass
        of the run; the networks are trained if necessary."""
        known = self._known(_seed(examples[0]))
        rows = torch.stack([self.statistics_of(e) for e in examples])
        y = (torch.tensor(self.accuracies_of(examples), dtype=torch.float64) - known.accuracy) / known.width
        number = stream(0, "proxy noise", *(f"{e.id} {_seed(e)}" for e in examples)).getrandbits(62)
        config: Any = lm.module.config
        noise = torch.randn(config.width, generator=torch.Generator().manual_seed(number))
        like = next(lm.module.parameters())
        inputs = {
            "statistics": ((rows - known.mean) / known.spread).to(like),
            "accuracy": y.to(like),
            "noise": noise.to(like),
        }
        return Batch(inputs, sequences=len(examples), tokens=0)

    def loss(self, lm: LanguageModel, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """The loss of the module's text."""
        predicted, divergence = module(batch.inputs["statistics"], batch.inputs["noise"])
        order = ranking.rank_loss(predicted, batch.inputs["accuracy"])
        return (order + self.config.penalty * divergence).float()

    @torch.inference_mode()
    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """The scores of all proxies and the accuracy, in ``raw`` as JSON. A prediction is correct if the
        learned score and the accuracy are both above, or both below, their medians over the known
        networks."""
        if demonstrations:
            raise ValueError(f"{lm.identity.name}: a proxy of networks cannot use demonstrations")
        if not examples:
            return []
        seed = _seed(examples[0])
        middle = means.median(self._learned(lm, self.splits(seed).train)), self._known(seed).median
        found = []
        rows = zip(examples, self._learned(lm, examples), self.accuracies_of(examples), strict=True)
        for example, score, accuracy in rows:
            every = designs(self.config.nets)[_net(example)]
            values = ranking.fixed(self.config.data, every, _seed(example), self.config.inits)
            raw = json.dumps({LEARNED: score, **values, "accuracy": accuracy})
            agree = (score >= middle[0]) == (accuracy >= middle[1])
            found.append(Prediction(example.id, f"score {score:.4f}", agree, raw=raw))
        return found

    def _learned(self, lm: LanguageModel, examples: Sequence[Example]) -> list[float]:
        """Scores at the means of the Bayesian layer, each network by itself, so that a score does not depend
        on the others."""
        out = []
        for example in examples:
            inputs = self.batch(lm, [example]).inputs
            predicted, _ = lm.module(inputs["statistics"], torch.zeros_like(inputs["noise"]))
            out.append(float(predicted[0]))
        return out

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """Kendall's tau-b of each proxy with the accuracy: ``kendall_tau`` of the learned one."""
        rows = [json.loads(p.raw) for p in predictions]
        accuracies = [row["accuracy"] for row in rows]
        return {
            name: MetricValue(kendall_tau([row[proxy] for row in rows], accuracies), len(rows))
            for name, proxy in zip(self.measures, (LEARNED, *ranking.FIXED), strict=True)
        }


@dataclass(frozen=True, slots=True)
class _Known:
    """Of a seed's known networks: mean and standard deviation of their blocks' statistics; mean, standard
    deviation and median of their accuracies."""

    mean: torch.Tensor
    spread: torch.Tensor
    accuracy: float
    width: float
    median: float


@functools.lru_cache(maxsize=64)
def _known(task: ProxyRanking, seed: int, cache: str) -> _Known:
    """``cache``, the folder of accuracies, is part of the key alone."""
    rows = task.splits(seed).train
    flat = torch.stack([task.statistics_of(e) for e in rows]).flatten(0, 1)
    y = task.accuracies_of(rows)
    width = max(means.stdev(y), 1e-9)
    return _Known(flat.mean(0), flat.std(0).clamp_min(1e-9), means.fmean(y), width, means.median(y))


def _seed(example: Example) -> int:
    return int(str(example.meta["seed"]))


def _net(example: Example) -> int:
    return int(str(example.meta["net"]))
