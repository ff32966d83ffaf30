"""GSM8K, MATH-500, GSM-Plus and GSM-IC: questions answered by greedy generation.

GSM-Plus and GSM-IC are test sets over GSM8K problems and train on GSM8K; MATH-500 is a test set without
training examples. In GSM-Plus, 300 of the 2,400 examples have no answer (gold "None"), which no numeric
extractor can return: they are left out unless ``unanswerable`` is set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from zobench.data.example import Splits
from zobench.data.math_problems import problems
from zobench.data.sampling import permuted
from zobench.parameters import Count, CountOrZero, OneOf, Parameters
from zobench.tasks.equivalence import latex_normal
from zobench.tasks.extraction import EXTRACTORS, extractor
from zobench.tasks.fewshot import DataSource
from zobench.tasks.generation import GenerationTask
from zobench.tasks.prompts import Prompt


@dataclass(frozen=True, kw_only=True)
class MathConfig(Parameters):
    """Parameters of a math task."""

    source: DataSource = "local"
    """``local`` files under ZOBENCH_DATA, or the ``hub``."""
    train: Count = 1000
    """Training examples."""
    dev: CountOrZero = 200
    """Validation examples."""
    test: int | None = None
    """Maximum number of test examples; all by default."""
    max_new_tokens: Count = 256
    """Longest answer in tokens."""
    reads: Annotated[str, OneOf(tuple(EXTRACTORS))] = "robust"
    """Extractor of the answer for ``accuracy``."""
    prompt: str | None = None
    """Template around ``{question}``; default: the task's own. Set it to the model's training format."""
    unanswerable: bool = False
    """Keep GSM-Plus examples whose gold answer is "None"."""
    hub: str | None = None
    """Hub repository other than the usual one."""
    revision: str | None = None
    """Commit of the hub repository."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt is not None and Prompt(self.prompt).fields != ("question",):
            raise ValueError(f"prompt must contain {{question}} and no other field: {self.prompt!r}")


class GSM8K(GenerationTask):
    """Grade-school word problems; the worked solution ends in ``#### ANSWER``."""

    Config: ClassVar[type] = MathConfig
    name: ClassVar[str] = "gsm8k"
    train_on: ClassVar[str | None] = "gsm8k"
    template: ClassVar[Prompt] = Prompt("Question: {question}\nAnswer:")
    stop_strings: ClassVar[tuple[str, ...]] = ("Question:", "</s>", "<|im_end|>")

    def __init__(self, config: MathConfig) -> None:
        super().__init__(
            config,
            prompt=self.template if config.prompt is None else Prompt(config.prompt),
            max_new_tokens=config.max_new_tokens,
            stop=self.stop_strings,
            reads=config.reads,
        )
        self.protected = ("####",)

    def splits(self, seed: int) -> Splits:
        """Training and validation examples from one permutation of the training file under ``seed``; test
        examples from one of the test file."""
        config = self.config
        own = config.hub if self.train_on == self.name else None
        pool = (
            problems(
                self.train_on,
                "train",
                config.source,
                repository=own,
                revision=config.revision if own else None,
            )
            if self.train_on
            else []
        )
        drawn = permuted(pool, seed, config.train + config.dev)
        cut = max(len(drawn) - config.dev, 0)
        tested = problems(self.name, "test", config.source, repository=config.hub, revision=config.revision)
        kept = [e for e in tested if config.unanswerable or e.answer != "None"]
        return Splits(
            train=drawn[:cut],
            validation=drawn[cut:],
            test=permuted(kept, seed, config.test),
            demonstrations=drawn[:cut],
        )


class GSMPlus(GSM8K):
    name = "gsm-plus"


class GSMIC(GSM8K):
    name = "gsm-ic"


class MATH500(GSM8K):
    """Competition problems; strict accuracy reads the last box and compares normalized LaTeX text."""

    name = "math500"
    train_on = None
    template = Prompt("Problem: {question}\nAnswer:")
    stop_strings = ("Problem:",)

    def __init__(self, config: MathConfig) -> None:
        super().__init__(config)
        self.strict = extractor("boxed")
        self.strict_same = _same_latex
        self.protected = ("\\boxed",)


def _same_latex(answer: str | None, gold: str) -> bool:
    return answer is not None and latex_normal(answer) == latex_normal(gold)
