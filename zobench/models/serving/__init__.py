"""Generate and score under a list of adapters: one interface, two backends."""
