"""The file of a person's choices: written before the next question is shown, sealed with its digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zobench.store import files
from zobench.store.digests import DamagedFile, read_sealed, sealed

NAME = "choices.json"


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer.

    Attributes:
        shown: SHA-256 of everything that was shown, in the order of the points.
        item: index of the chosen one among them.
    """

    shown: str
    item: int


class Choices:
    """The choices of one session, in order.

    Args:
        folder: where the file is.
        run: what the choices belong to; a file of something else is refused.

    Raises:
        DamagedFile: the file differs from what was written.
        ValueError: the file belongs to another run.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.path, self._run = folder / NAME, run
        self.made: list[Choice] = []
        if self.path.exists():
            body = read_sealed(self.path)
            if body.get("run") != run:
                raise ValueError(f"{self.path}: these are the choices of another run, {body.get('run')!r}")
            self.made = [self._read(entry) for entry in body.get("choices", [])]

    def _read(self, entry: Any) -> Choice:
        try:
            return Choice(str(entry["shown"]), int(entry["item"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedFile(self.path, "an entry is not a choice") from error

    def add(self, choice: Choice) -> None:
        """Store a choice durably. If that fails, it is not made."""
        entries = [{"shown": c.shown, "item": c.item} for c in (*self.made, choice)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        body = sealed({"run": self._run, "choices": entries})
        files.write_atomic(self.path, body, sync=True, sync_entry=True)
        self.made.append(choice)
