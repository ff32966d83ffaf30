"""Training on a reward: the minibatch's answers are generated, scored and averaged.

    L(theta; B) = 1 - (1 / (|B| S)) sum_j sum_s r(answer_js)

for examples j and S answers to each; scores that could not be computed count 0. Sampled answers use common
random numbers: each answer's seed is a function of the run's seed, the minibatch, the example and s, so that
all queries of a step draw from the same numbers (:mod:`zobench.models.sampled`). One evaluation counts as one
forward pass, like that of a loss; generated tokens are counted beside.

For first-order methods the gradient is that of the expected reward by the score function, with the scores
normalized in each group of S answers to one example, as in GRPO (arXiv 2402.03300) with one update per sample
(its ratio is then 1 and its clipping never acts) and without a KL term:

    grad L = -(1 / (|B| S)) sum_js A_js (1 / T_js) sum_t grad log p(a_t | prompt, a_<t),
    A_js = (r_js - mean_s r_js) / (std_s r_js + 1e-6)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from zobench.data.example import Example
from zobench.data.synthetic.draw import digest
from zobench.models.encoding import encode_prompts
from zobench.models.generation import (
    Choose,
    Continuation,
    continuations,
    continuations_under_branches,
    most_probable,
)
from zobench.models.sampled import Draws
from zobench.models.scoring import option_log_likelihoods
from zobench.rewards.base import Answered, Reward, Score
from zobench.spec import reward_of
from zobench.tasks import encoding
from zobench.tasks.base import Batch, Prediction, Questions, Task
from zobench.trained_on import RewardRef
from zobench.zo.objective import Meter

if TYPE_CHECKING:
    from zobench.models.base import LanguageModel
    from zobench.spec import RunSpec

STABILIZER = 1e-6
"""Added to the standard deviation of a group's scores."""


def reward_batch(
    lm: LanguageModel, task: Task, ref: RewardRef, examples: Sequence[Example], place: tuple[int, str, int]
) -> Batch:
    """A minibatch of questions; ``tokens`` are those of the prompts, once for each answer.

    Args:
        place: seed of the run, name of the stream of minibatches, index of the minibatch.
    """
    asked = [example for example in examples for _ in range(ref.samples)]
    prompts = task.questions(lm, asked).prompts
    seeds = [seed_of(*place, number, s) for number in range(len(examples)) for s in range(ref.samples)]
    tokens = sum(map(len, encode_prompts(lm.tokenizer, prompts, special=lm.chat is None)))
    return Batch({"examples": tuple(asked), "seeds": tuple(seeds)}, sequences=len(asked), tokens=tokens)


def seed_of(*parts: object) -> int:
    """The seed of an answer's random numbers."""
    return int(digest("answer", *parts)[:15], 16)


@dataclass(frozen=True, slots=True)
class Scored:
    """The answers of a minibatch and their scores."""

    answers: list[Continuation]
    scores: list[Score]

    @property
    def mean(self) -> float:
        return sum(score.value for score in self.scores) / len(self.scores)


