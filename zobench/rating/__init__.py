"""A person ranks pictures or texts and thereby drives an optimizer: ``zobench rate``."""
