"""The bitsandbytes probe: refused at planning if the package is missing, and tested with replacements for the
package's functions; if the package is installed, tested with it on every available device."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

import pytest
import torch
from unlearning_models import tiny_llama

from zobench.suite import SuiteError, load
from zobench.unlearning.base import Material
from zobench.unlearning.probes.bitsandbytes import BitsAndBytes, BitsAndBytesConfig, installed, rounded
from zobench.unlearning.probes.weights import matrices, state

INSTALLED = installed()
SUITE = """\
suite: forget
models: {facts: {name: "builtin:nano-facts"}}
unlearning:
  oracle: {name: "builtin:nano-facts-oracle"}
  objectives: {npo: {}}
  probes:
    bitsandbytes: {}
methods: {adam: {}}
seeds: [0]
budget: {forwards: 40}
"""


@pytest.mark.skipif(INSTALLED, reason="bitsandbytes is installed")
def test_without_the_package_it_is_refused_at_planning(tmp_path):
    path = tmp_path / "forget.yaml"
    path.write_text(SUITE)
    with pytest.raises(SuiteError, match=r"forget\.yaml:7: unlearning\.probes\.bitsandbytes.*pip install"):
        load(path)


def test_the_packages_calls_are_made_on_matrices_alone():
    """Stand-ins with the calls' signatures: four bits to a grid of 15 values by block, int8 by row."""
    seen = []

    def quantize_4bit(values, blocksize, quant_type):
        seen.append((quant_type, blocksize))
        scale = values.abs().max() / 7
        return (values / scale).round(), (scale, values.shape)

    functional = SimpleNamespace(
        quantize_4bit=quantize_4bit,
        dequantize_4bit=lambda codes, known: (codes * known[0]).half(),
        int8_vectorwise_quant=lambda v: ((v / v.abs().amax(1)[:, None] * 127).round(), v.abs().amax(1), None),
        int8_vectorwise_dequant=lambda codes, scales: codes * scales[:, None] / 127,
    )
    weight = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
    coarse, fine = (rounded(weight, scheme, functional) for scheme in ("nf4", "int8"))
    assert coarse.dtype == fine.dtype == weight.dtype
    assert (coarse - weight).abs().max() <= weight.abs().max() / 14 + 1e-2
    assert (fine - weight).abs().max() <= weight.abs().max() / 254 + 1e-2
    assert seen == [("nf4", 64)]


def test_a_release_without_kernels_for_the_device_says_so_and_an_unknown_scheme_is_refused(monkeypatch):
    def quantize_4bit(values, blocksize, quant_type):
        raise NotImplementedError(f"Device type not supported: {values.device}")

    monkeypatch.setattr("zobench.unlearning.probes.bitsandbytes.installed", lambda: True)
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", SimpleNamespace(quantize_4bit=quantize_4bit))
    with pytest.raises(ValueError, match="cannot round nf4 on cpu: Device type not supported"):
        next(iter(BitsAndBytes(BitsAndBytesConfig()).variants(tiny_llama(0), Material())))
    with pytest.raises(ValueError, match=r"schemes must be a non-empty list .one of 'nf4', 'fp4', 'int8'"):
        BitsAndBytesConfig(schemes=("int3",))


REAL = pytest.mark.skipif(not INSTALLED, reason="bitsandbytes is not installed")
NEGATIVE = (1.0, 0.6961928, 0.5250731, 0.3949175, 0.2844414, 0.1847734, 0.0910500)
POSITIVE = (0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0)
NF4 = torch.tensor([*(-x for x in NEGATIVE), 0.0, *POSITIVE])
"""The published table (arXiv 2305.14314, appendix E)."""
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@REAL
@pytest.mark.parametrize("device", DEVICES)
def test_the_real_package_changes_matrices_and_nothing_else(device):
    module = tiny_llama(0).to(device)
    before, quantized = state(module), set(matrices(module))
    probe = BitsAndBytes(BitsAndBytesConfig(schemes=("nf4", "fp4", "int8")))
    for variant in probe.variants(module, Material()):
        after = state(variant.module)
        assert {n for n in after if not torch.equal(after[n], before[n])} == quantized
        assert max(float((after[n] - before[n]).abs().max()) for n in quantized) < 0.1
        assert variant.strength == (8 if variant.params["scheme"] == "int8" else 12)


@REAL
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(6, 64), (6, 96), (5, 7)])
def test_the_real_package_rounds_as_its_schemes_are_defined(device, shape):
    """NF4: the nearest of sixteen multiples of the largest entry of each 64 in a row of the flattened matrix;
    int8: within half a 127th of a row's largest entry, and half precision."""
    functional = importlib.import_module("bitsandbytes.functional")
    w = torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(device)
    coarse, fine = (rounded(w, scheme, functional) for scheme in ("nf4", "int8"))
    for block, found in zip(w.flatten().split(64), coarse.flatten().split(64), strict=True):
        top = block.abs().max()
        nearest = ((block / top)[:, None] - NF4.to(device)).abs().argmin(1)
        torch.testing.assert_close(found, NF4.to(device)[nearest] * top, rtol=1e-3, atol=1e-5)
    assert ((fine - w).abs() <= w.abs().amax(1, keepdim=True) * (0.5 / 127 + 1e-3)).all()


@REAL
def test_the_real_package_is_a_probe_of_a_run(tmp_path):
    from zobench.runner import run_plan
    from zobench.store.reader import read
    from zobench.suite import expand

    path = tmp_path / "forget.yaml"
    path.write_text(SUITE)
    plan = expand(load(path))
    controls = tuple(r for r in plan.runs if r.group == "control")
    plan = plan.model_copy(update={"runs": controls, "followers": ()})
    summary = run_plan(plan, tmp_path / "out", workers=0, progress=False)
    assert (summary.done, summary.failed) == (2, [])
    found = read(tmp_path / "out" / "runs", ["metrics"]).metrics
    found = found[(found["condition"] == "bitsandbytes") & (found["metric"] == "forget_value_probability")]
    assert set(found["params"]) == {'{"scheme": "nf4"}', '{"scheme": "int8"}'}
    values = sorted(found["value"])
    assert max(values[:2]) < 0.1, "the oracle's"
    assert min(values[2:]) > 0.9, "the full model's"
