"""Metadata of the fields of a specification, written in the field's annotation.

``Annotated[int | None, FieldMeta(since=3, unlearning=False)] = None`` declares that the field was added in
version 3 of the specification and is not valid in an unlearning suite. There are no separate lists of such
fields: the functions of this module derive them from the annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Frozen(BaseModel):
    """A specification or a part of one: unknown keys and values of other types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True, slots=True)
class FieldMeta:
    """
    Attributes:
        since: version of the specification that added the field. A field that is newer than the model that
            contains it enters a run's identity only if it is set, so that older runs keep their ids.
        identity: False if the field is for display only: its default enters the identity, not its value.
        unlearning: False if the field has no meaning in an unlearning suite, which then rejects it.
    """

    since: int = 1
    identity: bool = True
    unlearning: bool = True


_PLAIN = FieldMeta()


def meta_of(info: FieldInfo) -> FieldMeta:
    """The metadata of a field; the defaults if it declares none."""
    return next((m for m in info.metadata if isinstance(m, FieldMeta)), _PLAIN)


def without_meaning_in_unlearning(model: type[BaseModel]) -> tuple[str, ...]:
    """Fields that an unlearning suite rejects, in the order of their declaration."""
    return tuple(name for name, info in model.model_fields.items() if not meta_of(info).unlearning)


def shared(base: type[BaseModel], model: BaseModel) -> dict[str, Any]:
    """Values of the fields that ``model`` inherits from ``base``, by name."""
    return {name: getattr(model, name) for name in base.model_fields}


def identity(model: BaseModel, *, display: bool = False) -> dict[str, Any]:
    """The JSON values of ``model`` that determine its identity, nested models included. ``display``: include
    the fields that are for display only."""
    return _kept(model, model.model_dump(mode="json"), 1, display)


def _kept(model: BaseModel, dumped: dict[str, Any], since: int, display: bool) -> dict[str, Any]:
    """``dumped`` without unset fields that are newer than ``since``, the version of the containing model."""
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
