"""Command line: ``zobench COMMAND``. Each command parses its arguments and calls a function of another
package.

Heavy imports are inside the functions, so that ``zobench --help`` and shell completion do not import torch.
"""

from __future__ import annotations

from zobench.cli.app import app, main

__all__ = ["app", "main"]
