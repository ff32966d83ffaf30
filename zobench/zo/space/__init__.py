"""Parameter spaces: what is tuned. ``build_space(kind, params, module)`` makes one; ``SPACES`` lists the
kinds.

``base`` holds the space itself, ``catalogue`` the kinds and their typed parameters, ``lora``, ``prefix`` and
``prompt`` the parameter-efficient ones (own small modules on hooks, so that the model's own parameter names
never change).
"""

from zobench.zo.space.base import ParameterSpace
from zobench.zo.space.catalogue import SPACES, SpaceConfig, build_space

__all__ = ["SPACES", "ParameterSpace", "SpaceConfig", "build_space"]
