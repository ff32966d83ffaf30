"""Denoised smoothing of a classification task on the embeddings of its texts, as a task (arXiv 2203.14195).

The embedding x of a text is the model's last hidden state at the answer position, shifted by the mean over
the defence's training examples and divided by s, the root of the mean variance of its coordinates there. The
black box f maps x back to the scores of the label words. A denoiser and an autoencoder precede f
(:mod:`zobench.defences.denoised_smoothing`). They are trained to reconstruct embeddings, then the denoiser is
trained by queries of f alone (``rge`` or ``cge`` at the encoder's output). The answer to an example is the
majority vote over noisy copies of its embedding, or an abstention (``abstain``, counted as wrong). It is
certified within a radius:

    no change of the embedding shorter than R s changes the answer, with confidence 1 - alpha.

Metrics: those of the inner task (with log-probabilities from the shares of the votes, one added to each
class), ``certified_accuracy_at_R`` for every radius, and ``abstained``. The certificate is about the
embedding, not the text: how far an edit moves the embedding depends on the model.

The defence depends on the weights: it is trained again whenever the embeddings of its examples change.
Training and loss of the model are the inner task's. Cost: one prediction of the inner task per example,
``steps * batch * (queries + 1)`` inputs of f (``latent`` instead of ``queries`` under ``cge``) per state of
the weights, and ``n0 + n`` per example; f is one small matrix product.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch

from zobench.attacks.streams import stream
from zobench.data.example import Example
from zobench.defences.certificates import Certificate
from zobench.defences.denoised_smoothing import ESTIMATORS, BlackBox, DenoisedSmoothing, DenoiserConfig, votes
from zobench.defences.votes import certificate_of, certified_metrics, certified_prediction
from zobench.models.base import LanguageModel
from zobench.models.batching import chunks_by_length
from zobench.models.scoring import causal_states
from zobench.models.shared_prefix import prediction_tokens
from zobench.parameters import Bounds, Count, OneOf, Positive
from zobench.tasks import encoding
from zobench.tasks.base import MetricValue, Prediction, Task
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.wrapped import WrappedTask, made

_PROBES = 8


@dataclass(frozen=True, kw_only=True)
class DenoisedTaskConfig(DenoiserConfig):
    of: str = "nano-sentiment"
    """The defended task; it must use label words, and a causal model."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of that task."""
    sigma: Positive = 0.5
    """Standard deviation of the noise, in units of s."""
    queries: Count = 8
    hidden: int = 64
    steps: int = 200
    batch: Count = 32
    lr: float = 3e-3
    by_queries: bool = True
    """Whether the denoiser is also trained by queries of the black box, after training by reconstruction."""
    row_draws: Count = 4
    """The defence is trained on the inner task's training examples of this many data seeds (0, 1 …)."""
    n0: Count = 20
    """Noisy copies for choosing the class."""
    n: Count = 200
    """Other noisy copies for bounding its probability."""
    alpha: Annotated[float, Bounds(gt=0, lt=1)] = 0.01
    """One minus the confidence of a certificate."""
    radii: tuple[float, ...] = (0.25, 0.5, 1.0)
    """Radii, in units of s, at which certified accuracy is reported."""

    def __post_init__(self) -> None:
        super().__post_init__()
        made(self.of, self.params)


@dataclass(frozen=True)
class Defence:
    """A defence trained for one state of the weights.

    Attributes:
        probe: embeddings of a few examples, to detect that the weights changed.
        shift, scale: mean and s of the embeddings.
        smoothed: the trained networks.
    """

    probe: torch.Tensor
    shift: torch.Tensor
    scale: float
    smoothed: DenoisedSmoothing

    def embedded(self, states: torch.Tensor) -> torch.Tensor:
        """Hidden states in the units of noise and radii."""
        return (states - self.shift) / self.scale


