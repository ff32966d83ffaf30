"""The conformance kit on options other than a method's defaults."""

from __future__ import annotations

import pytest

from zobench.plugins import lookup
from zobench.zo.conformance import check, failures

CHECKS = ("moves", "learning-rate-zero", "forwards", "passes", "state-size", "budget", "refusals", "resume")
VARIANTS = [
    ("sparse-mezo", {"mask": "dynamic", "sparsity": 0.5}),
    ("sparse-mezo", {"mask": "static", "groups": "tensor", "n": 2}),
    ("random-mask", {"interval": 3}),
    ("zo-sgd-sparse", {"interval": 0}),
    ("zo-sgd-block", {"order": "sequential", "blocks": 3}),
    ("dizo", {"interval": 2, "rounds": 2}),
    ("mezo-svrg", {"q": 3}),
    ("conmezo", {"warmup_start": 1, "warmup_end": 3}),
    ("zo-adamu", {"steps": 8, "warmup": 1}),
    ("kerzoo", {"n": 3}),
    ("sketching", {"sketch": "hadamard", "sides": "one"}),
    ("sketching", {"sketch": "coordinate"}),
    ("zo-ranksgd", {"line_search": 2, "n": 4, "top": 2}),
    ("deepzero", {"pruning": "uniform", "n": 5, "momentum": 0.0}),
    ("deepzero", {"pruning_queries": 2, "n": 5, "interval": 2}),
    ("meerkat", {"density": 0.01, "n": 2}),
    ("lezo", {"sparsity": 0.5, "n": 2}),
    ("qzo", {"n": 2, "clip": 0.1}),
]


@pytest.mark.parametrize(("name", "params"), VARIANTS, ids=lambda value: str(value).replace(" ", ""))
def test_variant_passes(name: str, params: dict) -> None:
    method = lookup("methods", name)
    config = method.Config(**params)
    assert failures(check(method, config, only=(*CHECKS, "replay", "measured-is-applied"))) == []


@pytest.mark.parametrize(
    ("method", "params", "field"),
    [
        ("sparse-mezo", {"sparsity": 1.0}, "sparsity"),
        ("sparse-mezo", {"mask": "random"}, "mask"),
        ("meerkat", {"density": 0.0}, "density"),
        ("meerkat", {"density": 1.5}, "density"),
        ("random-mask", {"interval": -1}, "interval"),
        ("lezo", {"sparsity": -0.1}, "sparsity"),
        ("dizo", {"tau": 1.0}, "tau"),
        ("dizo", {"targets": "k_proj"}, "targets"),
        ("conmezo", {"angle": 2.0}, "angle"),
        ("conmezo", {"warmup_end": 10}, "warmup_end"),
        ("mezo-svrg", {"q": 0}, "q must"),
        ("zo-adamu", {"late": 1.1}, "late"),
        ("kerzoo", {"scale": 0.0}, "scale"),
        ("addax", {"alpha": 1.1}, "alpha"),
        ("zo-fo-hybrid", {"layers": 0}, "layers"),
        ("zo-sgd-block", {"blocks": 1 << 16}, "blocks"),
        ("qzo", {"clip": -1.0}, "clip"),
        ("zeroqat", {"quantizer_scale": 0.0}, "quantizer_scale"),
        ("deepzero", {"pruning": "magnitude"}, "pruning"),
        ("sketching", {"sketch": "sparse"}, "sketch"),
        ("zo-ranksgd", {"n": 4, "top": 5}, "top"),
        ("zo-ranksgd", {"shrink": 0.0}, "shrink"),
    ],
)
def test_bad_values_are_named(method: str, params: dict, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        lookup("methods", method).Config(**params)
