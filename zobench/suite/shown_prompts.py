"""The exact prompts of a plan, for ``zobench plan --show-prompts``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zobench.spec import Component, ModelRef
from zobench.suite.plan import Plan


def prompts(plan: Plan, count: int) -> Iterator[str]:
    """Lines with the first ``count`` training prompts of each model and task, exactly as the model receives
    them, and the tokens of every answer. Tokens are omitted if the tokenizer is not on this machine."""
    runs = [*plan.runs, *(run for study in plan.studies for run in study.final_templates)]
    cells = {
        (r.spec.model, r.spec.task.model_dump_json()): (r.spec.model, r.spec.task, r.spec.seed)
        for r in reversed(runs)
        if r.spec.unlearning is None
    }
    for model, task, seed in reversed(cells.values()):
        yield f"{model.name}{', as a chat' if model.chat else ''} on {task.name}"
        yield from _of_task(model, task, seed, count)


def _of_task(model: ModelRef, task: Component, seed: int, count: int) -> Iterator[str]:
    from zobench.models.inspection import architecture_here, chat_of, tokenizer_of
    from zobench.parameters import configure
    from zobench.plugins import lookup
    from zobench.tasks.classification import HEADS, PromptedClassification
    from zobench.tasks.flow_inversion import KIND as GENERATION
    from zobench.tasks.flow_scoring import KIND as SCORING
    from zobench.tasks.generation import GenerationTask
    from zobench.tasks.images import KIND

    found = lookup("tasks", task.name)
    made = found(configure(found.Config, task.params))
    examples = list(made.splits(seed).train[:count])
    kind, chat = architecture_here(model), chat_of(model)
    tokenizer = tokenizer_of(model, of="encoder-decoder" if kind == "encoder-decoder" else "causal")
    if isinstance(made, PromptedClassification) and kind in HEADS:
        yield from _fields(model, kind, made, examples)
    elif isinstance(made, PromptedClassification):
        for example in examples:
            options = made.options(example)
            written = made.written(chat, example, options)
            yield f"  prompt {example.id}: {written.context!r}"
            for place, (option, whole) in enumerate(zip(options, written.completed, strict=True)):
                mark = "*" if place == example.label else " "
                yield f"   {mark} {_tokens(tokenizer, kind, written.context, whole, option)}"
    elif isinstance(made, GenerationTask):
        for example in examples:
            written = made.written(chat, example)
            yield f"  prompt {example.id}: {written.context!r}"
            told = _tokens(tokenizer, kind, written.context, written.completed[0], made.target(example))
            yield f"   * {told}"
    elif made.kind in (KIND, GENERATION, SCORING):
        for example in examples:
            assert example.image is not None
            height, width, channels = example.image.shape
            colour = "grey" if channels == 1 else "RGB"
            yield f"  image {example.id}: {width} x {height} pixels, {colour}, class {example.answer!r}"
    else:
        yield f"  {type(made).__name__} does not show its prompts"


def _fields(model: ModelRef, kind: Any, task: Any, examples: list[Any]) -> Iterator[str]:
    """The texts that a head reads, and its output for every class."""
    from zobench.models.inspection import labels_here
    from zobench.tasks.heads import head_columns

    classes = range(len(task.prompt.words))
    columns = list(classes)
    if kind == "classifier":
        columns = head_columns([task.names_of(c) for c in classes], labels_here(model), model.name)
    for example in examples:
        yield f"  text {example.id}: {[example.text[name] for name in task.prompt.fields]!r}"
        for label in classes:
            mark = "*" if label == example.label else " "
            yield f"   {mark} {task.class_name(label)!r}: output {columns[label]} of the head"


def _tokens(tokenizer: Any, kind: str | None, context: str, whole: str, answer: str) -> str:
    """The answer and, with a tokenizer, the tokens that are scored: those behind the context, or those of the
    decoder."""
    if tokenizer is None:
        return repr(answer)
    from zobench.models.encoding import encode_plain, encode_target

    if kind == "encoder-decoder":
        scored = encode_target(tokenizer, whole[len(context) :].strip(" "))
    else:
        scored = encode_plain(tokenizer, whole)[len(encode_plain(tokenizer, context)) :]
    pieces = " ".join(repr(tokenizer.decode([token])) for token in scored)
    return f"{answer!r}: {len(scored)} tokens {pieces} {scored}"
