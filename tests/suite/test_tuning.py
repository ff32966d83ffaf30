"""Tuning: the settings tried, their fixed random draws, the selected setting, and the flags."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from zobench.suite import expand, load
from zobench.suite.plan import TuningStudy
from zobench.suite.schema import Range, Tune
from zobench.suite.tuning import Tuner, candidates

pytestmark = pytest.mark.usefixtures("fake_catalogues")

BASE = """\
suite: small
models:
  nano: {name: "builtin:nano"}
tasks:
  nano-topic: {}
  nano-sentiment: {}
methods:
  mezo:
    params: {eps: 1e-2}
    tune: TUNE
attacks:
  char-typos: {}
seeds: [1, 2, 3]
budget: {forwards: 100}
evaluation: {at: [50], test_items: 10, validation_items: 20}
"""
GRID = "{space: {lr: [1e-4, 1e-3, 1e-2], n: [1, 2]}, seeds: [101, 102]}"
RANGE = (
    "{space: {lr: {low: 1e-5, high: 1e-1, log: true}, n: {low: 1, high: 8}}, "
    "seeds: [101, 102], trials: 12, %s}"
)


def studies(folder: Path, tune: str) -> tuple[TuningStudy, ...]:
    path = folder / "s.yaml"
    path.write_text(BASE.replace("TUNE", tune))
    return expand(load(path)).studies


def drive(study: TuningStudy, score: Any) -> Tuner:
    tuner = Tuner(study)
    while (params := tuner.ask()) is not None:
        tuner.tell(params, [score(params, seed) for seed in study.seeds])
    return tuner


def near(params: dict[str, Any], seed: int) -> float:
    """Best at lr 1e-3, any n."""
    return -abs(math.log10(params["lr"]) + 3)


def test_a_study_for_each_task_and_no_plain_run(tmp_path: Path) -> None:
    found = studies(tmp_path, GRID)
    assert [(s.row, s.task) for s in found] == [("mezo", "nano-topic"), ("mezo", "nano-sentiment")]


def test_trials_see_validation_only_and_are_not_attacked(tmp_path: Path) -> None:
    study = studies(tmp_path, GRID)[0]
    trials = study.trials(study.candidates[0])
    assert [run.spec.seed for run in trials] == [101, 102]
    for run in trials:
        assert run.spec.purpose == "tuning"
        assert run.tuning_of == "mezo"
        assert run.spec.attacks == ()
        assert run.spec.evaluation.at == ()
        assert run.spec.evaluation.test_items is None
        assert run.spec.evaluation.validation_items == 20


def test_finals_have_the_winner_and_every_default(tmp_path: Path) -> None:
    study = studies(tmp_path, GRID)[0]
    finals = study.finals({"lr": 1e-3, "n": 2})
    assert [run.spec.seed for run in finals] == [1, 2, 3]
    params = finals[0].spec.method.params
    assert params == {"lr": 0.001, "eps": 0.01, "n": 2, "rule": "sgd", "betas": [0.9, 0.99], "clip": None}
    assert finals[0].spec.purpose == "result"
    assert finals[0].spec.attacks != ()


def test_a_grid_is_tried_whole_in_the_order_of_the_file(tmp_path: Path) -> None:
    study = studies(tmp_path, GRID)[0]
    assert [(c["lr"], c["n"]) for c in study.candidates] == [
        (lr, n) for lr in (1e-4, 1e-3, 1e-2) for n in (1, 2)
    ]
    assert study.size == 6


def test_no_seed_decides_between_equal_scores_of_a_grid(tmp_path: Path) -> None:
    found = studies(tmp_path, GRID.replace("seeds", "sampler_seed: 12345, seeds"))[0].candidates
    assert found == studies(tmp_path, GRID)[0].candidates


def test_a_grid_may_hold_lists_and_texts(tmp_path: Path) -> None:
    tune = "{space: {betas: [[0.9, 0.99], [0.5, 0.9]], rule: [sgd, sign]}, seeds: [9]}"
    found = studies(tmp_path, tune)[0].candidates
    assert [(c["betas"], c["rule"]) for c in found] == [
        ([0.9, 0.99], "sgd"), ([0.9, 0.99], "sign"), ([0.5, 0.9], "sgd"), ([0.5, 0.9], "sign"),
    ]  # fmt: skip


def test_the_best_mean_wins_and_the_earlier_of_equals(tmp_path: Path) -> None:
    selection = drive(studies(tmp_path, GRID)[0], near).selection
    assert selection.winner == {"lr": 0.001, "n": 1}
    assert selection.on_edge == ("n",)
    assert selection.within_noise is True


def test_lower_is_better_for_a_loss(tmp_path: Path) -> None:
    study = studies(tmp_path, GRID.replace("seeds", "metric: loss, seeds"))[0]
    assert study.goal == "min"
    assert drive(study, lambda p, s: -near(p, s)).selection.winner["lr"] == 0.001


@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
def test_a_setting_with_a_failed_seed_cannot_win(tmp_path: Path, bad: float | None) -> None:
    def score(params: dict[str, Any], seed: int) -> float | None:
        return bad if params["lr"] == 1e-3 and seed == 102 else 100.0 + near(params, seed)

    assert drive(studies(tmp_path, GRID)[0], score).selection.winner["lr"] != 1e-3


def test_no_finished_trial_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    tuner = drive(studies(tmp_path, GRID)[0], lambda p, s: None)
    with pytest.raises(ValueError, match="tuning of 'mezo' on 'nano-topic': no trial finished"):
        _ = tuner.selection


def test_a_clear_winner_is_not_within_noise(tmp_path: Path) -> None:
    scores = {1e-4: 0.1, 1e-3: 0.9, 1e-2: 0.5}
    study = studies(tmp_path, "{space: {lr: [1e-4, 1e-3, 1e-2]}, seeds: [101, 102, 103]}")[0]
    selection = drive(study, lambda p, s: scores[p["lr"]] + 0.001 * s * (p["lr"] == 1e-3)).selection
    assert selection.within_noise is False
    assert selection.on_edge == ()


def test_noise_is_one_standard_error_of_the_paired_difference(tmp_path: Path) -> None:
    study = studies(tmp_path, "{space: {lr: [1e-4, 1e-3]}, seeds: [101, 102, 103]}")[0]
    # differences 0.3, 0.0, 0.0: mean 0.1, standard deviation 0.173, standard error 0.1: not further than one
    high = {101: 0.8, 102: 0.5, 103: 0.5}
    assert drive(study, lambda p, s: high[s] if p["lr"] == 1e-3 else 0.5).selection.within_noise is True
    # differences 0.3, 0.1, 0.2: mean 0.2, standard error 0.058
    high = {101: 0.8, 102: 0.6, 103: 0.7}
    assert drive(study, lambda p, s: high[s] if p["lr"] == 1e-3 else 0.5).selection.within_noise is False


def test_a_range_flags_values_near_its_ends(tmp_path: Path) -> None:
    study = studies(tmp_path, RANGE % "sampler: random")[0]
    best = max(c["lr"] for c in study.candidates)
    selection = drive(study, lambda p, s: p["lr"]).selection
    assert selection.winner["lr"] == best
    assert ("lr" in selection.on_edge) == (math.log(best / 1e-5) / math.log(1e4) >= 0.95)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_draws_are_fixed_by_the_seed_and_inside_the_space(tmp_path: Path, sampler: str) -> None:
    def tried(seed: int) -> list[dict[str, Any]]:
        study = studies(tmp_path, RANGE % f"sampler: {sampler}, sampler_seed: {seed}")[0]
        return [t.params for t in drive(study, near).selection.trials]

    first = tried(0)
    assert first == tried(0)
    assert first != tried(1)
    assert len(first) == 12
    for params in first:
        assert 1e-5 <= params["lr"] <= 1e-1
        assert 1 <= params["n"] <= 8
        assert isinstance(params["n"], int)


def test_random_draws_are_different_settings(tmp_path: Path) -> None:
    tune = "{space: {lr: [1e-4, 1e-3, 1e-2], n: [1, 2]}, seeds: [9], sampler: random, trials: 5}"
    found = studies(tmp_path, tune)[0].candidates
    assert len({tuple(c.items()) for c in found}) == 5


def test_values_that_are_equal_in_python_are_different_settings() -> None:
    """1 == 1.0 == True, and two settings of one value are one."""
    listed = Tune(space={"x": [1, 1.0, True]}, seeds=(9,), sampler="random", trials=2)
    assert len({repr(c["x"]) for c in candidates(listed)}) == 2
    drawn = Tune(
        space={"x": [1, 1.0, True], "n": Range(low=1, high=2)}, seeds=(9,), sampler="random", trials=6
    )
    found = {(repr(c["x"]), c["n"]) for c in candidates(drawn)}
    assert found == {(x, n) for x in ("1", "1.0", "True") for n in (1, 2)}


def test_tpe_reacts_to_the_scores(tmp_path: Path) -> None:
    study = studies(tmp_path, (RANGE % "sampler: tpe").replace("trials: 12", "trials: 30"))[0]
    up = [t.params["lr"] for t in drive(study, lambda p, s: p["lr"]).selection.trials[15:]]
    down = [t.params["lr"] for t in drive(study, lambda p, s: -p["lr"]).selection.trials[15:]]
    assert sorted(up)[len(up) // 2] > sorted(down)[len(down) // 2]


def test_tpe_survives_failed_trials(tmp_path: Path) -> None:
    study = studies(tmp_path, RANGE % "sampler: tpe")[0]
    selection = drive(study, lambda p, s: None if p["lr"] > 1e-3 else near(p, s)).selection
    assert selection.winner["lr"] <= 1e-3


def test_scores_must_be_told_in_the_order_asked(tmp_path: Path) -> None:
    tuner = Tuner(studies(tmp_path, GRID)[0])
    first, second = tuner.ask(), tuner.ask()
    assert first is not None
    assert second is not None
    with pytest.raises(ValueError, match="expected 2 scores"):
        tuner.tell(second, [0.0, 0.0])
    with pytest.raises(ValueError, match="expected 2 scores"):
        tuner.tell(first, [0.0])


HALVED = "{space: {lr: [1e-4, 1e-3, 1e-2], n: [1, 2]}, seeds: [101, 102], halving: {factor: 2, rungs: 2}}"


def test_halving_tries_the_better_half_at_the_whole_budget(tmp_path: Path) -> None:
    study = studies(tmp_path, HALVED)[0]
    assert study.rungs == ((6, 50), (3, 100))
    tuner, asked = Tuner(study), []
    while (params := tuner.ask()) is not None:
        runs = study.trials(params, tuner.forwards)
        asked.append((params["lr"], params["n"], *(run.spec.budget.forwards for run in runs)))
        tuner.tell(params, [near(params, seed) + 0.01 * params["n"] for seed in study.seeds])
    assert [budget for _, _, *budget in asked] == [[50, 50]] * 6 + [[100, 100]] * 3
    # best at the small budget: lr 1e-3 with n 2, then n 1, then the first of the two next
    assert [(lr, n) for lr, n, *_ in asked[6:]] == [(1e-3, 2), (1e-3, 1), (1e-4, 2)]
    assert tuner.selection.winner == {"lr": 1e-3, "n": 2}
    assert sum(sum(budget) for _, _, *budget in asked) == 2 * (6 * 50 + 3 * 100)


def test_only_the_whole_budget_decides_and_the_rung_is_told_before_the_next(tmp_path: Path) -> None:
    study = studies(tmp_path, HALVED)[0]
    tuner = Tuner(study)
    first = []
    while (params := tuner.ask()) is not None:
        first.append(params)
    assert len(first) == 6
    assert tuner.ask() is None
    for params in first:
        tuner.tell(params, [near(params, 0)] * 2)
    climbed = [tuner.ask() for _ in range(3)]
    assert tuner.ask() is None
    for place, params in enumerate(climbed):
        assert params is not None
        tuner.tell(params, [float(place)] * 2)  # the worst of the first rung is the best of the last
    assert tuner.selection.winner == climbed[2]
    assert len(tuner.selection.trials) == 9
    lost = Tuner(study)
    while (params := lost.ask()) is not None:
        lost.tell(params, [None, None])
    with pytest.raises(ValueError, match="no trial finished"):
        _ = lost.selection


def test_the_cost_of_a_halved_study_is_known_beforehand(tmp_path: Path) -> None:
    from zobench.suite.cost import estimate

    path = tmp_path / "s.yaml"
    path.write_text(BASE.replace("TUNE", HALVED))
    row = estimate(expand(load(path))).rows[0]
    assert row.tuning_runs == 2 * 2 * (6 + 3)  # tasks, seeds, rungs
    whole = BASE.replace("TUNE", GRID)
    path.write_text(whole)
    full = estimate(expand(load(path))).rows[0]
    assert row.tuning_forwards == pytest.approx(full.tuning_forwards, rel=0.05)  # 6 halves and 3 wholes


def test_a_method_brings_its_own_search_space(tmp_path: Path) -> None:
    study = studies(tmp_path, "{seeds: [101]}")[0]
    rates = study.space["lr"]
    assert isinstance(rates, list)
    assert len(rates) == 5
    default = studies(
        tmp_path, "{space: {eps: [1e-3]}, seeds: [101]}".replace("eps", "n").replace("1e-3", "1")
    )
    own = default[0].finals({"n": 1})[0].spec.method.params["lr"]
    assert rates[2] == own
    assert (rates[0], rates[-1]) == pytest.approx((own / 10, own * 10))


@pytest.mark.parametrize(
    ("ruleset", "tune", "message"),
    [
        ("tuned", "{seeds: [1]}", ""),
        ("self-tuned", "{seeds: [1]}", "ruleset self-tuned: methods run with their defaults"),
        ("open", HALVED.replace("seeds", "sampler: tpe, seeds"), "cannot be combined with tpe"),
        ("open", HALVED.replace("rungs: 2", "rungs: 9"), "which must decrease"),
        ("fair", "{seeds: [1]}", "ruleset"),
    ],
)
def test_rules_of_the_comparison(tmp_path: Path, ruleset: str, tune: str, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        BASE.replace("TUNE", tune).replace("    params: {eps: 1e-2}\n", "") + f"ruleset: {ruleset}\n"
    )
    if not message:
        assert load(path).ruleset == ruleset
        return
    with pytest.raises(ValueError, match=message):
        load(path)


@pytest.mark.parametrize("ruleset", ["", "ruleset: open\n", "ruleset: tuned\n"])
@pytest.mark.parametrize(
    ("other", "told"),
    [
        ("{space: {lr: [1e-4, 1e-3]}, seeds: [101, 102]}", "2 trials on 2 seeds"),
        (GRID.replace("[101, 102]", "[101]"), "6 trials on 1 seed"),
        (
            GRID.replace("seeds", "halving: {factor: 2, rungs: 2}, seeds"),
            "6 trials on 2 seeds in 2 rungs by 2",
        ),
    ],
    ids=["trials", "seeds", "rungs"],
)
def test_tuned_rows_are_tuned_alike_under_every_ruleset(
    tmp_path: Path, ruleset: str, other: str, told: str
) -> None:
    path = tmp_path / "s.yaml"
    text = BASE.replace("TUNE", GRID) + ruleset
    path.write_text(text.replace("attacks:", f"  again: {{method: mezo, tune: {other}}}\nattacks:"))
    with pytest.raises(ValueError, match=f"{told}, but 'mezo' has 6 trials on 2 seeds"):
        load(path)
    free = f"  again: {{method: mezo, group: control, tune: {other}}}\nattacks:"
    path.write_text(text.replace("attacks:", free))
    assert load(path).methods["again"].group == "control"


def test_the_tuned_ruleset_gives_every_method_as_much(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    two = BASE.replace("TUNE", GRID) + "ruleset: tuned\n"
    two = two.replace("attacks:", "  again: {method: mezo}\n  free: {method: mezo, group: control}\nattacks:")
    path.write_text(two)
    with pytest.raises(ValueError, match="every method is tuned in the suite"):
        load(path)
    path.write_text(two.replace("again: {method: mezo}", "again: {method: mezo, tune: {seeds: [101, 102]}}"))
    with pytest.raises(ValueError, match="5 trials on 2 seeds, but 'mezo' has 6 trials on 2 seeds"):
        load(path)
