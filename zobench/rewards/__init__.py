"""Rewards: scores of generated answers that a run may maximize (``train_on: {reward: NAME}``)."""
