"""Unlearning metrics: pure functions of stored per-item values (NumPy, without the model)."""
