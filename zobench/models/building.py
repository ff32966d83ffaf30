"""Training and acceptance of every built-in model by name (``zobench model build``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zobench.models.nano import DENOISED, FLOW, NAMES, RANKING, UNTRAINED, VISION
from zobench.models.nano.build import ProgressCallback, build, write_provenance
from zobench.models.nano.gates import GateResult, Report, gates
from zobench.names import nearest


def build_model(
    name: str,
    out_dir: Path | str,
    *,
    seed: int = 0,
    steps: int | None = None,
    progress: ProgressCallback = lambda row: None,
) -> dict[str, Any]:
    """Train the built-in model ``name`` into ``out_dir`` and return its provenance; see
    :func:`zobench.models.nano.build.build`. ``ValueError`` for an unknown name."""
    _known(name)
    if name in VISION + UNTRAINED:
        from zobench.models.vision.build import build_vision

        return build_vision(name, out_dir, seed=seed, steps=steps, progress=progress)
    if name in FLOW:
        from zobench.models.flow.build import build_flow

        return build_flow(out_dir, seed=seed, steps=steps, progress=progress)
    if name in DENOISED:
        from zobench.models.denoised.build import build_denoised

        return build_denoised(name, out_dir, seed=seed, steps=steps, progress=progress)
    if name in RANKING:
        from zobench.models.ranker.build import build_ranker

        return build_ranker(out_dir, seed=seed)
    return build(name, out_dir, seed=seed, steps=steps, progress=progress)


def gates_of(name: str, path: Path | str, *, report: Report | None = None) -> list[GateResult]:
    """Run all gates of the built-in model ``name`` on the files at ``path``; ``report`` is called with each
    result."""
    _known(name)
    if name in VISION + UNTRAINED:
        from zobench.models.vision.gates import vision_gates

        return vision_gates(name, path, report=report)
    if name in FLOW:
        from zobench.models.flow.gates import flow_gates

        return flow_gates(path, report=report)
    if name in DENOISED:
        from zobench.models.denoised.build import denoised_gates

        return denoised_gates(path, report=report)
    if name in RANKING:
        from zobench.models.ranker.build import ranker_gates

        return ranker_gates(path, report=report)
    return gates(name, path, report=report)


def accept(name: str, path: Path | str, *, report: Report | None = None) -> bool:
    """Run all gates and write them to ``PROVENANCE.json`` beside the weights; True if all passed."""
    record = json.loads((Path(path) / "PROVENANCE.json").read_text())
    results = gates_of(name, path, report=report)
    record["gates"] = [result.row() for result in results]
    write_provenance(Path(path), record)
    return all(result.passed for result in results)


def _known(name: str) -> None:
    if name not in NAMES:
        raise ValueError(f"unknown built-in model {name!r}{nearest(name, NAMES)}")
