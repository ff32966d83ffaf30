"""Published statements on the systems of ``docs/systems.md``, and the differences that test them.

Each is one mean difference over seeds (or images), positive in the published direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from zobench.metrics.intervals import Interval
from zobench.studies import image_differences as differences
from zobench.studies import image_pretrained, markdown
from zobench.studies.image_differences import Differences


@dataclass(frozen=True, slots=True)
class ImageStatement:
    """One row of the table.

    Attributes:
        system: its name and source. says: the published statement.
        measure: what was compared here, with its unit.
        values: the tables -> differences, positive in the published direction.
        shown: the interval of the mean as text.
        level: the statement is that there is no disadvantage, not an advantage.
    """

    system: str
    says: str
    measure: str
    values: Differences
    shown: Callable[[Interval], str]
    level: bool = False


def _form(form: str, sign: float = 1.0) -> Callable[[Interval], str]:
    def shown(d: Interval) -> str:
        low, high = sorted((sign * d.low, sign * d.high))
        return f"{form.format(sign * d.value)} [{form.format(low)}, {form.format(high)}]"

    return shown


def _ratio(d: Interval) -> str:
    value, low, high = (math.exp(-v) for v in (d.value, d.high, d.low))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


MUON, FLOW = "ZO-Muon (2602.17155)", "FlowOpt (2510.22010)"
DEEP, SMOOTHED = "DeepZero (2310.02025)", "ZO-AE-DS (2203.14195)"
RANKED, PROXY = "ZO-RankSGD (2303.03751)", "W-PCA (2504.15983)"
LEARNED, BOTTLENECK = "ParZC (2402.02105)", "IB-FT (2510.16022)"
W_PCA, PARZC = ("parzc", "kendall_tau_w_pca"), ("parzc", "kendall_tau")
DB, TAU = _form("{:+.1f}"), _form("{:+.2f}")
STATEMENTS = (
    ImageStatement(
        MUON,
        "25.1 points more accurate than MeZO (ViT-B, CIFAR-100)",
        "`zo-muon` - `mezo` on `nano-vit`, accuracy in points",
        differences.accuracy("vision", "zo-muon", "mezo"),
        markdown.points,
    ),
    ImageStatement(
        MUON,
        "25.1 points more accurate than MeZO (ViT-B, CIFAR-100)",
        "`zo-muon` - `mezo` on EfficientNet-Lite0, accuracy in points",
        differences.accuracy(image_pretrained.NAME, "zo-muon", "mezo"),
        markdown.points,
    ),
    ImageStatement(
        MUON,
        "24.7 % of MeZO's queries to the same accuracy (SST-2)",
        "forward passes to the target on `nano-vit`, `zo-muon` / `mezo`",
        differences.queries("vision"),
        _ratio,
    ),
    ImageStatement(
        MUON,
        "24.7 % of MeZO's queries to the same accuracy (SST-2)",
        "forward passes to the target on EfficientNet-Lite0, `zo-muon` / `mezo`",
        differences.queries(image_pretrained.NAME),
        _ratio,
    ),
    ImageStatement(
        FLOW,
        "at the level of the best methods at equal network evaluations",
        "`flowopt` - plain inversion at 301 evaluations, PSNR in dB",
        differences.psnr("invert", "plain-inversion", "invert-corrected"),
        DB,
        level=True,
    ),
    ImageStatement(
        FLOW,
        "needs no backpropagation through the sampler",
        "`flowopt` - `backpropagation` from noise, PSNR in dB",
        differences.psnr("from-noise", "backpropagation", "from-noise"),
        DB,
        level=True,
    ),
    ImageStatement(
        DEEP,
        "the most accurate zeroth-order training from scratch",
        "`deepzero` - `random-directions`, accuracy in points",
        differences.accuracy("deepzero", "deepzero", "random-directions"),
        markdown.points,
    ),
    ImageStatement(
        DEEP,
        "close to first order",
        "`deepzero` - `sgd`, accuracy in points",
        differences.accuracy("deepzero", "deepzero", "sgd"),
        markdown.points,
        level=True,
    ),
    ImageStatement(
        SMOOTHED,
        "far above no defence",
        "`rge` - `no-defence`, certified at 0.5 in points",
        differences.certified_at_half("rge", "no-defence"),
        markdown.points,
    ),
    ImageStatement(
        SMOOTHED,
        "coordinates better than random directions",
        "`cge` - `rge`, certified at 0.5 in points",
        differences.certified_at_half("cge", "rge"),
        markdown.points,
    ),
    ImageStatement(
        SMOOTHED,
        "close to first order",
        "`cge` - `fo-ae-ds`, certified at 0.5 in points",
        differences.certified_at_half("cge", "fo-ae-ds"),
        markdown.points,
        level=True,
    ),
    ImageStatement(
        "SmoothVLM (2405.10529)",
        "attack success falls to 0 to 5 %",
        "mask 0.2 - undefended, right under patches in points",
        differences.patched,
        markdown.points,
    ),
    ImageStatement(
        "Square Attack (1912.00049)",
        "finds adversarial images in few queries",
        "beyond random tries on `nano-vit`, accuracy in points",
        differences.square,
        markdown.points,
    ),
    ImageStatement(
        RANKED,
        "rankings alone guide a generator",
        "`zo-ranksgd` - `random-search`, likeness",
        differences.scores("random-search"),
        _form("{:+.3f}"),
    ),
    ImageStatement(
        "QZO (2505.13430)",
        "a quantized image generator is tuned by its scales",
        "`qzo` - `rounded`, loss",
        differences.quantized,
        _form("{:+.3f}", -1.0),
    ),
    ImageStatement(
        "pruning (2510.22489)",
        "fused scores improve on those of general data",
        "`fused` - `general` at sparsity 0.5, facts recalled in points",
        differences.recalled,
        markdown.points,
    ),
    ImageStatement(
        PROXY,
        "ranks better than other proxies (here: one without gradients)",
        "W-PCA - number of weights, images, tau",
        differences.tau("image", W_PCA),
        TAU,
    ),
    ImageStatement(
        PROXY,
        "ranks better than other proxies (here: one without gradients)",
        "W-PCA - number of weights, texts, tau",
        differences.tau("text", W_PCA),
        TAU,
    ),
    ImageStatement(
        LEARNED,
        "learns the ranking from statistics of nodes",
        "ParZC - the same untrained, images, tau",
        differences.tau("image", PARZC, ("untrained", "kendall_tau")),
        TAU,
    ),
    ImageStatement(
        LEARNED,
        "ranks better than other proxies (here: one without gradients)",
        "ParZC - number of weights, images, tau",
        differences.tau("image", PARZC),
        TAU,
    ),
    ImageStatement(
        BOTTLENECK,
        "a penalty on hidden states raises Pass@1",
        "`adamw-variational` - `adamw`, Pass@1 in points",
        differences.passed("adamw-variational"),
        markdown.points,
    ),
    ImageStatement(
        BOTTLENECK,
        "a penalty on hidden states raises Pass@1",
        "`adamw-hsic` - `adamw`, Pass@1 in points",
        differences.passed("adamw-hsic"),
        markdown.points,
    ),
)
