"""Creates the suite that ``zobench init --data FILE --label COLUMN`` writes for a data file."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from zobench.tasks.own_look import Look, look_at
from zobench.tasks.own_parts import parts_of

MOST_CLASSES = 20
"""Maximum number of classes; a label column with more distinct values, or without a value that occurs twice,
is treated as generated answers."""

_HEAD = """\
# Written by 'zobench init' from {data}: {records} records. 'zobench plan FILE --show-prompts 3' prints
# the exact prompts, 'zobench run FILE' runs it. Reference of all keys: 'zobench docs suite'.
suite: {name}
description: {task} on {data}.

models:
  mine: {{name: {model}{head}}}

tasks:
  own:
    task: {task}
    params:
      data: {path}                 # relative to this file
"""
_TEXT_MODEL, _IMAGE_MODEL = "builtin:nano", "builtin:nano-vit"
_TAIL = """\

methods:
  mezo: {{}}                              # 'tune: {{}}' chooses its learning rate on validation examples
  fzoo: {{}}
  zero-shot: {{method: none, group: control}}

seeds: [0, 1]
budget: {{forwards: 200, batch_size: {batch}}}  # one forward = the loss on one minibatch
evaluation: {{test_items: 200, validation_items: 200}}
"""


def starter_for(target: Path, *, model: str, data: Path, label: str, text: str | None) -> str:
    """The text of a suite for a data file.

    Args:
        target: path of the suite file; the path of the data is written relative to it.
        model: model name as in ``models`` of a suite.
        data: CSV, TSV, JSON Lines or parquet file.
        label: column with the class or the answer.
        text: column with the text, or with the paths of PNG files; default: the one with the longest texts.

    Raises:
        ValueError: no such file or column, only one distinct label, or records with which no suite could be
            planned.
    """
    found = look_at(str(data), label=label, text=text)
    few = len(found.labels) <= MOST_CLASSES and len(found.labels) < found.records
    classes = found.labels if few or found.images else ()
    if len(found.labels) < 2:
        raise ValueError(f"label: column {label!r} of {data} has one value only: {list(found.labels)}")
    if "" in found.labels:
        raise ValueError(
            f"label: some records of {data} have an empty {label!r} ({len(found.unlabelled)}, the first is "
            f"record {found.unlabelled[0]}); fill it in or remove them"
        )
    path = Path(os.path.relpath(data, target.parent)).as_posix()
    builtin = _IMAGE_MODEL if found.images else _TEXT_MODEL
    if found.images:
        lines = [f"image: {json.dumps(found.text)}", f"label: {json.dumps(label)}"]
    else:
        lines = _classes(found, label, classes) if classes else _answers(found, label)
    if found.split is not None:
        lines.append(f"split: {json.dumps(found.split)}")
    parts = parts_of(data, found, label, classes=bool(classes))
    body = "".join(f"      {line}\n" for line in (*lines, *parts.lines))
    body += _TAIL.format(batch=parts.batch_size)

    def suite(model: str) -> str:
        head = _HEAD.format(
            data=data.name,
            records=found.records,
            name=json.dumps(target.stem),
            task="image-classification" if found.images else "classification" if classes else "generation",
            model=json.dumps(model),
            head=f", head: {len(classes)}" if found.images else "",
            path=json.dumps(path),
        )
        return head + body

    _refuse_unplannable(target, suite(builtin), data)  # the model asked for may be missing still
    return suite(builtin if model == _TEXT_MODEL else model)


def _refuse_unplannable(target: Path, suite: str, data: Path) -> None:
    """``ValueError`` if the suite cannot be planned with these data."""
    from zobench.suite.expansion import expand
    from zobench.suite.loading import load
    from zobench.suite.problems import SuiteError

    temporary = target.with_name(f".{target.stem}-{secrets.token_hex(4)}.yaml")
    try:
        temporary.write_text(suite, encoding="utf-8")
        expand(load(temporary))
    except SuiteError as error:
        reasons = "; ".join(problem.message for problem in error.problems)
        raise ValueError(f"{data}: no suite can be written for it: {reasons}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _classes(found: Look, label: str, classes: tuple[str, ...]) -> list[str]:
    words = ", ".join(f"{json.dumps(c)}: {json.dumps(c)}" for c in classes)
    return [
        f"label: {json.dumps(label)}",
        f"template: {json.dumps('{' + found.text + '} It was')}",
        "# label in the file: the word that the model gives for it. Words that say the class work better.",
        f"words: {{{words}}}",
    ]


def _answers(found: Look, label: str) -> list[str]:
    return [
        f"answer: {json.dumps(label)}",
        f"template: {json.dumps('Question: {' + found.text + '}' + chr(10) + 'Answer:')}",
        f"match: {'number' if found.numbers else 'exact'}",
    ]
