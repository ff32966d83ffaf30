"""Unlearning objectives, one file per family. The catalogue is ``zobench.unlearning.catalogue``."""
