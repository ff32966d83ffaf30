"""First pass of validation of a suite file: keys and types. Every entry is checked by itself, so that an
invalid entry does not hide the problems of others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from zobench.names import nearest, suggestion
from zobench.suite.problems import KeyPath
from zobench.suite.schema import REQUIRED, SECTIONS, Suite
from zobench.suite.source import Document

_SCALARS = ("suite", "description", "seeds", "trackers", "ruleset", "output")
_TYPES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "union_tag_invalid": "must be a list of values or {low: , high: , log: }",
    "union_tag_not_found": "must be a list of values or {low: , high: , log: }",
}
_LONGEST_VALUE = 200
_YAML_11 = {"on": "true", "yes": "true", "off": "false", "no": "false"}


@dataclass(slots=True)
class Draft:
    """The parts of a suite whose keys and types are valid. Parts with problems are left out."""

    parts: dict[str, Any] = field(default_factory=dict)

    def entries(self, section: str) -> dict[str, Any]:
        """Valid entries of ``models``, ``tasks``, ``methods`` or ``attacks``."""
        found: dict[str, Any] = self.parts.get(section, {})
        return found

    def suite(self, path: str) -> Suite:
        """The suite. Call this only if no problem was found."""
        # Every part was validated by itself already; validating the whole would reject nothing more.
        return Suite.model_construct(path=path, **self.parts)


def build(document: Document) -> Draft:
    """Validate every part; problems are reported to the document."""
    draft = Draft()
    known = [*_SCALARS, *SECTIONS, "include"]
    for key in document.value:
        if key not in known:
            document.report((key,), "unknown key", suggestion(key, known))
    for key in REQUIRED:
        if key not in document.value and not (key == "tasks" and "unlearning" in document.value):
            document.report((), f"key {key!r} is missing")
    for key in _SCALARS:
        if key in document.value:
            _scalar(document, draft, key)
    for section, (kind, named) in SECTIONS.items():
        if section not in document.value:
            continue
        value = document.value[section]
        if not isinstance(value, dict):
            expected = "a mapping from names to entries" if named else "a mapping of keys"
            document.report((section,), f"must be {expected}", _as_mapping(value) if named else "")
        elif named:
            draft.parts[section] = _entries(document, section, kind)
        elif (model := _model(document, kind, value, (section,))) is not None:
            draft.parts[section] = model
    return draft


def _entries(document: Document, section: str, kind: type[BaseModel]) -> dict[str, Any]:
    found = {}
    if not document.value[section] and section in REQUIRED:
        document.report((section,), "is empty: there is nothing to run")
    for name, value in document.value[section].items():
        model = _model(document, kind, {} if value is None else value, (section, name))
        if model is not None:
            found[name] = model
    return found


def _as_mapping(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], str):
        return f"write '{value[0]}: {{}}', one such line for each"
    return ""


def _scalar(document: Document, draft: Draft, key: str) -> None:
    hint = Suite.model_fields[key].rebuild_annotation()
    try:
        value = document.value[key]
        draft.parts[key] = TypeAdapter(hint).validate_python(_tuples(value), strict=True)
    except ValidationError as error:
        for detail in error.errors():
            _explain(document, None, (key,), detail)


def _model(document: Document, kind: type[BaseModel], value: Any, path: KeyPath) -> BaseModel | None:
    try:
        return kind.model_validate(_lists_as_tuples(kind, value))
    except ValidationError as error:
        for detail in error.errors():
            _explain(document, kind, path, detail)
        return None


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _lists_as_tuples(kind: type[BaseModel], value: Any) -> Any:
    """Convert lists to tuples where the model has a tuple: YAML has lists only, and validation is strict."""
    if not isinstance(value, dict):
        return value
    changed = dict(value)
    for name, spec in kind.model_fields.items():
        if name in changed and "tuple[" in str(spec.annotation):
            changed[name] = _tuples(changed[name])
        for nested in _nested(spec.annotation):
            if name in changed and isinstance(changed[name], dict) and nested.__name__ != "Range":
                changed[name] = _lists_as_tuples(nested, changed[name])
    return changed


def _nested(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _nested(inner)]


def _explain(document: Document, kind: type[BaseModel] | None, base: KeyPath, detail: ErrorDetails) -> None:
    """Report one pydantic error in terms of the suite file, at the deepest key that exists in the file."""
    path, models, value = base, [kind] if kind else [], _at(document.value, base)
    for part in detail["loc"]:
        inside = isinstance(value, dict) and part in value
        inside = inside or (isinstance(value, list) and isinstance(part, int) and part < len(value))
        if not inside:  # pydantic also names branches of unions, which are not keys of the file
            continue
        path, value = (*path, part), value[part]
        fields = [m.model_fields[part] for m in models if isinstance(part, str) and part in m.model_fields]
        models = [n for f in fields for n in _nested(f.annotation)] if fields else models
    document.report(path, *_words(detail, models, value, path))


def _at(value: Any, path: KeyPath) -> Any:
    for part in path:
        value = value[part]
    return value


def _words(detail: ErrorDetails, models: list[type[BaseModel]], value: Any, path: KeyPath) -> tuple[str, str]:
    kind = detail["type"]
    if kind == "extra_forbidden":
        valid = sorted({name for m in models for name in m.model_fields})
        return "unknown key", nearest(str(path[-1]), valid).removeprefix("; ")
    if kind == "missing":
        return f"key {detail['loc'][-1]!r} is missing", ""
    if kind == "literal_error":
        choices = detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"must be one of {', '.join(choices)}, not {_shown(value)}", _near(value, choices)
    if kind.startswith("union_tag") and path[-1:] == ("train_on",):
        others = "{reward: NAME} or {bottleneck: FORM}"
        return f"must be loss, accuracy, f1, {others}, not {_shown(value)}", ""
    if kind in _TYPES:
        hint = ""
        if kind == "bool_type" and isinstance(value, str) and value in _YAML_11:
            hint = f"write {_YAML_11[value]} (in YAML 1.2 {value!r} is text)"
        return f"{_TYPES[kind]}, not {_shown(value)}", hint
    if kind == "value_error":
        return str(detail["ctx"]["error"]), ""
    return detail["msg"].replace("Input should be", "must be") + f", not {_shown(value)}", ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."


def _near(value: Any, choices: list[str]) -> str:
    found = suggestion(value, choices) if isinstance(value, str) else ""
    return found if found.startswith("did you mean") else ""
