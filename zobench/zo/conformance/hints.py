"""What to do about a failed check: one sentence for each name in ``CHECKS``."""

from __future__ import annotations

HINTS: dict[str, str] = {
    "moves": "the defaults of Config must train: is lr above 0, and does measure() return coefficients?",
    "learning-rate-zero": "write weights through the update only, every change multiplied by lr",
    "dtypes": "compute in float32 inside engine.editing(name), which rounds to the weights' dtype once",
    "forwards": (
        "set forwards_per_step (mean) and max_forwards_in_step (largest) in cost() to what a step spends"
    ),
    "passes": (
        "set passes_per_step in cost(): one sweep for each loss at a perturbed point, and one for each "
        "direction of the update"
    ),
    "state-size": "set state_bytes_per_parameter in cost(): 4 for each tensor of the size of the weights",
    "budget": "query every loss before the first weight is written, and let BudgetExhausted pass",
    "global-random-state": (
        "draw by seeds: self.seeds(n) and self.direction; torch.rand and its like cannot be replayed"
    ),
    "refusals": "weights change in the update only, which is left out for an estimate that is refused",
    "no-batch": "query losses through the objective, which refuses a missing minibatch",
    "determinism": (
        "a step may depend on the weights, its minibatch, its seeds and the saved state, and on nothing else"
    ),
    "resume": (
        "state_dict() must return all that a step takes from earlier steps; tensors of an Update that stand "
        "in its slots (self.slot(...)) are saved"
    ),
    "replay": (
        "an update may use the record and the state only; if it needs more, the card's replay is 'checkpoint'"
    ),
    "modes": "let the engine move the weights: no method writes to them in measure()",
    "drift": "let the engine restore the weights: no method adds and subtracts a perturbation itself",
    "outside-untouched": "change entries through the space only, not parameters of the module",
    "distributed": (
        "a step must be the same on every rank; if its losses cannot be divided, say so in indivisible()"
    ),
    "measured-is-applied": (
        "if the update is not a linear combination of what the step measured, in_span is False"
    ),
    "estimate-is-measured": "coefficients must belong to the seeds whose losses were queried",
    "independent-noise": "derive the noise of a tensor from its name and the seed",
    "stops": (
        "if steps keep their length by design (sign of a momentum), say fades=False in the card; else a sum "
        "is never cleared"
    ),
    "hidden-queries": "run the module through the objective only, which counts its forward passes",
    "defaults-cited": (
        "describe every field in the docstring of Config, which says where the defaults are from ('as in the "
        "paper', 'are choices', an arXiv id)"
    ),
    "unbiased": (
        "compare the factors of the estimate with theory (1/n, 2 epsilon), or leave unbiased out of the card"
    ),
    "descent": (
        "no learning rate that was tried lowers the loss enough: is the sign right, is the update scaled? "
        "descent=False in the card is for baselines"
    ),
}
