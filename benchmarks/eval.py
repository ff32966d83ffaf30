"""Option log-likelihoods of classification against lm-eval's Hugging Face backend (batch size 8).

Prompts of 20 to 120 tokens with 2 to 6 options, of 2 to 4 tokens or of one; random weights of a shape of
``benchmarks/step.py``, the tokenizer of the built-in model. Both sides get the same texts and tokenize them.
One repetition times both; the ratio is taken within one repetition. Times are CPU seconds of the process. The
benchmark fails if a log-likelihood differs by more than 1e-4.

    python benchmarks/eval.py                       # 135M shape, 100 prompts, both kinds of options
    python benchmarks/eval.py --shape 22m --repeats 7

Needs the extra ``lm-eval``.
"""

from __future__ import annotations

import argparse
import logging
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from decoding import loaded
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from step import SHAPES, quartiles

from zobench.data.example import Example, Splits
from zobench.models.base import LanguageModel
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.prompts import Prompt

TEXT = "the film was good and bad a story about three apples for Ann who gives two to her friend Ben"
WORDS = TEXT.split()
OPTIONS = {"long": range(2, 5), "one": range(1, 2)}
"""Numbers of tokens of an option."""


class Questions(PromptedClassification):
    """Examples that bring their own options."""

    def splits(self, seed: int) -> Splits:
        raise NotImplementedError("the benchmark makes its own examples")

    def options(self, example: Example) -> tuple[str, ...]:
        return example.candidates

    def log_likelihoods(self, lm: LanguageModel, examples: Sequence[Example]) -> list[list[float]]:
        """Log-likelihood of each option of each example."""
        return [scores.tolist() for scores in self._predict_options(lm, examples, ())]


def pieces(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def examples(tokenizer: Any, count: int, tokens: range, seed: int) -> list[Example]:
    """Prompts of 20 to 120 tokens with 2 to 6 different options of as many tokens as ``tokens`` allows."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        length, words = draw.randint(20, 120), [str(number)]
        while pieces(tokenizer, " ".join([*words, draw.choice(WORDS)])) < length:
            words.append(draw.choice(WORDS))
        options: set[str] = set()
        wanted = draw.randint(2, 6)
        while len(options) < wanted:
            option = " ".join(draw.choices(WORDS, k=draw.choice(tokens)))
            if pieces(tokenizer, " " + option) in tokens:
                options.add(option)
        found.append(Example(str(number), {"text": " ".join(words)}, 0, candidates=tuple(sorted(options))))
    return found


def harness(lm: LanguageModel, given: Sequence[Example], batch: int) -> Callable[[], list[list[float]]]:
    """The same log-likelihoods by lm-eval."""
    model = HFLM(pretrained=lm.module, tokenizer=lm.tokenizer, batch_size=batch, max_length=lm.max_length)
    pairs = [(e.text["text"], f" {option}") for e in given for option in e.candidates]
    asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]

    def run() -> list[list[float]]:
        flat = iter(value for value, _ in model.loglikelihood(asked, disable_tqdm=True))
        return [[next(flat) for _ in e.candidates] for e in given]

    return run


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def measured(lm: LanguageModel, tokens: range, arguments: argparse.Namespace) -> None:
    """Print the ratio for options of these numbers of tokens."""
    given = examples(lm.tokenizer, arguments.prompts, tokens, seed=0)
    task = Questions(None, prompt=Prompt("{text}{answer}"), scoring="option-likelihood", normalized=False)
    theirs = harness(lm, given, arguments.batch)
    ours = lambda: task.log_likelihoods(lm, given)  # noqa: E731
    rows, largest = [], 0.0
    for _ in range(arguments.repeats):
        (a, expected), (b, found) = seconds(theirs), seconds(ours)
        rows.append((a, b))
        for one, other in zip(expected, found, strict=True):
            largest = max(largest, *(abs(x - y) for x, y in zip(one, other, strict=True)))
    low, median, high = quartiles([b / a for a, b in rows])
    theirs_s, ours_s = (statistics.median(column) for column in zip(*rows, strict=True))
    size = f"{min(tokens)} to {max(tokens)} tokens" if len(tokens) > 1 else "1 token"
    print(f"options of {size}: lm-eval {theirs_s:.2f} s, zobench {ours_s:.2f} s", flush=True)
    print(
        f"  ratio {median:.3f}, quartiles {low:.3f}-{high:.3f}, largest difference {largest:.1e}", flush=True
    )
    if largest > 1e-4:
        raise SystemExit("the log-likelihoods differ")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--shape", choices=SHAPES, default="135m")
    add("--layers", type=int)
    add("--dtype", choices=("float32",), default="float32")
    add("--prompts", type=int, default=100)
    add("--options", nargs="+", choices=OPTIONS, default=tuple(OPTIONS))
    add("--batch", type=int, default=8, help="batch size of lm-eval")
    add("--repeats", type=int, default=7)
    add("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    logging.disable(logging.WARNING)
    arguments = parse()
    arguments.model, arguments.device = None, "cpu"
    torch.set_num_threads(arguments.threads)
    lm = loaded(arguments)
    for kind in arguments.options:
        measured(lm, OPTIONS[kind], arguments)


if __name__ == "__main__":
    main()