class RewardLoss:
    """``loss(module, batch)`` for minibatches of :func:`reward_batch`.

    Args:
        meter: counts generated tokens, tokens read by a judge, and failed scores.
    """

    def __init__(self, ref: RewardRef, lm: LanguageModel, task: Task, reward: Reward, meter: Meter) -> None:
        self._ref, self._lm, self._task, self._reward, self._meter = ref, lm, task, reward, meter

    def __call__(self, module: torch.nn.Module, batch: Batch) -> float:
        """1 - mean score. Cost: one forward pass per generated token of the minibatch."""
        return 1.0 - self.scored(module, batch).mean

    def surrogate(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """A scalar with the value of the loss and the gradient of the module's docstring. Cost: as the loss,
        and one forward pass over prompts and answers."""
        found = self.scored(module, batch)
        weights = advantages([score.value for score in found.scores], self._ref.samples)
        rows = [encoding.EncodedRow([*a.prompt, *a.ids], option=len(a.ids)) for a in found.answers]
        targets = encoding.option_targets(rows, self._lm.device)
        sums = option_log_likelihoods(
            module, encoding.padded(self._lm, rows), targets["targets"], targets["target_mask"]
        )
        lengths = targets["target_mask"].sum(1)
        gain = (weights.to(sums) * sums / lengths).mean()
        return (1.0 - found.mean) - (gain - gain.detach())

    def scored(self, module: torch.nn.Module, batch: Batch) -> Scored:
        """Generate and score the answers; all costs but forward passes are counted here."""
        self._refuse_stand_ins(module)
        asked = self._task.questions(self._lm, batch.inputs["examples"])
        return self._scores(
            batch, asked, answered(self._lm, asked, self._ref.temperature, batch.inputs["seeds"])
        )

    def side_by_side(self, module: torch.nn.Module, batch: Batch, count: int) -> list[float]:
        """The losses of ``count`` branches that the module computes side by side, decoded in one batch. Each
        branch draws the same random numbers."""
        self._refuse_stand_ins(module)
        asked = self._task.questions(self._lm, batch.inputs["examples"])
        branches = continuations_under_branches(
            self._lm,
            asked.prompts,
            count,
            max_new_tokens=asked.max_new_tokens,
            stop=asked.stop,
            choose=_choice(self._ref.temperature, [*batch.inputs["seeds"]] * count),
        )
        return [1.0 - self._scores(batch, asked, answers).mean for answers in branches]

    def _refuse_stand_ins(self, module: torch.nn.Module) -> None:
        if module is not self._lm.module:
            raise ValueError("answers can be generated only by the model itself, not by a stand-in for it")

    def _scores(self, batch: Batch, asked: Questions, answers: list[Continuation]) -> Scored:
        examples: Sequence[Example] = batch.inputs["examples"]
        read = self._reward.tokens_read
        scores = self._reward.scores(
            [Answered(p, a.text, e) for p, a, e in zip(asked.prompts, answers, examples, strict=True)]
        )
        self._meter.generated += sum(len(answer.ids) for answer in answers)
        self._meter.judged += self._reward.tokens_read - read
        for score in scores:
            if score.failure:
                self._meter.failed += 1
                self._reward.failure = score.failure
        return Scored(answers, scores)


def advantages(scores: Sequence[float], samples: int) -> torch.Tensor:
    """Scores normalized in each group of ``samples`` consecutive ones; 0 where all of a group are equal."""
    groups = torch.tensor(scores, dtype=torch.float64).view(-1, samples)
    centred = groups - groups.mean(1, keepdim=True)
    return (centred / (groups.std(1, keepdim=True, correction=0) + STABILIZER)).view(-1)


def best_of(
    spec: RunSpec, lm: LanguageModel, task: Task, reward: Reward, examples: Sequence[Example]
) -> list[Prediction]:
    """The best of ``spec.best_of`` sampled answers to each example by the reward, the first among equals.

    ``tokens`` of a prediction are those of all its answers."""
    ref, n = reward_of(spec), spec.best_of
    assert ref is not None, "the checks of a suite require a reward"
    assert n is not None, "the caller knows that answers are chosen"
    asked = [example for example in examples for _ in range(n)]
    questions = task.questions(lm, asked)
    seeds = [seed_of(spec.seed, "best-of", example.id, s) for example in examples for s in range(n)]
    answers = answered(lm, questions, ref.temperature, seeds)
    rows = zip(questions.prompts, answers, asked, strict=True)
    scores = [score.value for score in reward.scores([Answered(p, a.text, e) for p, a, e in rows])]
    found = []
    for at, example in zip(range(0, len(asked), n), examples, strict=True):
        chosen = max(range(at, at + n), key=lambda i: (scores[i], -i))
        tokens = sum(len(answer.ids) for answer in answers[at : at + n])
        found.append(task.judge(example, answers[chosen].text, tokens))
    return found


def answered(
    lm: LanguageModel, asked: Questions, temperature: float, seeds: Sequence[int]
) -> list[Continuation]:
    """Answers to the questions: greedy at temperature 0, else sampled, each from its own seed."""
    choose = _choice(temperature, seeds)
    return continuations(
        lm, asked.prompts, max_new_tokens=asked.max_new_tokens, stop=asked.stop, choose=choose
    )


def _choice(temperature: float, seeds: Sequence[int]) -> Choose:
    return Draws(temperature, seeds) if temperature > 0 else most_probable
