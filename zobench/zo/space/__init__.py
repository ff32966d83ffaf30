"""Parameter spaces: the tuned parameters. ``build_space(kind, params, module)`` builds one; ``SPACES`` lists
the kinds.

``base`` defines the space, ``catalogue`` the kinds and their typed parameters. ``lora``, ``prefix``,
``prompt``, ``quantized`` and ``zerotuning`` are the kinds that add parameters to the model. The first three
and ``zerotuning`` use hooks, so that the names of the model's own parameters do not change.
"""

from zobench.zo.space.base import ParameterSpace
from zobench.zo.space.catalogue import SPACES, SpaceConfig, build_space, refusal

__all__ = ["SPACES", "ParameterSpace", "SpaceConfig", "build_space", "refusal"]
