"""The built-in learned proxy ``nano-parzc``: network, initial weights and acceptance gate."""
