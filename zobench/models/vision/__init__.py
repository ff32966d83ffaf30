"""The built-in image classifiers ``nano-vit`` and ``nano-cnn``: recipes, training and acceptance gates.

Their weights lie beside those of the built-in language models (:mod:`zobench.models.nano`)."""
