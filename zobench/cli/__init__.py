"""Command line: ``zobench COMMAND``. Each command reads its arguments and calls one function of another room.

Nothing heavy is imported at the top of these modules: ``zobench --help`` and shell completion import no
torch.
"""

from __future__ import annotations

from zobench.cli.app import app, main

__all__ = ["app", "main"]
