"""Probes: what is done to a model or its input after unlearning. The catalogue is
``zobench.unlearning.catalogue``."""
