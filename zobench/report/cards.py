"""Reads the attack cards that are stored with the runs (:mod:`zobench.attack_card`)."""

from __future__ import annotations

import json
from typing import Any

from zobench.attack_card import PLAIN, AttackCard, earlier, from_json
from zobench.names import json_value
from zobench.report.source import Source


class Cards:
    """Looks up the card of an attack by run and condition; for runs without cards by catalogue name."""

    def __init__(self, source: Source) -> None:
        stored = source.runs.set_index("run_id")["attack_cards"].dropna()
        self._runs = {str(run): from_json(str(text)) for run, text in stored.items()}

    def of(self, run_id: str, condition: str, name: str) -> AttackCard:
        """The card; the default card if the run has none for this attack."""
        known = self._runs.get(run_id)
        return earlier().get(name, PLAIN) if known is None else known.get(condition, PLAIN)


def params_of(text: Any) -> dict[str, Any]:
    """Parameters of a metric record; empty if they cannot be parsed."""
    try:
        body = json_value(str(text))
    except json.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def attack_name(condition: str, params: Any) -> str:
    """Catalogue name of an attack from its name in the suite and the parameters of its metric record."""
    return str(params_of(params).get("attack", condition))
