"""What the terminal says between Ctrl-C and the end of the runs that were asked to stop."""

from __future__ import annotations

import math
import os
import time

from zobench.runner.progress import Board, Display


def say_stopping(board: Board, terminal: int) -> None:
    """Answer Ctrl-C at once, from within the signal's handler: printing there could meet a print that it
    interrupted, so the text goes to the file descriptor of standard error directly."""
    told = (
        f"\nstopping: {len(board.running)} running, asked to end at their next step. Finished runs are kept, "
        "the others resume from their last checkpoint. Ctrl-C again ends at once.\n"
    )
    os.write(terminal, told.encode())


class Reminder:
    """After Ctrl-C: says every ``EVERY_SECONDS`` which runs have not stopped yet, and what can be done."""

    EVERY_SECONDS = 10.0
    MOST = 4

    def __init__(self) -> None:
        self._next = math.nan

    def refresh(self, board: Board, display: Display) -> None:
        """To be called regularly from the interruption on."""
        now = time.monotonic()
        if math.isnan(self._next):
            self._next = now + self.EVERY_SECONDS
        if now < self._next or not board.running:
            return
        self._next = now + self.EVERY_SECONDS
        watched = list(board.running.values())
        named = ", ".join(f"{board.name(w.job)} ({w.doing})" for w in watched[: self.MOST])
        more = f" and {len(watched) - self.MOST} more" if len(watched) > self.MOST else ""
        display.note(
            f"still waiting for {named}{more}. Ctrl-C again ends at once; what was done since the last "
            "checkpoint is then done again."
        )
