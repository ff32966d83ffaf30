"""Sets the parts of a suite aside whose plugin cannot be imported, so that the rest is planned and run.

The plugin's task, attack, objective, probe or tracker is removed from the draft, and so are the cells of the
suite (a method on a task) that need a part which cannot be imported. Their runs are planned as *unloadable*
(:class:`zobench.suite.plan.UnloadableRun`) with the parameters that the file gives, because only the plugin's
class knows the defaults of the others. For the same reason such a run has no identity. ``zobench run``
records its failure under a placeholder (:func:`zobench.spec.placeholder`), which follows from the suite file
alone: the same call finds it again, and no result can have this id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zobench import plugins
from zobench.plugins import Kind
from zobench.spec import Component
from zobench.suite.problems import KeyPath
from zobench.suite.schema import AttackEntry, MethodEntry, ObjectiveEntry, TaskEntry, Unloadable
from zobench.suite.source import Document
from zobench.suite.structure import Draft
from zobench.trained_on import RewardRef

Errors = dict[str, str]
"""Name of an entry of the suite -> why its plugin cannot be imported."""


class _Imports:
    """Why plugins cannot be imported; each one is tried once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Kind, str], str] = {}

    def problem(self, kind: Kind, name: str) -> str:
        """The error and what to do; empty for a plugin that can be imported, and for all other names."""
        if (kind, name) not in self._found:
            self._found[kind, name] = _problem(kind, name)
        return self._found[kind, name]

    def problems(self, kind: Kind, entries: Mapping[str, Any]) -> Errors:
        """The entries of a section whose plugin cannot be imported."""
        key = kind.removesuffix("s")
        found = {name: self.problem(kind, getattr(entry, key) or name) for name, entry in entries.items()}
        return {name: problem for name, problem in found.items() if problem}


def _problem(kind: Kind, name: str) -> str:
    known = plugins.entries(kind)
    if name not in known or known[name].origin == "builtin":
        return ""
    origin = known[name].origin
    try:
        found = known[name].load()
    except ValueError as error:
        return f"{error}; repair or reinstall {origin}, then run the suite again"
    if lacking := known[name].lacks(kind, found):
        return f"{lacking}; repair {origin}, then run the suite again"
    return ""


def set_aside(document: Document, draft: Draft) -> None:
    """Move what cannot be loaded to the draft's part ``unloadable``. Nothing changes if every plugin can be
    imported."""
    imports, section = _Imports(), draft.parts.get("unlearning")
    blocks = draft.entries("tasks") if section is None else section.objectives
    lost = imports.problems("tasks" if section is None else "objectives", blocks)
    lost |= {n: p for n, e in draft.entries("tasks").items() if (p := _inner_problem(imports, e.params))}
    parts = {
        "blocks": lost,
        "attacks": imports.problems("attacks", draft.entries("attacks")),
        "probes": {} if section is None else imports.problems("probes", section.probes),
    }
    trackers = {n: p for n in draft.parts.get("trackers", ()) if (p := imports.problem("trackers", n))}
    errors = {}
    for name, entry in draft.entries("methods").items():
        mine = _row_problem(imports, name, entry)
        cells = {b: _cell(draft, name, entry, b, mine, parts) for b in blocks if _runs_on(entry, b)}
        if found := {b: _placed(document, *why) for b, why in cells.items() if why is not None}:
            errors[name] = found
    if not (errors or trackers or any(parts.values())):
        return
    draft.parts["unloadable"] = Unloadable(
        methods={name: draft.entries("methods")[name] for name in errors},
        blocks={n: Component(name=_target(blocks[n]) or n, params=blocks[n].params) for n in lost},
        attacks={name: draft.entries("attacks")[name] for name in parts["attacks"]},
        errors=errors,
        trackers=trackers,
    )
    _remove(draft, blocks, errors, {**parts, "trackers": trackers})


def _inner_problem(imports: _Imports, params: Mapping[str, Any]) -> str:
    """Of the task inside a task that wraps another."""
    inner, further = params.get("of"), params.get("params")
    if not isinstance(inner, str):
        return ""
    further = further if isinstance(further, dict) else {}
    return imports.problem("tasks", inner) or _inner_problem(imports, further)


def _row_problem(imports: _Imports, name: str, entry: MethodEntry) -> tuple[str, str] | None:
    """Key below the method's entry, and the error of its method or reward."""
    if problem := imports.problem("methods", entry.method or name):
        return "method", problem
    ref = entry.train_on
    if isinstance(ref, RewardRef) and (problem := imports.problem("rewards", ref.reward)):
        return "train_on", problem
    return None


def _cell(
    draft: Draft,
    name: str,
    entry: MethodEntry,
    block: str,
    mine: tuple[str, str] | None,
    parts: Mapping[str, Errors],
) -> tuple[KeyPath, str] | None:
    """Key and error of the first part that a method on a task (or objective) needs and that cannot be
    loaded."""
    if mine is not None:
        return ("methods", name, mine[0]), mine[1]
    unlearning = draft.parts.get("unlearning") is not None
    if block in parts["blocks"]:
        return (("unlearning", "objectives", block) if unlearning else ("tasks", block)), parts["blocks"][
            block
        ]
    for probe, problem in parts["probes"].items():
        return ("unlearning", "probes", probe), problem
    for attack, problem in parts["attacks"].items():
        if _attacked(draft.entries("attacks")[attack], attack, entry, block):
            return ("attacks", attack), problem
    return None


def _attacked(attack: AttackEntry, name: str, entry: MethodEntry, block: str) -> bool:
    chosen = entry.attacks if isinstance(entry.attacks, bool) else name in entry.attacks
    return chosen and (attack.tasks is None or block in attack.tasks)


def _runs_on(entry: MethodEntry, block: str) -> bool:
    return entry.tasks is None or block in entry.tasks


def _placed(document: Document, at: KeyPath, problem: str) -> str:
    return f"{document.place(at)}: {problem}"


def _target(entry: TaskEntry | ObjectiveEntry) -> str | None:
    return entry.task if isinstance(entry, TaskEntry) else entry.objective


def _remove(
    draft: Draft, blocks: Mapping[str, Any], errors: Mapping[str, Errors], lost: Mapping[str, Errors]
) -> None:
    """Leave the rest of the suite in the draft."""
    methods = draft.entries("methods")
    for name, cells in errors.items():
        left = tuple(b for b in methods[name].tasks or blocks if b not in cells)
        if left:
            methods[name] = methods[name].model_copy(update={"tasks": left})
        else:
            del methods[name]
    for name in lost["attacks"]:
        del draft.entries("attacks")[name]
    section = draft.parts.get("unlearning")
    kept = {name: entry for name, entry in blocks.items() if name not in lost["blocks"]}
    if section is None:
        draft.parts["tasks"] = kept
    else:
        probes = {name: probe for name, probe in section.probes.items() if name not in lost["probes"]}
        draft.parts["unlearning"] = section.model_copy(update={"objectives": kept, "probes": probes})
    if lost["trackers"]:
        draft.parts["trackers"] = tuple(n for n in draft.parts["trackers"] if n not in lost["trackers"])
