"""An objective without losses: an oracle names the best of several points (arXiv 2303.03751).

A step may ask for several rankings (``Optimizer.picks``). Their answers become losses that a method may
compare with each other:

    first ranking of a step:  L_i = place of i, counted from 0; all that are not named share the place after
    later ones:               L_i = place of i - place of b, b the best of the first ranking, shown again

so that the best of the first ranking has loss 0 in all of them. Losses of different steps mean nothing to
each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from zobench.zo.objective import Meter, Objective

RankingOracle = Callable[[Sequence[Any], int], Sequence[int]]
"""``order(shown, n)``: the indices of the n best of what is shown, the best one first."""


class RankedObjective(Objective):
    """Args:
    module: the model whose parameters are tuned.
    show: ``show(module, batch)``: what the oracle sees of the module at its current parameters.
    order: the oracle.
    picks: how many best ones it names in each ranking of a step.
    meter: counts a forward pass for each point that is shown.
    """

    def __init__(
        self,
        module: nn.Module,
        show: Callable[[nn.Module, Any], Any],
        order: RankingOracle,
        picks: Sequence[int],
        meter: Meter | None = None,
    ) -> None:
        super().__init__(module, _no_loss, meter, differentiable=False, inference=True)
        self._show, self._order, self._picks = show, order, tuple(picks)
        self._rankings = 0
        self._best: Any = None

    def set_batch(self, batch: Any, *, sequences: int, tokens: int) -> None:
        super().set_batch(batch, sequences=sequences, tokens=tokens)
        self._rankings, self._best = 0, None

    def shown(self) -> Any:
        """What the oracle sees at the current parameters. Cost: 1 forward pass."""
        self._charge(1)
        with self._without_gradients():
            return self._show(self.module, self.batch)

    def places(self, shown: Sequence[Any]) -> list[float]:
        """The losses of the points shown (see the module's text). Cost: none beyond :meth:`shown`.

        ``ValueError`` if the oracle does not name as many different points as it was asked for."""
        if self._rankings >= len(self._picks):
            raise ValueError(f"the method asks for more than {len(self._picks)} rankings a step")
        wanted = self._picks[self._rankings]
        candidates = [*shown, self._best] if self._rankings else list(shown)
        named = list(self._order(candidates, wanted))
        if len(set(named)) != wanted or len(named) != wanted or not set(named) <= set(range(len(candidates))):
            raise ValueError(f"{wanted} different ones of {len(candidates)} must be named, not {named}")
        place = {index: float(at) for at, index in enumerate(named)}
        values = [place.get(index, float(wanted)) for index in range(len(candidates))]
        if self._rankings == 0:
            self._best = shown[named[0]]
            base = 0.0
        else:
            base = values.pop()
        self._rankings += 1
        return [value - base for value in values]


def _no_loss(module: nn.Module, batch: Any) -> float:
    raise ValueError("an objective of rankings has no loss of a single point")