class DenoisedTask(WrappedTask):
    """The inner task, answered by majority vote over noisy embeddings."""

    Config: ClassVar[type] = DenoisedTaskConfig
    config: DenoisedTaskConfig

    inner: PromptedClassification

    def __init__(self, config: DenoisedTaskConfig) -> None:
        super().__init__(config)
        inner: Task = self.inner
        if not isinstance(inner, PromptedClassification) or inner.scoring != "label-words":
            raise ValueError(f"denoised-smoothing: task {config.of!r} is not scored by label words")
        self._defence: Defence | None = None

    def predict(
        self, lm: LanguageModel, examples: Sequence[Example], demonstrations: Sequence[Example] = ()
    ) -> list[Prediction]:
        """The certified class of each example; deterministic in its text and the seed."""
        with torch.inference_mode(False):
            defence = self.defence(lm)
            x = defence.embedded(states_of(self.inner, lm, examples, demonstrations))
            return [self._answer(defence, e, row) for e, row in zip(examples, x, strict=True)]

    @classmethod
    def measures_with(cls, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Empty (not declared): the names depend on the certificate's parameters."""
        return ()

    def metrics(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> dict[str, MetricValue]:
        """The metrics of the module docstring."""
        found = [self.certificate_of(p) for p in predictions]
        inner = self.inner.metrics(examples, predictions)
        return {**inner, **certified_metrics(examples, found, self.config.radii)}

    def certificate_of(self, prediction: Prediction) -> Certificate:
        """The certificate of a prediction, recomputed from the shares of its votes."""
        c = self.config
        return certificate_of(prediction, n=c.n, sigma=c.sigma, alpha=c.alpha)

    def defence(self, lm: LanguageModel) -> Defence:
        """The defence for the model's present weights; trained if it does not exist yet."""
        rows = self._rows()
        probe = states_of(self.inner, lm, rows[:_PROBES])
        if self._defence is None or not torch.equal(self._defence.probe, probe):
            self._defence = self._trained(lm, rows, probe)
        return self._defence

    def _rows(self) -> list[Example]:
        seeds = range(self.config.row_draws)
        return list({e.id: e for s in seeds for e in self.inner.splits(s).train}.values())

    def _trained(self, lm: LanguageModel, rows: Sequence[Example], probe: torch.Tensor) -> Defence:
        states = states_of(self.inner, lm, rows)
        shift = states.mean(0)
        scale = float((states - shift).square().mean().sqrt())
        head = self._head(lm)
        smoothed = DenoisedSmoothing(
            lambda x: head(x * scale + shift), states.shape[1], self._denoiser_config()
        )
        found = Defence(probe, shift, scale, smoothed)
        labels = torch.tensor([0 if e.label is None else e.label for e in rows])
        with torch.enable_grad():
            smoothed.rebuild(found.embedded(states))
            if self.config.by_queries:
                smoothed.tune(found.embedded(states), labels)
        return found

    def _denoiser_config(self) -> DenoiserConfig:
        names = [f.name for f in dataclasses.fields(DenoiserConfig)]
        return DenoiserConfig(**{name: getattr(self.config, name) for name in names})

    def _head(self, lm: LanguageModel) -> BlackBox:
        """Function from hidden states to the scores of the label words: these rows of the model's head."""
        own: Any = lm.module.get_output_embeddings()  # type: ignore[operator]
        labels = torch.tensor(encoding.label_word_ids(lm, self.inner.prompt), device=own.weight.device)
        weight = own.weight.detach()[labels].float().cpu()
        bias = None if own.bias is None else own.bias.detach()[labels].float().cpu()
        return lambda states: torch.nn.functional.linear(states, weight, bias)

    def _answer(self, defence: Defence, example: Example, row: torch.Tensor) -> Prediction:
        c, words = self.config, self.inner.options(example)
        seed = stream(c.seed, "denoised-smoothing", *example.text.values()).getrandbits(62)
        draws = torch.Generator().manual_seed(seed)
        counts = votes(defence.smoothed, row, sigma=c.sigma, classes=len(words), n0=c.n0, n=c.n, draws=draws)
        return certified_prediction(example, counts, words, sigma=c.sigma, alpha=c.alpha)


@dataclass(frozen=True, kw_only=True)
class RandomlyDenoisedConfig(DenoisedTaskConfig):
    estimator: Annotated[str, OneOf(ESTIMATORS)] = "rge"


class RandomlyDenoisedTask(DenoisedTask):
    """The same task with default estimator ``rge``, under its own name so that a suite may contain both."""

    Config: ClassVar[type] = RandomlyDenoisedConfig


def states_of(
    task: PromptedClassification,
    lm: LanguageModel,
    examples: Sequence[Example],
    demonstrations: Sequence[Example] = (),
) -> torch.Tensor:
    """Last hidden states at the answer position, float32 on the CPU, shape (examples, width)."""
    if lm.architecture != "causal":
        raise ValueError(f"{lm.identity.name}: denoised-smoothing needs a causal model")
    shots = [(e, task.options(e)[e.label]) for e in demonstrations if e.label is not None]
    rows = encoding.causal_rows(lm, [task.written(lm.chat, e, (), shots).context for e in examples])
    found: list[torch.Tensor] = [torch.empty(0)] * len(rows)
    with torch.no_grad():
        for chunk in chunks_by_length([len(r.ids) for r in rows], max_tokens=prediction_tokens(lm.device)):
            padded = encoding.padded(lm, [rows[i] for i in chunk])
            for i, state in zip(chunk, causal_states(lm.module, padded), strict=True):
                found[i] = state
    return torch.stack(found)
