"""Rules of fair tuning: default search spaces, successive halving, and the rulesets.

``ruleset: tuned``: every row of group ``method`` is tuned in the suite, all with the same number of trials,
tuning seeds and rungs. ``ruleset: self-tuned``: no row is tuned or sets parameters; all methods run with
their defaults. ``open`` (the default): a row may be tuned, have given parameters or its defaults, but all
tuned rows have the same number of trials, tuning seeds and rungs. Baselines (group ``control``) are exempt
from all three. The tuning of each row is recorded.
"""

from __future__ import annotations

from typing import Any

from zobench import plugins
from zobench.parameters import configure, literal
from zobench.suite.problems import KeyPath
from zobench.suite.schema import MethodEntry, Range, Tune
from zobench.suite.source import Document
from zobench.suite.structure import Draft
from zobench.suite.tuning import rungs

STEPS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Default grid of a learning rate: these factors times the method's default, a decade to either side."""


def with_default_spaces(draft: Draft) -> None:
    """Set the space of every ``tune:`` without ``space`` to the method's default search space."""
    methods = draft.entries("methods")
    for name, entry in methods.items():
        if entry.tune is not None and "space" not in entry.tune.model_fields_set:
            space = default_space(entry.method or name)
            tune = entry.tune.model_copy(update={"space": space})
            methods[name] = entry.model_copy(update={"tune": tune})


def default_space(method: str) -> dict[str, list[Any]]:
    """The default search space of a method: its ``search_space``, else learning rates around its default
    rate; empty for an unknown method and for one without a learning rate."""
    known = plugins.entries("methods")
    if method not in known:
        return {}
    found = known[method].load()
    if found.search_space:
        return {name: list(values) for name, values in found.search_space.items()}
    defaults = literal(configure(found.Config, {}))
    rate = defaults.get("lr")
    return {"lr": [float(f"{rate * s:.3g}") for s in STEPS]} if isinstance(rate, float) and rate > 0 else {}


def check_rules(document: Document, draft: Draft) -> None:
    """Report impossible successive halving, and every row that violates the suite's ruleset."""
    methods: dict[str, MethodEntry] = draft.entries("methods")
    for name, entry in methods.items():
        if entry.tune is not None and entry.tune.halving is not None:
            _check_halving(document, draft, ("methods", name, "tune", "halving"), entry)
    ruleset = draft.parts.get("ruleset", "open")
    ranked = {n: e for n, e in methods.items() if e.group == "method" and _trains(e.method or n)}
    if ruleset == "self-tuned":
        _check_self_tuned(document, ranked)
    elif ruleset == "tuned":
        _check_tuned(document, ranked)
    if "unlearning" not in document.value:  # check_unlearning has its own check, which includes baselines
        _check_alike(document, ranked)


def _check_halving(document: Document, draft: Draft, at: KeyPath, entry: MethodEntry) -> None:
    assert entry.tune is not None
    if entry.tune.sampler == "tpe":
        hint = "use sampler: grid or random"
        document.report(at, "cannot be combined with tpe, whose settings depend on earlier scores", hint)
        return
    budget = draft.parts.get("budget")
    forwards = entry.budget.forwards or (budget.forwards if budget is not None else None)
    settings = trials_of(entry.tune)
    if forwards is None or settings is None:
        return
    counts = [count for count, _ in rungs(settings, forwards, entry.tune.halving)]
    if settings < 3 or len(set(counts)) < len(counts):
        listed = ", ".join(map(str, counts))
        document.report(
            at, f"{settings} settings give rungs of {listed}, which must decrease", "use fewer rungs"
        )
    first = rungs(settings, forwards, entry.tune.halving)[0][1]
    dearest = _dearest_step(entry, str(at[1]))
    if first < dearest:
        message = f"the first rung of {first} forward passes is too small for one step, which costs {dearest}"
        document.report(at, message, "use fewer rungs, or a smaller factor")


def _dearest_step(entry: MethodEntry, name: str) -> int:
    known = plugins.entries("methods")
    if (entry.method or name) not in known:
        return 0
    method = known[entry.method or name].load()
    cost = method.cost(configure(method.Config, entry.params))
    return int(cost.max_forwards_in_step + cost.preparation_forwards)


def trials_of(tune: Tune) -> int | None:
    """Number of settings that are tried; ``None`` if a range leaves it undetermined."""
    if tune.trials is not None:
        return tune.trials
    points = 1
    for domain in tune.space.values():
        if isinstance(domain, Range):
            return None
        points *= len(domain)
    return points


def _trains(method: str) -> bool:
    known = plugins.entries("methods")
    return method in known and known[method].load().card.order != "none"


def _check_self_tuned(document: Document, ranked: dict[str, MethodEntry]) -> None:
    for name, entry in ranked.items():
        for key in ("params", "task_params", "sweep", "tune"):
            if getattr(entry, key):
                message = "ruleset self-tuned: methods run with their defaults"
                document.report(("methods", name, key), message, "remove it, or set 'group: control'")


def _check_tuned(document: Document, ranked: dict[str, MethodEntry]) -> None:
    for name, entry in ranked.items():
        if entry.tune is None:
            message = "ruleset tuned: every method is tuned in the suite"
            document.report(("methods", name), message, "add 'tune: {seeds: [...]}'")


def _check_alike(document: Document, ranked: dict[str, MethodEntry]) -> None:
    """Check that all tuned rows have the same tuning budget; this applies under every ruleset."""
    usual: tuple[str, tuple[Any, ...]] | None = None
    for name, entry in ranked.items():
        if entry.tune is None:
            continue
        mine = (trials_of(entry.tune), len(entry.tune.seeds), entry.tune.halving)
        usual = usual or (name, mine)
        if mine != usual[1]:
            message = f"{_told(mine)}, but {usual[0]!r} has {_told(usual[1])}"
            document.report(
                ("methods", name, "tune"),
                message,
                "all methods need the same tuning budget; rows with 'group: control' are exempt",
            )


def _told(what: tuple[Any, ...]) -> str:
    trials, seeds, halving = what
    text = f"{trials} trials on {seeds} seed{'' if seeds == 1 else 's'}"
    return text if halving is None else f"{text} in {halving.rungs} rungs by {halving.factor}"
