"""ESSA: CMA-ES on the singular values of low-rank adapters (arXiv 2507.04453).

A = U_A S_A V_A^T, B = U_B S_B V_B^T, the factors of a trained adapter; U, V frozen
W(x) = W + U_B diag(s_B + x_B) V_B^T U_A diag(s_A + x_A) V_A^T;  x ~ N(m, sigma^2 C), adapted by CMA-ES

The space ``singular-values`` has the factors and x (its ``values`` and ``share`` are the number of singular
values); the model is loaded with its adapter. Without an adapter, x moves the singular values of the weights
themselves, which the paper does not do. n forward passes per step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from zobench.zo.base import MethodCard
from zobench.zo.methods.cma_es import CmaEs, CmaEsConfig
from zobench.zo.parameters import Bounds, Rate


@dataclass(frozen=True)
class EssaConfig(CmaEsConfig):
    """Parameters of ESSA: the paper's smallest population and its full covariance. The paper's sigma_0 is not
    known: lr is a choice, a tenth of singular values that are about 1.

    Attributes:
        lr: standard deviation sigma_0 of the first offsets.
        n: points per generation; the paper has 24 to 96 and finds 8 too few.
        covariance: ``full``, ``separable`` or ``diagonal-decoding``.
    """

    lr: Rate = 0.1
    n: Annotated[int, Bounds(ge=4)] = 24


class Essa(CmaEs):
    """CMA-ES on offsets of singular values; the weights are the mean of the search."""

    Config = EssaConfig
    small_problem: ClassVar[Mapping[str, Any]] = {"n": 8}
    card = MethodCard(
        name="essa",
        title="ESSA",
        source="arXiv 2507.04453; package cma",
        formula="offsets x of singular values of A and B: x_k ~ N(m, sigma^2 C); x <- x + lr (m' - m)",
        order="zeroth",
        replay="scalars",
        spaces=("singular-values",),
        in_span=True,
        notes="By a summary of the paper; no code was found. Initial sigma and returned point "
        "are not given: lr is a choice, the mean is returned. The candidates of a generation share one "
        "minibatch, where the paper draws one for each, which adds noise between them. Singular vectors are "
        "computed again where the space is built, with signs fixed and rounded to 2^-20; almost equal "
        "singular values can still have other vectors on another machine. Needs the extra blackbox; limits "
        "and replay as cma-es. The paper claims a loss of at most 0.009 in INT8 and INT4, and reports that "
        "the result depends strongly on the adapter that it starts from (0.713 to 0.872); on our boards "
        "neither has been measured.",
    )
