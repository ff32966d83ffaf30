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
from zobench.report.methods import ARXIV, citation
from zobench.report.ranking import rank
from zobench.studies import committed, conformance, fewshot, markdown, real_models

ORDERS = {
    "zeroth": "zeroth order: losses only",
    "forward-mode": "forward mode: directional derivatives",
    "first": "first order: gradients by backpropagation",
    "mixed": "mixed: losses and gradients",
    "none": "none: the weights stay as they are",
}
CODE = {
    "1910.06513": "KaidiXu/ZO-AdaMM",
    "2303.03751": "TZW1998/Taming-Stable-Diffusion-with-Human-Ranking-Feedback",
    "2305.17333": "princeton-nlp/MeZO",
    "2310.02025": "OPTML-Group/DeepZero",
    "2312.15184": "MathIsAll/ZO-AdaMU",
    "2402.11592": "ZO-Bench/ZO-LLM",
    "2402.15173": "Yanjun-Zhao/HiZOO",
    "2404.08080": "amazon-science/mezo_svrg",
    "2409.15520": "jmha02/MobiZO",
    "2410.07698": "optsuite/LOZO",
    "2410.08989": "zimingyy/SubZero",
    "2410.09823": "WangFei-2019/LeZO",
    "2502.01014": "shuyao95/R-AdaZO",
    "2502.03304": "Skilteee/DiZO",
    "2505.13430": "maifoundations/QZO",
    "2506.09034": "DKmiyan/FZOO",
    "2506.20990": "yifanycc/sharpzo",
    "2510.00419": "ASTRAL-Group/ZO_Fine_tuner",
    "2511.02757": "LejsDeen/ConMeZO",
    "2511.07971": "hseung88/loren",
    "2601.01452": "AeonianQuill/BSZO",
    "2601.04710": "stan-anony/MeZO-GV",
    "2602.03120": "dibbla/Quantized-Evolution-Strategies",
    "2602.17155": "OPTML-Group/ZO-Muon",
    "2605.00650": "shawnnn3di/AdaMeZO",
    "2605.09034": "MOFA-LAB/ZO-MOPI",
    "2606.02857": "LiyanTan111/GRZO-public",
}
"""Paper -> repository on GitHub with code for it that was read for this implementation."""
READ_AT = re.compile(r"\b([\w-]+/[\w.-]+)@([0-9a-f]{7})\b")
"""Repository and commit, as notes of methods name them."""
SENTENCE = re.compile(r"[A-Z][a-z]+ [a-z]+ [a-z]")
WRAPPED = 80
"""Shortest line of a wrapped paragraph; lines of formulas are shorter, or do not end a sentence."""


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
        " · ".join([f"`{name}`", linked(card.source), *_code(card.source), ORDERS[card.order]]),
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
            *(linked(prose(told)) for told in (card.notes, card.decay) if told),
        ]
    parts += ["## How to cite", _cite(name, method)]
    return "\n\n".join(parts) + "\n"


def linked(source: str) -> str:
    """A text with every arXiv id, and every repository that is named with its commit, as a link."""
    text = READ_AT.sub(r"[\1@\2](https://github.com/\1/tree/\2)", source)
    return ARXIV.sub(r"[\1](https://arxiv.org/abs/\1)", text)


def prose(text: str) -> str:
    """A paragraph of a docstring as Markdown: what has a meaning there, and none here, is escaped."""
    parts = re.split(r"(`[^`]*`)", text.replace("``", "`"))
    plain = (re.sub(r"([\\*_\[\]#|])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2])
    return "".join(x for pair in zip(plain, [*parts[1::2], ""], strict=True) for x in pair)


def described(text: str) -> list[str]:
    """The paragraphs of a docstring as Markdown, formulas as they are laid out."""
    found: list[str] = []
    formulas: list[str] = []
    for paragraph in [*inspect.cleandoc(text).split("\n\n"), ""]:
        lines = paragraph.splitlines()
        wrapped = all(len(line) >= WRAPPED for line in lines[:-1])
        sentence = paragraph.endswith((".", ":")) or (len(lines) > 1 and SENTENCE.match(paragraph))
        is_prose = sentence and wrapped and not paragraph.startswith(" ")
        if paragraph and not is_prose:
            formulas.append(paragraph.replace("``", ""))
            continue
        if formulas:
            found.append("```text\n" + "\n\n".join(formulas) + "\n```")
            formulas = []
        if paragraph:
            found.append(linked(prose(" ".join(lines))))
    return found


def _code(source: str) -> list[str]:
    names = [CODE[paper] for paper in ARXIV.findall(source) if paper in CODE]
    return [f"public code: {', '.join(f'[{n}](https://github.com/{n})' for n in names)}"] if names else []


def _described(method: Any) -> str:
    """The text of the method's module, which states the algorithm, and of its class."""
    own = (inspect.getdoc(method) or "").replace("; see the module's docstring", "")
    texts = [own, sys.modules[method.__module__].__doc__ or ""]
    return "\n\n".join(part for text in texts for part in described(text))


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
    rewards = committed.read("rewards")
    rewards = rewards[rewards["purpose"] == "result"].assign(task="countdown")
    real = real_models.finals(real_models.FEWSHOT).rename(columns={"value": "accuracy"}).assign(forwards=0)
    for table, title in (
        (
            committed.read("fewshot-real"),
            "[SST-2, classification head](../index.md#what-the-default-suite-gives)",
        ),
        (real, "[SmolLM2-135M, SST-2 and TREC](../real-models.md)"),
        (committed.read("queries-to-target"), "[24 rows at 600 forward passes](../claims.md)"),
        (committed.read("vision"), "[MNIST, Vision Transformer](../systems.md)"),
        (rewards, "[reward countdown](../rewards.md)"),
    ):
        for row, line in _last(table).items():
            found.setdefault(row, []).append([title, *line])
    for row in committed.read("flowopt")["row"].unique():
        found.setdefault(row, []).append(
            ["[start code of a flow](../systems.md)", "in decibels, see there", "–", "–"]
        )
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

    card = method.card
    papers = ARXIV.findall(card.source)
    told = f"Source: {card.source}. Cite it, and zobench with the method's revision:"
    if papers:
        told = (
            f"Cite the paper ({linked(card.source)}), and zobench with the method's revision. No titles and "
            "authors of papers are kept here: arXiv has the complete entry at the address in the comment."
        )
    entries = citation(name, card.title, papers, str(card.revision), __version__)
    return f"{told}\n\n```bibtex\n{entries}\n```"
