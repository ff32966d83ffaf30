"""OAT-Rephrase (arXiv 2506.17264): training texts rewritten for zeroth-order optimization, accepted by a
judge.

A *rewriter* proposes other wordings of one text field. A *judge* decides for each whether the meaning is the
same, and scores how well it suits training. The best accepted proposal replaces the text; an example without
one is left unchanged. Ids, labels and answers never change. Only training examples should be rephrased:
rewording validation or test examples would change the task.

To train on the result, call ``save(rephrase(rows, ...), file)`` and use the task ``rephrased`` in a suite.

Both are plain callables. ``prompted_rewriter`` and ``prompted_judge`` build them from any ``generate(prompt)
-> text`` (a local model, an API). The prompts are our own, because the paper's were not found. ``generate``
is called once per distinct input. Cost: no forward pass of the trained model.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zobench.data.example import Example, Splits
from zobench.data.files import parsed, utf8


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's answer about one proposal.

    Attributes:
        same: whether it keeps the meaning, the label and the answer.
        score: preference among accepted proposals; the highest is chosen.
        reason: explanation, for the record.
    """

    same: bool
    score: float = 0.0
    reason: str = ""


Rewriter = Callable[[Example, str], Sequence[str]]
"""(example, name of the text field) -> proposed texts."""

RephraseJudge = Callable[[Example, str, str], Verdict]
"""(example, name of the text field, proposal) -> verdict."""

Generate = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Change:
    """The result for one example.

    Attributes:
        id: the example's id.
        before, after: its text; equal if nothing was accepted.
        proposed: number of judged proposals.
        reason: the judge's reason for the accepted proposal, or why the text was kept.
    """

    id: str
    before: str
    after: str
    proposed: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rephrased:
    """Rewritten examples in order, one ``Change`` per example, and the number of rewriter and judge calls."""

    rows: tuple[Example, ...]
    changes: tuple[Change, ...]
    calls: int

    @property
    def share(self) -> float:
        """Share of the examples whose text changed."""
        return sum(c.before != c.after for c in self.changes) / len(self.changes) if self.changes else 0.0


def rephrase(rows: Sequence[Example], field: str, rewriter: Rewriter, judge: RephraseJudge) -> Rephrased:
    """Each example with its ``field`` replaced by the best proposal that the judge accepts (the first, if
    several are equally good).

    Proposals that are empty, equal to the text or repeated are not judged.

    Raises:
        ValueError: an example lacks this text field, or the judge returns no ``Verdict`` or a NaN score.
    """
    kept: list[Example] = []
    changes: list[Change] = []
    calls = 0
    for row in rows:
        if field not in row.text:
            raise ValueError(f"example {row.id!r} has no text field {field!r}; it has {sorted(row.text)}")
        proposals = _distinct(rewriter(row, field), row.text[field])
        verdicts = [_checked(judge(row, field, proposal), row) for proposal in proposals]
        calls += 1 + len(verdicts)
        change = _choose(row, field, proposals, verdicts)
        changes.append(change)
        kept.append(row if change.after == change.before else _rewritten(row, field, change.after))
    return Rephrased(tuple(kept), tuple(changes), calls)


def rephrase_training(splits: Splits, field: str, rewriter: Rewriter, judge: RephraseJudge) -> Splits:
    """The splits with rephrased training examples; validation, test and demonstrations are unchanged."""
    return dataclasses.replace(splits, train=rephrase(splits.train, field, rewriter, judge).rows)


def save(found: Rephrased, file: Path) -> None:
    """Write the accepted texts, one JSON line each with ``before``, ``after`` and ``reason``, for the task
    ``rephrased``."""
    lines = {c.before: c for c in found.changes if c.before != c.after}
    kept = [{"before": c.before, "after": c.after, "reason": c.reason} for c in lines.values()]
    file.write_text("".join(json.dumps(k, ensure_ascii=False) + "\n" for k in kept), encoding="utf-8")


def accepted(rows: Sequence[Example], field: str, file: Path) -> list[Example]:
    """The examples with their texts replaced by those that ``save`` wrote; others are unchanged.

    Raises:
        ValueError: a line of the file was not written by ``save``.
    """
    after: dict[str, str] = {}
    for number, line in enumerate(utf8(file).split("\n"), start=1):
        if not line:
            continue
        kept = parsed(line, f"{file}:{number}")
        try:
            after[kept["before"]] = str(kept["after"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{file}:{number}: not a rephrasing: {error!r}") from error
    return [_rewritten(r, field, after[r.text[field]]) if r.text.get(field) in after else r for r in rows]


def _distinct(proposals: Sequence[str], original: str) -> list[str]:
    cleaned = (" ".join(p.split()) if "\n" not in original else p.strip() for p in proposals)
    found = dict.fromkeys(p for p in cleaned if p)
    found.pop(original, None)
    return list(found)


def _checked(verdict: Verdict, row: Example) -> Verdict:
    if not isinstance(verdict, Verdict) or verdict.score != verdict.score:
        raise ValueError(f"the judge must return a Verdict with a score, for {row.id!r} it gave {verdict!r}")
    return verdict


def _choose(row: Example, field: str, proposals: Sequence[str], verdicts: Sequence[Verdict]) -> Change:
    text = row.text[field]
    accepted = [(v, p) for v, p in zip(verdicts, proposals, strict=True) if v.same]
    if not accepted:
        return Change(
            row.id, text, text, len(proposals), "nothing accepted" if proposals else "nothing proposed"
        )
    verdict, best = max(accepted, key=lambda pair: pair[0].score)
    return Change(row.id, text, best, len(proposals), verdict.reason)


def _rewritten(row: Example, field: str, text: str) -> Example:
    changed = row.with_text(field, text)
    return dataclasses.replace(changed, meta={**row.meta, "rephrased_from": row.text[field]})


REWRITE = """Rewrite the text below {count} times so that a language model learns from it more easily: plain
common words, one idea per sentence, the evidence for the answer stated clearly. Keep the meaning, all names
and all numbers. Add nothing and leave nothing out. Write each version on a line of its own, numbered.

Text: {text}
"""

JUDGE = """Do these two texts say the same, so that any question about one has the same answer for the other?
If yes, how clear is the second one, from 1 (confusing) to 5 (very clear)?
Answer with "no", or with "yes" and the number.

First: {before}
Second: {after}
"""


def prompted_rewriter(generate: Generate, count: int = 3) -> Rewriter:
    """A rewriter that prompts a language model for ``count`` versions and reads its numbered lines."""
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    seen: dict[str, list[str]] = {}

    def rewriter(row: Example, field: str) -> Sequence[str]:
        text = row.text[field]
        if text not in seen:
            answer = generate(REWRITE.format(count=count, text=text))
            seen[text] = re.findall(r"^\s*\d+[.):]\s*(\S.*?)\s*$", answer, flags=re.MULTILINE)[:count]
        return seen[text]

    return rewriter


def prompted_judge(generate: Generate) -> RephraseJudge:
    """A judge that prompts a language model for yes or no and a clarity from 1 to 5; any other answer counts
    as no."""
    seen: dict[tuple[str, str], Verdict] = {}

    def judge(row: Example, field: str, proposal: str) -> Verdict:
        key = (row.text[field], proposal)
        if key not in seen:
            answer = generate(JUDGE.format(before=key[0], after=proposal)).strip()
            found = re.match(r"yes\b\D*([1-5])?", answer, flags=re.IGNORECASE)
            clarity = float(found.group(1) or 0) if found else 0.0
            seen[key] = Verdict(found is not None, clarity, answer)
        return seen[key]

    return judge
