"""Probes: changes of a model or its input after unlearning that may bring the facts back. The catalogue is
``zobench.unlearning.catalogue``."""
