"""Weights rebuilt from scalars have the same bits at another level of the processor, for every method that
replays.

torch picks its elementwise kernels by the processor (AVX-512, AVX2, none of them); the subprocess asks for
the plainest ones, and for matrix products that do not depend on the processor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from replay_elsewhere import REPLAYABLE, record

from zobench.zo.arithmetic import add_scaled_, add_square_

HERE = torch.backends.cpu.get_cpu_capability()


@pytest.mark.slow
@pytest.mark.skipif(HERE == "DEFAULT", reason="this processor has one level only")
def test_every_replay_has_the_same_bits_at_the_plainest_level(tmp_path: Path) -> None:
    digests = record(tmp_path / "records.pt")
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
    script = Path(__file__).with_name("replay_elsewhere.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "records.pt")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    elsewhere = json.loads(done.stdout.splitlines()[-1])
    assert elsewhere["level"] == "DEFAULT"
    assert len(digests) == len(REPLAYABLE) > 40
    assert [name for name in digests if digests[name] != elsewhere["digests"][name]] == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_rounded_before_they_are_added(dtype: torch.dtype) -> None:
    """1 + 2^-k squared is 1 + 2^(1-k) + 2^(-2k); fused, the last term would survive a subtraction."""
    digits = {torch.float32: 12, torch.float64: 27}[dtype]
    x = torch.full((257,), 1 + 2.0**-digits, dtype=dtype)
    rounded = 1 + 2.0 ** (1 - digits)
    assert torch.equal(add_scaled_(torch.full_like(x, -rounded), x, 1 + 2.0**-digits), torch.zeros_like(x))
    assert torch.equal(add_square_(torch.full_like(x, -rounded), x, 1.0), torch.zeros_like(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    target, other = torch.tensor([1.0, 3.0], dtype=dtype), torch.tensor([0.3, 0.7], dtype=dtype)
    expected = (target.double() + other.double() * 0.1).to(dtype)
    assert torch.equal(add_scaled_(target.clone(), other, 0.1), expected)
