"""The exact prompts of a plan, for ``zobench plan --show-prompts``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zobench.spec import Component, ModelRef
from zobench.suite.plan import Plan


def prompts(plan: Plan, count: int) -> Iterator[str]:
    """Lines with the first ``count`` training prompts of each model and task, exactly as the model receives
    them, and the tokens of every answer. Tokens are omitted if the tokenizer is not on this machine."""
    from zobench.models.inspection import chat_of, tokenizer_of

    runs = [*plan.runs, *(run for study in plan.studies for run in study.final_templates)]
    cells = {
        (r.spec.model, r.spec.task.model_dump_json()): (r.spec.model, r.spec.task, r.spec.seed)
        for r in reversed(runs)
        if r.spec.unlearning is None
    }
    for model, task, seed in reversed(cells.values()):
        yield f"{model.name}{', as a chat' if model.chat else ''} on {task.name}"
        yield from _of_task(model, task, seed, count, tokenizer_of(model), chat_of(model))


def _of_task(
    model: ModelRef, task: Component, seed: int, count: int, tokenizer: Any, chat: Any
) -> Iterator[str]:
    from zobench.parameters import configure
    from zobench.plugins import lookup
    from zobench.tasks.classification import PromptedClassification
    from zobench.tasks.generation import GenerationTask

    found = lookup("tasks", task.name)
    made = found(configure(found.Config, task.params))
    examples = list(made.splits(seed).train[:count])
    if isinstance(made, PromptedClassification):
        for example in examples:
            options = made.options(example)
            written = made.written(chat, example, options)
            yield f"  prompt {example.id}: {written.context!r}"
            for place, (option, whole) in enumerate(zip(options, written.completed, strict=True)):
                mark = "*" if place == example.label else " "
                yield f"   {mark} {_tokens(tokenizer, written.context, whole, option)}"
    elif isinstance(made, GenerationTask):
        for example in examples:
            written = made.written(chat, example)
            yield f"  prompt {example.id}: {written.context!r}"
            told = _tokens(tokenizer, written.context, written.completed[0], made.target(example))
            yield f"   * {told}"
    else:
        yield f"  {type(made).__name__} does not show its prompts"


def _tokens(tokenizer: Any, context: str, whole: str, answer: str) -> str:
    """The answer and, with a tokenizer, the tokens that are scored, which follow those of the context."""
    if tokenizer is None:
        return repr(answer)
    from zobench.models.encoding import encode_plain

    scored = encode_plain(tokenizer, whole)[len(encode_plain(tokenizer, context)) :]
    pieces = " ".join(repr(tokenizer.decode([token])) for token in scored)
    return f"{answer!r}: {len(scored)} tokens {pieces} {scored}"
