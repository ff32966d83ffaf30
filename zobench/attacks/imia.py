"""Membership inference by attack iterations (arXiv 2506.02711): members need more of them.

The score of an example is the number of tries that an attack needs until the answer is wrong. It is the
budget plus one if every try fails, and 0 if the answer is wrong without an edit. Training examples are
members, test examples are non-members. Only the abstract of the paper is available: the attack that builds
the adversarial text is our choice (random typos, one per try, reading only the answers, so the model may be
a black box).

The attack itself runs like any other. In addition it attacks as many training examples and reports the area
under the ROC curve, and the true-positive rate at low false-positive rates if the sample is large enough,
next to the loss, zlib, min-k and min-k++ scores of the same examples. The metrics are ``auc:SCORE``, and
``tpr_at_1_fpr:SCORE`` and ``tpr_at_0.1_fpr:SCORE`` from 100 and 1,000 non-members on. Token scores are over
the gold answer's tokens, the ones that training uses. For an answer of one token, loss, min-k and
(standardized) min-k++ give at best the same order. Non-members must come from the members' distribution:
any other difference between the two sets also counts as membership. Budget-matched random baseline (null):
equally many meaning-preserving edits; its AUC shows how well the two sets separate without an attack.
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
    """Maximum number of training examples, and of test examples, that are compared."""


RATES = (0.01, 0.001)
MEMBERSHIP = Table(
    name="membership",
    title="Membership inference",
    text="How well each score separates a run's training examples (members) from test examples: area under "
    "the ROC curve (50: chance) and the share of members found while at most 1 % and 0.1 % of the test "
    "examples are mistaken for members, on samples large enough for that rate; means over runs.",
    columns=(
        Column("auc", "AUC"),
        Column("tpr_at_1_fpr", "Found at 1 %"),
        Column("tpr_at_0.1_fpr", "Found at 0.1 %"),
    ),
    key="Score",
)


class Iterations(CharTypos):
    """Counts the tries of one-typo attacks. Cost: at most 1 + ``tries`` queries per example."""

    Config = IterationsConfig
    name: ClassVar[str] = "imia-2506.02711"
    card: ClassVar[AttackCard] = AttackCard(tables=(MEMBERSHIP,))
    config: IterationsConfig

    def measures_of_training(self, trained: Trained) -> Sequence[Measure]:
        """Area under the curve and true-positive rates of every score.

        Without token scores, of the number of iterations alone."""
        most = self.config.members
        columns: dict[str, list[Sequence[float]]] = {"iterations": []}
        for rows in (trained.members[:most], trained.others[:most]):
            found = self.run(trained.victim, rows, trained.context)
            # Negated: ``two_samples`` takes low scores for membership, but members need more tries.
            columns["iterations"].append([-float(i) for i in iterations(found, self.config.tries)])
            for name, values in trained.token_scores(rows).items():
                columns.setdefault(name, []).append(values)
        measures: list[Measure] = []
        for name, (inside, outside) in columns.items():
            n = len(inside) + len(outside)
            measures.append(Measure(f"auc:{name}", auc(inside, outside), n))
            for rate in RATES:
                # A rate needs at least one tolerated false positive to be measurable.
                if len(outside) * rate >= 1:
                    share = tpr_at_fpr(inside, outside, rate)
                    measures.append(Measure(f"tpr_at_{100 * rate:g}_fpr:{name}", share, len(inside)))
        return measures


def iterations(records: Sequence[AttackRecord], tries: int) -> list[int]:
    """Tries until the answer was wrong: 0 if wrong without an edit, ``tries`` + 1 if no try succeeded."""
    found = []
    for r in records:
        if not r.clean.correct:
            found.append(0)
        else:
            # The clean query is not a try.
            found.append(r.queries - 1 if r.outcome == "success" else tries + 1)
    return found
