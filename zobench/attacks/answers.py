"""Caches of a victim's answers, shared by the attacks of one run (:class:`RunAnswers`, in memory) or by
attacks, runs and processes (:class:`AnswerStore`, on disk).

The key is the SHA-256 of everything an answer depends on: the weights' digest, a scope that names the task,
its parameters, the demonstrations and the decoding, and the example's texts, candidates and gold answer (its
id is not part of the key). Sampled answers and confirmations are never stored, and the query count does not
depend on the cache. An answer computed in a batch of another shape differs by rounding, as within an attack.
Therefore a run by default shares answers between its own attacks only, which is reproducible. Answers of
other runs, which may or may not exist, are used only on request."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from zobench.data.example import Example
from zobench.tasks.base import Prediction

_CHUNK = 500
"""Keys per statement, below SQLite's limit of variables."""


class Answers(Protocol):
    """Answers for one state of the weights and one scope."""

    def get(self, examples: Sequence[Example]) -> dict[int, Prediction]:
        """Known answers by index into ``examples``."""
        ...

    def put(self, examples: Sequence[Example], answers: Sequence[Prediction]) -> None:
        """Store these answers; an answer that is already stored is left unchanged."""
        ...


class RunAnswers:
    """Answers in memory, for the attacks of one run on one state of the weights."""

    def __init__(self, weights_digest: str, scope: Mapping[str, object]) -> None:
        self._about = _about(weights_digest, scope)
        self._known: dict[bytes, Prediction] = {}
        self._fresh: list[bytes] = []

    def get(self, examples: Sequence[Example]) -> dict[int, Prediction]:
        found = {i: self._known.get(_key(self._about, e)) for i, e in enumerate(examples)}
        return {
            i: dataclasses.replace(answer, example_id=examples[i].id)
            for i, answer in found.items()
            if answer is not None
        }

    def put(self, examples: Sequence[Example], answers: Sequence[Prediction]) -> None:
        for example, answer in zip(examples, answers, strict=True):
            key = _key(self._about, example)
            if key not in self._known:
                self._known[key] = answer
                self._fresh.append(key)

    def fresh(self) -> dict[str, str]:
        """Answers that were put here since the last call, as JSON text by key: for :meth:`add`."""
        found = {key.hex(): _written(self._known[key]) for key in self._fresh}
        self._fresh = []
        return found

    def add(self, answers: Mapping[str, str]) -> None:
        """Take in what :meth:`fresh` gave."""
        for key, text in answers.items():
            self._known.setdefault(bytes.fromhex(key), _read(text, ""))


class AnswerStore:
    """Answers in ``folder/answers.sqlite`` for one state of the weights and one scope.

    Several processes may use it at once.

    Args:
        folder: created if it does not exist.
        weights_digest: of the model that answers.
        scope: everything else an answer depends on (task name and parameters, demonstrations, decoding).
    """

    def __init__(self, folder: str | Path, weights_digest: str, scope: Mapping[str, object]) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._about = _about(weights_digest, scope)
        self._file = sqlite3.connect(Path(folder) / "answers.sqlite", timeout=60, isolation_level=None)
        self._file.execute("pragma journal_mode=wal")
        # A cache: answers lost by a crash are computed again.
        self._file.execute("pragma synchronous=off")
        self._file.execute("create table if not exists answers (key blob primary key, answer text not null)")

    def get(self, examples: Sequence[Example]) -> dict[int, Prediction]:
        keys = [_key(self._about, e) for e in examples]
        found: dict[bytes, str] = {}
        for at in range(0, len(keys), _CHUNK):
            some = keys[at : at + _CHUNK]
            marks = ",".join("?" * len(some))
            found.update(self._file.execute(f"select key, answer from answers where key in ({marks})", some))
        return {i: _read(found[key], examples[i].id) for i, key in enumerate(keys) if key in found}

    def put(self, examples: Sequence[Example], answers: Sequence[Prediction]) -> None:
        rows = [(_key(self._about, e), _written(a)) for e, a in zip(examples, answers, strict=True)]
        self._file.execute("begin immediate")
        self._file.executemany("insert or ignore into answers values (?, ?)", rows)
        self._file.execute("commit")

    def close(self) -> None:
        self._file.close()


def _about(weights_digest: str, scope: Mapping[str, object]) -> str:
    return json.dumps([weights_digest, scope], sort_keys=True, ensure_ascii=False)


def _key(about: str, example: Example) -> bytes:
    body = [dict(example.text), list(example.candidates), example.label, example.answer, _plain(example)]
    if example.image is not None:
        body.append(example.image.digest())
    text = json.dumps(body, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256((about + text).encode("utf-8", "surrogatepass")).digest()


def _plain(example: Example) -> dict[str, str]:
    """All other data of the example; the check of an answer may depend on it."""
    return {name: repr(value) for name, value in example.meta.items()}


def _written(answer: Prediction) -> str:
    return json.dumps({**dataclasses.asdict(answer), "example_id": ""}, ensure_ascii=True)


def _read(text: str, example_id: str) -> Prediction:
    row = json.loads(text)
    logs = row.pop("log_probs")
    return Prediction(**{**row, "example_id": example_id, "log_probs": None if logs is None else tuple(logs)})
