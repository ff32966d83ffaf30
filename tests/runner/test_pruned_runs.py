"""Space ``pruned``: masks from two calibration sets, equal sparsity, training of what is kept, replay,
restored weights, the section, errors at plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.models import load
from zobench.report.build import build
from zobench.report.pruning import pruned
from zobench.runner.execute import Control, run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.runner.replaying import replay
from zobench.runner.scheduler import run_plan
from zobench.runner.spaces import space_of
from zobench.spec import Budget, Component, ModelRef, PlannedRun, RunSpec, SpaceRef
from zobench.store.reader import read_run
from zobench.suite.expansion import expand
from zobench.suite.loading import load as load_suite
from zobench.suite.problems import SuiteError
from zobench.zo import build_space

NANO = ModelRef(name="builtin:nano")
SMALL = {"test_rows": 2, "documents": 3, "max_new_tokens": 4}
LAYER = "*layers.0.self_attn.q_proj.weight"


def spec(criterion: str, method: str = "none", seed: int = 1, **params: Any) -> RunSpec:
    space = {"criterion": criterion, "include": [LAYER], "calibration": 4, **params}
    return RunSpec(
        model=NANO,
        task=Component(name="nano-recall", params=SMALL),
        method=Component(name=method, params={"lr": 1e-3} if method != "none" else {}),
        space=SpaceRef(kind="pruned", params=space),
        seed=seed,
        budget=Budget(forwards=0 if method == "none" else 6, batch_size=2),
    )


@pytest.fixture(scope="module")
def nano() -> Any:
    return load(NANO)


def test_criteria_give_other_masks_of_equal_sparsity_and_removal_restores_the_weights(nano: Any) -> None:
    (name,) = [n for n, _ in nano.module.named_parameters() if n.endswith("layers.0.self_attn.q_proj.weight")]
    weight = dict(nano.module.named_parameters())[name]
    before, masks = weight.detach().clone(), {}
    for criterion in ("magnitude", "general", "task", "mixed", "fused"):
        space = space_of(spec(criterion), nano, CATALOGUE)
        assert space.kind == "masked"
        masks[criterion] = weight.detach() != 0
        assert masks[criterion].sum(1).tolist() == [weight.shape[1] // 2] * weight.shape[0]
        assert space.numel == int(masks[criterion].sum())
        assert torch.equal(weight.detach()[masks[criterion]], before[masks[criterion]])
        space.remove()
        assert torch.equal(weight.detach(), before)
    kinds = list(masks.values())
    assert all(not torch.equal(a, b) for i, a in enumerate(kinds) for b in kinds[:i])
    other = space_of(spec("fused", seed=2), nano, CATALOGUE)
    assert not torch.equal(weight.detach() != 0, masks["fused"])
    other.remove()


def test_training_keeps_the_mask_resumes_and_replays_with_the_same_bits(tmp_path: Path) -> None:
    bench = ProcessCache(CATALOGUE)
    lm = bench.model(NANO)
    digest = {n: p.detach().clone() for n, p in lm.module.named_parameters()}
    job = Job(PlannedRun(row="mezo", spec=spec("fused", "mezo")), "pruning", checkpoint_every=1)
    run_id = run_one(job, tmp_path / "whole", bench).run_id
    assert all(torch.equal(p, digest[n]) for n, p in bench.model(NANO).module.named_parameters())
    seen: list[Any] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= 2)
    assert run_one(job, tmp_path / "stopped", bench, control).status == "interrupted"
    assert run_one(job, tmp_path / "stopped", bench).status == "done"
    runs = [read_run(tmp_path / n, run_id)["runs"].to_pylist()[0] for n in ("whole", "stopped")]
    assert runs[0]["weights_digest"] == runs[1]["weights_digest"]
    assert runs[0]["tuned_parameters"] == 128 * 128 // 2
    assert replay(tmp_path / "whole" / run_id).matches
    metrics = {m["metric"]: m["value"] for m in read_run(tmp_path / "whole", run_id)["metrics"].to_pylist()}
    assert metrics["perplexity"] > 1
    assert 0 <= metrics["accuracy"] <= 1


SUITE = f"""\
suite: pruned
ruleset: open
models: {{nano: {{name: "builtin:nano"}}}}
tasks: {{nano-recall: {{params: {{test_rows: 2, documents: 2, max_new_tokens: 3}}}}}}
methods:
  fused: {{method: none, space: {{kind: pruned, params: &all {{include: ["{LAYER}"], calibration: 2}}}}}}
  magnitude: {{method: none, space: {{kind: pruned, params: {{include: ["{LAYER}"], criterion: magnitude}}}}}}
seeds: [1, 2]
budget: {{forwards: 0, batch_size: 2}}
"""


def test_the_page_compares_at_equal_sparsity(tmp_path: Path) -> None:
    suite = tmp_path / "pruned.yaml"
    suite.write_text(SUITE)
    assert run_plan(expand(load_suite(suite)), tmp_path / "out", workers=0, progress=False).failed == []
    build(tmp_path / "out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="pruning">') :].split("</section>")[0]
    assert section.count('<tr><th scope="row">') == 2
    fused, magnitude = (
        section.split(f"<td>{row}</td>")[1].split("</tr>")[0] for row in ("fused", "magnitude")
    )
    assert fused.count("–") == 2
    assert "–" not in magnitude
    assert "[" in magnitude


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("criterion: magnitude", "criterion: fussed"), "criterion"),
        (("criterion: magnitude", "sparsity: 1.0"), "sparsity"),
        (("criterion: magnitude", "spars: 0.5"), "sparsity"),
        ((LAYER, "*norm*"), "no weight of a linear layer"),
        ((LAYER, "nothing"), "match none of"),
        (("method: none", "method: mezo, params: {lr: 1e-3}, perturbation: offload"), "combined with space"),
        (
            ("method: none", "method: qzo, params: {lr: 1e-3}"),
            "does not support the parameter space 'pruned'",
        ),
    ],
)
def test_plan_refuses_what_cannot_be_pruned(change: tuple[str, str], told: str, tmp_path: Path) -> None:
    suite = tmp_path / "pruned.yaml"
    suite.write_text(SUITE.replace(*change))
    with pytest.raises(SuiteError) as error:
        expand(load_suite(suite))
    assert told in str(error.value)
    assert "pruned.yaml:" in str(error.value)


def test_outside_a_run_only_magnitude_can_be_built(nano: Any) -> None:
    space = build_space("pruned", {"criterion": "magnitude", "include": [LAYER]}, nano.module)
    assert space.numel == 128 * 128 // 2
    space.remove()
    with pytest.raises(ValueError, match="criterion 'fused' needs the data of a run"):
        build_space("pruned", {}, nano.module)


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "x", "[]", "{}", '{"space": 1}', '{"space": {"kind": "pruned"}}'),
        '{"space": {"kind": "pruned", "params": {"sparsity": "half"}}}',
        '{"space": {"kind": "full", "params": {}}}',
    ],
)
def test_the_page_passes_over_what_is_no_pruned_run(text: str | None) -> None:
    assert pruned(text) is None
    assert pruned('{"space": {"kind": "pruned", "params": {"sparsity": 0.5}}}') == {"sparsity": 0.5}
