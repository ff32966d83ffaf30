"""Hidden scorers of generated images: the scores, what a ranking method sees, runs, resume, replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from zobench.data.image import Image
from zobench.models import load
from zobench.runner.execute import Control, run_one
from zobench.runner.factory import CATALOGUE
from zobench.runner.jobs import Job
from zobench.runner.process_cache import ProcessCache
from zobench.runner.replaying import replay
from zobench.spec import Budget, Component, Evaluation, ModelRef, PlannedRun, RunSpec, SpaceRef
from zobench.store.reader import read_run
from zobench.tasks.flow_images import class_probabilities, judge_log_probabilities
from zobench.tasks.flow_scoring import FlowScoring, FlowScoringConfig

FLOW = ModelRef(name="builtin:nano-flow")


@pytest.fixture(scope="module")
def bench() -> ProcessCache:
    return ProcessCache(CATALOGUE)


def scoring(**params: Any) -> FlowScoring:
    return FlowScoring(FlowScoringConfig(**{"steps": 2, **params}))


@pytest.mark.parametrize("scorer", ["likeness", "class"])
def test_the_loss_and_the_score_are_those_of_the_image(scorer: str, bench: ProcessCache) -> None:
    lm, task = bench.model(FLOW), scoring(scorer=scorer)
    (example,) = task.splits(1).train
    batch = task.batch(lm, [example])
    (shown,) = task.shown(lm, [example])
    assert isinstance(shown, Image)
    assert example.image is not None
    pixels, hidden = shown.array()[..., 0] / 255, example.image.array()[..., 0] / 255
    loss, score = task.loss(lm, lm.module, batch).item(), float(task.predict(lm, [example])[0].output)
    if scorer == "likeness":
        assert score == pytest.approx(1 - ((pixels - hidden) ** 2).mean() ** 0.5, abs=1e-3)
        assert loss == pytest.approx(1 - score, abs=0.02), "the loss is that of the image before rounding"
        assert int(batch.inputs["label"]) == example.label
    else:
        assert score == pytest.approx(class_probabilities(pixels)[example.label or 0], abs=1e-3)
        assert int(batch.inputs["label"]) == 10, "the sampler does not know the class"


def test_both_judges_are_the_same_classifier() -> None:
    (example,) = scoring().splits(3).test
    assert example.image is not None
    pixels = example.image.array()[..., 0] / 255
    made = torch.from_numpy(pixels * 2 - 1).float()[None, None]
    shares = judge_log_probabilities(made).exp()[0].tolist()
    assert shares == pytest.approx(class_probabilities(pixels), abs=1e-5)
    assert shares[example.label or 0] > 0.5


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"classes": (1, 1)}, "different digits"),
        ({"classes": (7,), "scorer": "class"}, "knows .0, 1, 2, 3, 4. alone"),
        ({"skip": 2}, "fewer than the 2 steps"),
        ({"enough": 1.0}, "enough"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        scoring(**params)


def test_models_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="kind image-scoring needs a generator of images"):
        scoring().refuse_model(load(ModelRef(name="builtin:nano-cnn")))


class Squared(FlowScoring):
    """The same scorer on another increasing scale."""

    def item_losses(self, *args: Any) -> torch.Tensor:
        return super().item_losses(*args).square() * 7


def planned(row: str, forwards: int = 30, **params: Any) -> PlannedRun:
    spec = RunSpec(
        model=FLOW,
        task=Component(name="flow-scoring", params={"steps": 2}),
        method=Component(name=row, params=params),
        space=SpaceRef(kind="names", params={"include": ["code"]}),
        seed=1,
        budget=Budget(forwards=forwards, batch_size=1),
        evaluation=Evaluation(at=(0, 10), test_items=1),
    )
    return PlannedRun(row=row, spec=spec)


RANKSGD = {"n": 5, "top": 2, "lr": 1.0, "epsilon": 0.3}


def test_the_ranking_method_sees_no_more_than_ranks(
    bench: ProcessCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another scale of the same scores its weights have the same bits; MeZO's differ."""
    digests: dict[str, list[str]] = {"zo-ranksgd": [], "mezo": []}
    for name, task in (("a", FlowScoring), ("b", Squared)):
        monkeypatch.setattr("zobench.tasks.flow_scoring.FlowScoring", task)
        fresh = ProcessCache(CATALOGUE)
        for row, params in (("zo-ranksgd", RANKSGD), ("mezo", {"lr": 1.0})):
            outcome = run_one(Job(planned(row, **params)), tmp_path / name, fresh)
            (run,) = read_run(tmp_path / name, outcome.run_id)["runs"].to_pylist()
            digests[row].append(run["weights_digest"])
    assert digests["zo-ranksgd"][0] == digests["zo-ranksgd"][1]
    assert digests["mezo"][0] != digests["mezo"][1]


@pytest.mark.parametrize("search", [0, 2])
def test_a_stopped_run_resumes_and_replays_with_the_same_bits(
    search: int, bench: ProcessCache, tmp_path: Path
) -> None:
    job = Job(planned("zo-ranksgd", line_search=search, **RANKSGD), "scored", checkpoint_every=1)
    run_id = run_one(job, tmp_path / "whole", bench).run_id
    seen: list[Any] = []
    control = Control(seen.append, lambda: sum("loss" in e for e in seen) >= 2)
    assert run_one(job, tmp_path / "stopped", bench, control).status == "interrupted"
    assert run_one(job, tmp_path / "stopped", bench).status == "done"
    tables = [read_run(tmp_path / name, run_id) for name in ("whole", "stopped")]
    steps = [t["steps"].select(["loss", "coefficients"]).to_pylist() for t in tables]
    assert steps[0] == steps[1]
    pictures = [t["predictions"]["picture"].to_pylist() for t in tables]
    assert pictures[0] == pictures[1]
    assert pictures[0][0].startswith("data:image/png;base64,")
    assert replay(tmp_path / "whole" / run_id).matches
