"""Data files of a suite: resolves their paths relative to the suite file, and checks their content.

The files are read when a plan is made, so that a missing column or a label without a word is reported, with
file and record, before anything is trained.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from zobench import plugins
from zobench.parameters import configure, data_files
from zobench.suite.plan import Plan
from zobench.suite.schema import TaskEntry
from zobench.suite.source import Document
from zobench.suite.structure import Draft
from zobench.tasks.classification import PromptedClassification
from zobench.tasks.generation import GenerationTask
from zobench.tasks.own_data import Examined, on_hub


def with_paths(document: Document, draft: Draft) -> None:
    """Replace every relative path of a data file by one relative to the working directory, in place."""
    tasks: dict[str, TaskEntry] = draft.entries("tasks")
    for name, entry in tasks.items():
        paths = {k: entry.params.get(k) for k in _files_of(entry.task or name)}
        given = {
            k: v
            for k, v in paths.items()
            if isinstance(v, str) and v and not (on_hub(v) or v.startswith("~"))
        }
        if not given:
            continue
        # An entry may come from an included file in another folder.
        folder = Path(document.place(("tasks", name)).file).parent
        moved = {
            k: Path(os.path.relpath(folder / v)).as_posix() for k, v in given.items() if not os.path.isabs(v)
        }
        tasks[name] = entry.model_copy(update={"params": {**entry.params, **moved}})


def check_data(document: Document, draft: Draft) -> None:
    """Read the data files of every task and report all errors in them."""
    for name, entry in draft.entries("tasks").items():
        task = entry.task or name
        if not _files_of(task) or any(p.key.startswith(f"tasks.{name}") for p in document.problems):
            continue
        try:
            splits = _examined(task, entry.params).splits
        except ValueError as error:
            document.report(("tasks", name, "params"), str(error))
            continue
        classes = sorted({e.label for e in splits.train if e.label is not None})
        if len(classes) == 1 and not splits.train[0].candidates:
            document.report(("tasks", name, "params"), "all training examples have the same label")


def long_texts(plan: Plan) -> list[str]:
    """Notes on user data with prompts longer than a model's maximum, whose beginning is cut off. Only causal
    and encoder-decoder models are checked, and only if their tokenizer is on this machine."""
    from zobench.models.encoding import encode_prompts
    from zobench.models.inspection import chat_of, longest_input, tokenizer_of

    told = []
    runs = [*plan.runs, *(run for study in plan.studies for run in study.final_templates)]
    cells = {(r.spec.model, r.spec.task.model_dump_json()): r.spec for r in runs if r.spec.task.files}
    for spec in cells.values():
        tokenizer = tokenizer_of(spec.model) or tokenizer_of(spec.model, of="encoder-decoder")
        if tokenizer is None:
            continue
        limit = longest_input(spec.model, tokenizer)
        found = plugins.lookup("tasks", spec.task.name)
        made = found(configure(found.Config, spec.task.params))
        splits = made.splits(spec.seed)
        every = [*splits.train, *splits.validation, *splits.test]
        chat = chat_of(spec.model)
        texts = [context_of(made, chat, e) for e in every]
        lengths = [len(ids) for ids in encode_prompts(tokenizer, texts, special=chat is None)]
        longer = [e.id for e, length in zip(every, lengths, strict=True) if length > limit]
        if longer:
            told.append(
                f"{spec.model.name} on {spec.task.name}: {len(longer)} of {len(every)} prompts are longer "
                f"than {limit} tokens and lose their beginning, for instance example {longer[0]}"
            )
    return told


def data_notes(plan: Plan) -> list[str]:
    """Notes on the data files: sizes of the parts, duplicates, empty cells, and records that are left out."""
    runs = [*plan.runs, *(run for study in plan.studies for run in study.final_templates)]
    tasks = {r.spec.task.model_dump_json(): r.spec.task for r in runs if r.spec.task.files}
    told = []
    for task in tasks.values():
        found = _examined(task.name, task.params)
        splits = found.splits
        sizes = (
            f"{len(splits.train)} to train, {len(splits.validation)} to select, {len(splits.test)} to test"
        )
        told += [f"{task.params[task.files[0]]}: {sizes}", *found.notes]
    return told


def context_of(task: Any, chat: Any, example: Any) -> str:
    """The text that a model reads before the answer; ``chat``: its template, if it has one."""
    if isinstance(task, GenerationTask):
        return task.written(chat, example).context
    found: PromptedClassification = task
    return found.written(chat, example, ()).context


def _files_of(task: str) -> tuple[str, ...]:
    known = plugins.entries("tasks")
    if task not in known:
        return ()
    try:
        return data_files(known[task].load().Config)
    except ValueError:
        return ()  # a plugin that cannot be loaded is reported by the checks


def _examined(task: str, params: dict[str, Any]) -> Examined:
    found = plugins.lookup("tasks", task)
    examined: Examined = found(configure(found.Config, params)).examined()
    return examined
