"""One page of the site per built-in method, generated from its class and the committed results.

A page has the formula, the declared cost, the parameters with their defaults, the paper, what the conformance
kit found, where the method stands in the results of this repository, and how to cite it. No number is
computed that the results do not contain.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from functools import cache
from typing import Any

import pandas as pd

from zobench.parameter_meanings import meanings
from zobench.plugins import lookup
from zobench.report.leaderboard import load
from zobench.report.ranking import rank
from zobench.studies import committed, conformance, fewshot, markdown

ARXIV = re.compile(r"\b(\d{4}\.\d{5})\b")
ORDERS = {
    "zeroth": "zeroth order: losses only",
    "forward-mode": "forward mode: directional derivatives",
    "first": "first order: gradients by backpropagation",
    "mixed": "mixed: losses and gradients",
    "none": "none: the weights stay as they are",
}
CITE = """\
```bibtex
@misc{zobench,
  title  = {zobench: a benchmark of zeroth-order optimizers and of the robustness of what they train},
  author = {{The zobench authors}},
  year   = {2026},
  note   = {Version VERSION, method NAME, revision REVISION}
}
```"""


def index() -> str:
    """The page that lists all methods."""
    rows = []
    for name in conformance.builtin():
        card = lookup("methods", name).card
        rows.append([f"[`{name}`]({name}.md)", card.title, card.source, ORDERS[card.order].partition(":")[0]])
    head = "Generated from the classes. Cost and conformance of all in one table: [methods](../methods.md)."
    table = markdown.table(("method", "title", "source", "order"), rows)
    return "\n".join(["# Every method", "", head, "", *table, ""])


def page(name: str) -> str:
    """The page of one method as Markdown."""
    method = lookup("methods", name)
    card = method.card
    parts = [
        f"# {card.title}",
        f"`{name}` · {linked(card.source)} · {ORDERS[card.order]}",
        "```text\n" + card.formula + "\n```",
        _described(method),
        "## Cost",
        *_cost(method),
        "## Parameters",
        "\n".join(_parameters(method.Config)),
        "## Where it stands",
        "\n".join(_standing(name)),
        "## Conformance",
        _checked(name),
    ]
    if card.notes or card.decay:
        parts += [
            "## Choices and differences from the authors' code",
            *filter(None, (card.notes, card.decay)),
        ]
    parts += ["## How to cite", _cite(name, method)]
    return "\n\n".join(parts) + "\n"


def linked(source: str) -> str:
    """The source with every arXiv id as a link."""
    return ARXIV.sub(r"[\1](https://arxiv.org/abs/\1)", source)


def _described(method: Any) -> str:
    """The text of the method's module, which states the algorithm, and of its class."""
    text = [inspect.getdoc(method) or ""]
    module = sys.modules[method.__module__]
    if module.__doc__:
        text.append("```text\n" + inspect.cleandoc(module.__doc__).replace("``", "") + "\n```")
    return "\n\n".join(text)


def _cost(method: Any) -> list[str]:
    cost = method.cost(method.Config())
    card = method.card
    lines = [
        ["forward passes per step", f"{cost.forwards_per_step:g}"],
        ["largest step", f"{cost.max_forwards_in_step:g}"],
        ["forward passes before the first step", f"{cost.preparation_forwards:g}"],
        ["sweeps over the tuned parameters per step", f"{cost.passes_per_step:g}"],
        ["state, bytes per tuned parameter", f"{cost.state_bytes_per_parameter:g}"],
        ["parameter spaces", "any" if card.spaces == ("*",) else ", ".join(card.spaces)],
        ["weights can be rebuilt from", card.replay],
    ]
    said = (
        "With the default parameters. One forward pass is the loss of one minibatch; a gradient counts as 3."
    )
    return [said, "\n".join(markdown.table(("declared", "value"), lines))]


def _parameters(config: type) -> Iterable[str]:
    found = [[f"`{m.name}`", f"`{m.default}`", m.type, m.meaning] for m in meanings(config)]
    return (
        markdown.table(("parameter", "default", "allowed values", "meaning"), found) if found else ["None."]
    )


def _checked(name: str) -> str:
    body = conformance.kept().get(name)
    if body is None:
        return f"Not checked yet: `zobench check {name}`."
    counts = [outcome for outcome, _ in body["checks"].values()]
    told = f"`zobench check {name}`: {counts.count('pass')} checks passed, {counts.count('FAIL')} failed, "
    skipped = [
        f"- `{check}`: {said}" for check, (outcome, said) in body["checks"].items() if outcome == "skip"
    ]
    told += f"{counts.count('skip')} do not apply" + (":" if skipped else ".")
    return "\n".join([told, "", *skipped]).rstrip()


@cache
def standings() -> dict[str, list[list[str]]]:
    """Row -> (results, place, mean accuracy in %, seeds) in every committed comparison of methods."""
    finals = committed.read(fewshot.NAME)
    clean = finals[finals["condition_kind"] == "clean"]
    about: dict[str, Any] = {"usable": True, "flag": "", "status": "done", "primary_metric": "accuracy"}
    ranking = rank(clean.assign(block=clean["task"], label=clean["task"], **about), load(fewshot.NAME), {})
    found: dict[str, list[list[str]]] = {}
    for s in ranking.standings:
        place = "baseline" if s.rank is None else f"{s.rank[0]} ({s.rank[1]}–{s.rank[2]})"
        seeds = clean[clean["row"] == s.row]["seed"].nunique()
        found.setdefault(s.row, []).append(
            [
                "[default suite](../index.md#what-the-default-suite-gives)",
                place,
                markdown.percent(s.interval.value if s.interval else None),
                str(seeds),
            ]
        )
    for file, title in (
        ("fewshot-real", "[SST-2, classification head](../index.md#what-the-default-suite-gives)"),
        ("queries-to-target", "[24 rows at 600 forward passes](../claims.md)"),
    ):
        for row, line in _last(committed.read(file)).items():
            found.setdefault(row, []).append([title, *line])
    return found


def _last(table: pd.DataFrame) -> dict[str, list[str]]:
    """Row -> (``place of the mean`` or ``baseline``, mean accuracy, seeds) at the end of training."""
    ends = table.sort_values("forwards").groupby(["row", "group", "task", "seed"], as_index=False).last()
    tasks = ends.groupby(["row", "group", "task"], as_index=False)["accuracy"].mean()
    means = tasks.groupby(["row", "group"])["accuracy"].mean().sort_values(ascending=False, kind="stable")
    ranked = [row for row, group in means.index if group != "control"]
    seeds = ends.groupby("row")["seed"].nunique()
    return {
        row: [
            "baseline" if group == "control" else f"{ranked.index(row) + 1} of {len(ranked)} by the mean",
            markdown.percent(value),
            str(seeds[row]),
        ]
        for (row, group), value in means.items()
    }


def _standing(name: str) -> list[str]:
    lines = standings().get(name)
    if not lines:
        return ["It is in no committed comparison yet."]
    head = ("results", "place", "mean accuracy, %", "seeds")
    return [
        *markdown.table(head, lines),
        "",
        "A place by the mean does not say that two methods differ: the linked pages say what is decided.",
    ]


def _cite(name: str, method: Any) -> str:
    from zobench import __version__

    ids = ARXIV.findall(method.card.source)
    papers = f"Cite the paper ({linked(method.card.source)}), and zobench with the method's revision:"
    if not ids:
        papers = f"Source: {method.card.source}. Cite zobench with the method's revision:"
    filled = CITE.replace("VERSION", __version__).replace("NAME", name)
    return papers + "\n\n" + filled.replace("REVISION", str(method.card.revision))
