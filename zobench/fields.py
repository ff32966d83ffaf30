"""What is known of a field of a specification besides its type, written where the field is written.

``Annotated[int | None, FieldMeta(since=3, unlearning=False)] = None`` says that the field came with version 3
of the specification and that a suite of unlearning has no use for it; no other list needs an entry. Whoever
needs a list of such fields asks here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class FieldMeta:
    """
    Attributes:
        since: version of the specification that brought the field. A field that is younger than what holds
            it counts in the identity of a run only where it is set, so that runs from before keep theirs.
        identity: False where the field is display only: its default counts, whatever it is set to.
        unlearning: False where the field has no meaning in a suite of unlearning, which then refuses it.
    """

    since: int = 1
    identity: bool = True
    unlearning: bool = True


_PLAIN = FieldMeta()


def meta_of(info: FieldInfo) -> FieldMeta:
    """What the field says of itself; the defaults where it says nothing."""
    return next((m for m in info.metadata if isinstance(m, FieldMeta)), _PLAIN)


def without_meaning_in_unlearning(model: type[BaseModel]) -> tuple[str, ...]:
    """Fields that a suite of unlearning refuses, in the order in which they are written."""
    return tuple(name for name, info in model.model_fields.items() if not meta_of(info).unlearning)


def shared(base: type[BaseModel], model: BaseModel) -> dict[str, Any]:
    """Values of the fields that ``model`` has from ``base``, by name."""
    return {name: getattr(model, name) for name in base.model_fields}


def identity(model: BaseModel, *, display: bool = False) -> dict[str, Any]:
    """The JSON values of ``model`` that decide its identity, nested models included; with ``display`` as if
    what is display only counted as well."""
    return _kept(model, model.model_dump(mode="json"), 1, display)


def _kept(model: BaseModel, dumped: dict[str, Any], since: int, display: bool) -> dict[str, Any]:
    """``dumped`` without fields that are unset and younger than ``since``, the version of what holds them."""
    body = {}
    for name, info in type(model).model_fields.items():
        meta, value = meta_of(info), getattr(model, name)
        shown = dumped[name]
        if not (meta.identity or display):
            value = shown = _default(info)
            assert value is None or isinstance(value, str | int | float), "a display-only field is a scalar"
        if meta.since > since and value == _default(info):
            continue
        body[name] = _inside(value, shown, max(since, meta.since), display)
    return body


def _inside(value: Any, dumped: Any, since: int, display: bool) -> Any:
    if isinstance(value, BaseModel):
        return _kept(value, dumped, since, display)
    if isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
        return [_inside(item, shown, since, display) for item, shown in zip(value, dumped, strict=True)]
    return dumped


def _default(info: FieldInfo) -> Any:
    return info.get_default(call_default_factory=True)
