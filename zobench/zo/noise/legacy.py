"""Legacy noise: the random numbers of the MeZO code base (arXiv 2305.17333, princeton-nlp/MeZO), without the
global generator.

That code seeds torch's global generator once per sweep and visits the tuned parameters in order. It calls
``torch.normal(0, 1, size, device, dtype)`` with each parameter's own device and dtype. The sweep is repeated
from the same seed for +eps, -2 eps, +eps and the update. Here a private ``torch.Generator`` per device with
the same seed replaces the global one. The numbers are equal on the same device and torch version, and no
global state is changed. They differ between devices and may differ between torch versions. The noise of a
parameter depends on all parameters before it.
"""

from __future__ import annotations

import torch

SEED_BOUND = 1_000_000_000
"""Direction seeds of the MeZO code base are below this number."""


class LegacyStream:
    """One sweep from ``seed``: call :meth:`draw` once per parameter, in the order of the model.

    Raises:
        ValueError: the seed is not an unsigned 64-bit integer, as ``torch.manual_seed`` requires.
    """

    def __init__(self, seed: int) -> None:
        if not 0 <= seed < 1 << 64:
            raise ValueError(f"a legacy seed is an unsigned 64-bit integer (MeZO: below 10^9), got {seed}")
        self.seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device=device).manual_seed(self.seed)
        return self._generators[device]

    @torch.no_grad()
    def draw(self, parameter: torch.Tensor) -> torch.Tensor:
        """Standard normal z in the shape, dtype and device of ``parameter``; advances the stream."""
        return torch.normal(
            mean=0.0,
            std=1.0,
            size=parameter.shape,
            generator=self._generator(parameter.device),
            device=parameter.device,
            dtype=parameter.dtype,
        )
