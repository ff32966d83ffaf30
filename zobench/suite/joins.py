"""Finds label words whose first token would span the end of the prompt and the start of the answer. Planning
warns of them, because scores then omit part of the answer or include part of the prompt.

An answer option is scored on the tokens that follow the tokens of the prompt alone. If the tokenizer merges
the last characters of the prompt with the first ones of the option, the tokens of prompt + option differ from
those of the prompt before the prompt's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zobench.models.encoding import encode_plain
from zobench.spec import Component, ModelRef
from zobench.suite.plan import Plan
from zobench.tasks.prompts import Prompt


def joins(plan: Plan) -> list[str]:
    """One sentence for each model, task and label word where a token spans the boundary. Not checked: models
    whose tokenizer is not on this machine, and tasks whose answer options differ between examples."""
    from zobench.models.inspection import chat_of, tokenizer_of

    told: list[str] = []
    runs = [*plan.runs, *(run for study in plan.studies for run in study.final_templates)]
    cells = {(r.spec.model, r.spec.task.model_dump_json()): r.spec for r in runs if r.spec.unlearning is None}
    for spec in cells.values():
        prompt = _prompt(spec.task)
        tokenizer = tokenizer_of(spec.model) if prompt is not None and prompt.words else None
        if prompt is None or tokenizer is None:
            continue
        chat = chat_of(spec.model)
        ending = (prompt.tail, prompt.separator) if chat is None else chat.ending
        for word in spanned(tokenizer, *ending, prompt.words):
            told.append(_sentence(spec.model, spec.task, prompt, word))
    return told


def spanned(tokenizer: Any, tail: str, separator: str, words: Sequence[str]) -> list[str]:
    """Label words whose first token begins inside ``tail``, the text before the answer."""
    if not tail:
        return []
    before = encode_plain(tokenizer, tail)
    texts = {word: tail + separator + word for word in words}
    return [w for w, text in texts.items() if encode_plain(tokenizer, text)[: len(before)] != before]


def _prompt(task: Component) -> Prompt | None:
    from zobench.parameters import configure
    from zobench.plugins import lookup
    from zobench.tasks.classification import PromptedClassification

    found = lookup("tasks", task.name)
    if not issubclass(found, PromptedClassification):
        return None
    made: PromptedClassification = found(configure(found.Config, task.params))
    return made.prompt


def _sentence(model: ModelRef, task: Component, prompt: Prompt, word: str) -> str:
    return (
        f"{model.name} on {task.name}: one token spans the end of template {prompt.template!r} and the label "
        f"{word!r}, so that the label is not scored whole; end the template with a whole word"
    )
