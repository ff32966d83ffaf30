"""Small method, task and attack classes, and a ``fake_catalogues`` patch, so that suite tests depend on no
other room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest

from zobench import plugins
from zobench.plugins import Entry
from zobench.suite import spaces
from zobench.zo.base import Cost, MethodCard


def _card(name: str, **changes: Any) -> MethodCard:
    facts: dict[str, Any] = {"order": "zeroth", "replay": "scalars", **changes}
    return MethodCard(name=name, title=name, source="test", formula="theta <- theta - lr g u", **facts)


@dataclass(frozen=True, kw_only=True)
class MezoConfig:
    lr: float = 1e-3
    eps: float = 1e-3
    n: int = 1
    rule: Literal["sgd", "sign"] = "sgd"
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.eps <= 0:
            raise ValueError(f"eps must be positive, got {self.eps}")
        if self.rule == "sign" and self.n > 4:
            raise ValueError("the sign rule takes at most 4 directions")


class Mezo:
    Config: ClassVar[type] = MezoConfig
    card = _card("mezo")
    search_space: ClassVar[dict[str, Any]] = {}

    @classmethod
    def cost(cls, config: MezoConfig) -> Cost:
        return Cost(2 * config.n, 2 * config.n, 3, 0)


class Fzoo(Mezo):
    card = _card("fzoo", spaces=("full", "lora"))

    @classmethod
    def cost(cls, config: MezoConfig) -> Cost:
        return Cost(9, 9, 2, 0)


@dataclass(frozen=True)
class NoConfig:
    pass


class ZeroShot:
    Config: ClassVar[type] = NoConfig
    card = _card("zero-shot", order="none")
    search_space: ClassVar[dict[str, Any]] = {}

    @classmethod
    def cost(cls, config: NoConfig) -> Cost:
        return Cost(0, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class NeedsConfig:
    path: str


class Needs(Mezo):
    Config = NeedsConfig
    card = _card("needs")


@dataclass(frozen=True)
class TopicConfig:
    k: int = 16
    words: tuple[str, ...] = ("a", "b")

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError("k must be at least 1")


class Topic:
    Config: ClassVar[type] = TopicConfig
    primary_metric: ClassVar[str] = "accuracy"

    @classmethod
    def measures_with(cls, params: dict[str, Any]) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class TypoConfig:
    rate: float = 0.1


class Typos:
    Config: ClassVar[type] = TypoConfig


@dataclass(frozen=True)
class LoraConfig:
    r: int = 8


TARGETS: dict[str, dict[str, str]] = {
    "methods": {
        "mezo": "Mezo",
        "fzoo": "Fzoo",
        "zero-shot": "ZeroShot",
        "needs": "Needs",
        "broken": "Missing",
    },
    "tasks": {"nano-topic": "Topic", "nano-sentiment": "Topic"},
    "attacks": {"char-typos": "Typos", "irrelevant-sentence": "Typos"},
    "objectives": {},
    "probes": {},
}


def fake_entries(kind: str) -> dict[str, Entry]:
    """Catalogue of the classes above."""
    return {
        name: Entry(name, f"{__name__}:{target}", "some-plugin" if name == "broken" else "builtin")
        for name, target in TARGETS[kind].items()
    }


def install(patch: pytest.MonkeyPatch) -> None:
    """Put the fakes in the place of the catalogues."""
    patch.setattr(plugins, "entries", fake_entries)
    patch.setattr(spaces, "space_kinds", lambda: {"full": NoConfig, "lora": LoraConfig, "prefix": NoConfig})
    patch.setattr(spaces, "space_refusal", lambda space, module: "")
