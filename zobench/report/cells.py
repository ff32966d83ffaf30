"""The type of the value that a template gets for one cell or line of a table."""

from __future__ import annotations

from typing import Any

Cell = dict[str, Any]
