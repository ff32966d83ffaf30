"""Membership inference by attack iterations (arXiv 2506.02711): members take more of them.

The score of an example is the number of tries that an attack needs until it is answered wrongly: fixed to the
budget plus one where every try fails, and to 0 where it is answered wrongly without an edit. Training rows
are members, test rows are not. Only the abstract of the paper is available: which attack builds the
adversarial text is ours (random typos, one per try, decision based, so the model may be a black box).

The attack itself runs like any other. It also attacks as many training rows and reports the area under the
curve, and the true-positive rate at low false-positive rates where the sample is large enough, beside the
loss, zlib, min-k and min-k++ scores of the same rows: metrics ``auc:SCORE``, and ``tpr_at_1_fpr:SCORE`` and
``tpr_at_0.1_fpr:SCORE`` from 100 and 1,000 non-members on. Token scores are over the gold answer's tokens,
which is what training saw; an answer of one token has equal loss, min-k and (standardized) min-k++ orders at
best. Non-members must come from the members' distribution: what separates the two sets otherwise counts as
membership too. Null: the meaning-preserving edits of equal number, whose iterations separate members as far
as that needs no attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from zobench.attack_card import AttackCard, Column, Table
from zobench.attacks.base import AttackRecord, Measure, Trained
from zobench.attacks.char_typos import CharTypos, CharTyposConfig
from zobench.metrics.two_samples import auc, tpr_at_fpr
from zobench.parameters import Count


@dataclass(frozen=True, kw_only=True)
class IterationsConfig(CharTyposConfig):
    edits: Count = 1
    tries: Count = 32
    members: Count = 200
    """Most training rows, and most test rows, that are compared."""


RATES = (0.01, 0.001)
MEMBERSHIP = Table(
    name="membership",
    title="Membership inference",
    text="How well each score tells the rows that a run was trained on from test rows: area under the curve "
    "(50: not at all) and the share of members found where at most 1 % and 0.1 % of the others are mistaken "
    "for one, on samples large enough to tell; means over runs.",
    columns=(
        Column("auc", "AUC"),
        Column("tpr_at_1_fpr", "Found at 1 %"),
        Column("tpr_at_0.1_fpr", "Found at 0.1 %"),
    ),
    key="Score",
)


class Iterations(CharTypos):
    """Typos one at a time, counted. Cost: 1 + ``tries`` queries per example at most."""

    Config = IterationsConfig
    name: ClassVar[str] = "imia-2506.02711"
    card: ClassVar[AttackCard] = AttackCard(tables=(MEMBERSHIP,))
    config: IterationsConfig

    def measures_of_training(self, trained: Trained) -> Sequence[Measure]:
        """Area under the curve and true-positive rates of every score; of iterations alone where no token
        scores can be had."""
        most = self.config.members
        columns: dict[str, list[Sequence[float]]] = {"iterations": []}
        for rows in (trained.members[:most], trained.others[:most]):
            found = self.run(trained.victim, rows, trained.context)
            columns["iterations"].append([-float(i) for i in iterations(found, self.config.tries)])
            for name, values in trained.token_scores(rows).items():
                columns.setdefault(name, []).append(values)
        measures: list[Measure] = []
        for name, (inside, outside) in columns.items():
            n = len(inside) + len(outside)
            measures.append(Measure(f"auc:{name}", auc(inside, outside), n))
            for rate in RATES:
                if len(outside) * rate >= 1:
                    share = tpr_at_fpr(inside, outside, rate)
                    measures.append(Measure(f"tpr_at_{100 * rate:g}_fpr:{name}", share, len(inside)))
        return measures


def iterations(records: Sequence[AttackRecord], tries: int) -> list[int]:
    """Tries until the answer was wrong: 0 without an edit, ``tries`` + 1 where none of them did it."""
    found = []
    for r in records:
        if not r.clean.correct:
            found.append(0)
        else:
            found.append(r.queries - 1 if r.outcome == "success" else tries + 1)
    return found
