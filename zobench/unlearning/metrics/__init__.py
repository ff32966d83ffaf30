"""Unlearning metrics: pure functions of stored per-item numbers (NumPy, no model)."""
