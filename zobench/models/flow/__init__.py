"""The built-in image generator ``nano-flow``: network, sampler, recipe, training and acceptance gates."""
