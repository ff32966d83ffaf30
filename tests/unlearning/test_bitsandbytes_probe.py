"""The probe by bitsandbytes: refused at planning where the package is not there, and its wiring with the
package's calls in the place of the package; with the package and a GPU, the real thing."""

from __future__ import annotations

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


def test_a_model_on_the_cpu_is_refused_and_so_is_an_unknown_scheme(monkeypatch):
    monkeypatch.setattr("zobench.unlearning.probes.bitsandbytes.installed", lambda: True)
    with pytest.raises(ValueError, match="needs a model on a GPU"):
        next(iter(BitsAndBytes(BitsAndBytesConfig()).variants(tiny_llama(0), Material())))
    with pytest.raises(ValueError, match="schemes must be of"):
        BitsAndBytesConfig(schemes=("int3",))


@pytest.mark.skipif(not (INSTALLED and torch.cuda.is_available()), reason="needs bitsandbytes and a GPU")
def test_the_real_package_changes_matrices_and_nothing_else():
    module = tiny_llama(0).cuda()
    before, quantized = state(module), set(matrices(module))
    for variant in BitsAndBytes().variants(module, Material()):
        after = state(variant.module)
        assert {n for n in after if not torch.equal(after[n], before[n])} == quantized
        assert max(float((after[n] - before[n]).abs().max()) for n in quantized) < 0.1
