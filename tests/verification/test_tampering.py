"""A modified submission is detected, whatever was changed and however consistently."""

from __future__ import annotations

import zipfile

import pytest

from zobench.spec import Component, RunSpec
from zobench.verification.claims import columns_of, declared_id
from zobench.verification.report import NEVER_CHECKED


def failed(report):
    assert not report.passed
    return {f.check: f.detail for f in report.failures()}


def reidentify(head, tables):
    """Make rows and run id fit the specification again."""
    spec = RunSpec.model_validate(head["spec"], strict=False)
    head["run"].update(columns_of(spec))
    head["run"]["run_id"] = declared_id(spec, head["run"], {})
    for row in (row for rows in tables.values() for row in rows):
        row["run_id"] = head["run"]["run_id"]


def change_loss(head, tables):
    tables["steps"][4]["losses"][0] += 1e-4


def change_coefficient(head, tables):
    tables["steps"][4]["coefficients"][0] *= 1.5


def change_direction_seed(head, tables):
    tables["steps"][4]["seeds"][0] += 1


def change_lr(head, tables):
    tables["steps"][4]["lr"] = 0.5


def drop_a_step(head, tables):
    del tables["steps"][4]


def swap_steps(head, tables):
    tables["steps"][3], tables["steps"][4] = tables["steps"][4], tables["steps"][3]


def forget_forwards(head, tables):
    tables["steps"][4]["forwards"] -= 2


def prettier_curve(head, tables):
    tables["steps"][4]["loss"] = 0.01


@pytest.mark.parametrize(
    "change",
    [
        change_loss,
        change_coefficient,
        change_direction_seed,
        change_lr,
        drop_a_step,
        swap_steps,
        forget_forwards,
        prettier_curve,
    ],
)
def test_a_changed_step_breaks_the_trajectory_even_if_it_is_not_drawn(submitted, tampered, verify, change):
    found = failed(verify(tampered(submitted(), change), steps=0))
    at = 5 if change is drop_a_step else 4  # a dropped step shows at the one behind it
    assert found["trajectory"].startswith(f"step {at}")


def test_a_changed_digest(submitted, tampered, verify):
    def change(head, tables):
        head["run"]["weights_digest"] = "0" * 64

    assert set(failed(verify(tampered(submitted(), change)))) == {"weights"}


@pytest.mark.parametrize("column", ["model_digest", "data_digest"])
def test_another_model_or_other_data(submitted, tampered, verify, column):
    def change(head, tables):
        head["run"][column] = "0" * 64
        reidentify(head, tables)

    report = verify(tampered(submitted(), change))
    assert set(failed(report)) == {{"model_digest": "base model", "data_digest": "data"}[column]}
    never = {name for name, _ in NEVER_CHECKED}
    open_ones = {f.check for f in report.findings if f.outcome == "not checked"} - never
    assert open_ones == {"trajectory", "size", "losses", "end of training", "weights", "test metrics"}


def test_a_changed_specification_breaks_the_identity(submitted, tampered, verify):
    def change(head, tables):
        head["spec"]["seed"] = 4

    assert "run id" in failed(verify(tampered(submitted(), change)))["identity"]


@pytest.mark.parametrize(
    ("key", "value", "check"),
    [
        ("seed", 4, "data"),
        ("method", {"name": "mezo", "params": {"lr": 0.04, "epsilon": 1e-2}}, "trajectory"),
        ("method", {"name": "mezo", "params": {"lr": 0.05, "epsilon": 2e-2}}, "trajectory"),
        ("labels", "shuffled", "losses"),
        ("budget", {"forwards": 24, "batch_size": 16}, "trajectory"),
        ("budget", {"forwards": 400, "batch_size": 8}, "end of training"),
        ("budget", {"forwards": 20, "batch_size": 8}, "end of training"),
        ("evaluation", {"test_items": 7}, "test metrics"),
    ],
)
def test_a_changed_specification_with_a_fitting_identity(submitted, tampered, verify, key, value, check):
    def change(head, tables):
        head["spec"][key] = {**head["spec"][key], **value} if isinstance(value, dict) else value
        reidentify(head, tables)

    assert check in failed(verify(tampered(submitted(), change), steps=None))


def test_a_row_that_is_not_its_specification(submitted, tampered, verify):
    def change(head, tables):
        head["run"]["method"] = "fzoo"

    assert "method is 'fzoo'" in failed(verify(tampered(submitted(), change)))["identity"]


@pytest.mark.parametrize("change", [-0.01, 0.01, None])
def test_a_changed_metric(submitted, tampered, verify, change):
    def alter(head, tables):
        for row in tables["metrics"]:
            if row["metric"] == "accuracy":
                row["value"] = None if change is None else row["value"] + change

    assert set(failed(verify(tampered(submitted(), alter)))) == {"test metrics"}


def test_an_invented_metric(submitted, tampered, verify):
    def alter(head, tables):
        tables["metrics"].append({**tables["metrics"][-1], "metric": "brilliance", "value": 1.0})

    assert "brilliance" in failed(verify(tampered(submitted(), alter)))["test metrics"]


def test_a_run_cut_short_at_its_best_step(submitted, tampered, verify):
    def change(head, tables):
        del tables["steps"][7:]
        head["run"].update(steps=7, forwards=14)

    assert (
        "training stopped after 7 steps" in failed(verify(tampered(submitted(), change)))["end of training"]
    )


def forge(submitted, tampered, verify):
    """Losses invented at one step, everything after it made to fit: coefficients, weights, metrics."""
    import runner_fakes

    honest = runner_fakes.CountTask.loss
    seen = {"calls": 0}

    def dishonest(self, lm, module, batch):
        seen["calls"] += 1
        return honest(self, lm, module, batch) + (0.5 if seen["calls"] == 9 else 0.0)

    runner_fakes.CountTask.loss = dishonest
    try:
        return submitted()
    finally:
        runner_fakes.CountTask.loss = honest


def test_a_forgery_that_fits_in_every_scalar_is_caught_where_losses_are_recomputed(
    submitted, tampered, verify
):
    file = forge(submitted, tampered, verify)
    report = verify(file, steps=None)
    assert set(failed(report)) == {"losses"}
    assert "step 4: loss 0" in failed(report)["losses"]
    blind = verify(file, steps=0)
    assert not blind.passed
    assert not blind.failures(), "scalars alone only prove that scalars give weights"


def test_a_forged_derivative_is_caught(submitted, tampered, verify, monkeypatch):
    from zobench.zo.objective import Objective

    honest = Objective.jvp
    seen = {"calls": 0}

    def dishonest(self, tangents):
        seen["calls"] += 1
        loss, slope = honest(self, tangents)
        return loss, slope + (seen["calls"] == 3)

    monkeypatch.setattr(Objective, "jvp", dishonest)
    file = submitted("forward-gradient", method=Component(name="forward-gradient", params={"lr": 0.01}))
    monkeypatch.setattr(Objective, "jvp", honest)
    assert "derivative_0" in failed(verify(file, steps=None))["losses"]


UNLEARNING = {
    "role": "unlearn",
    "data": {"name": "nano-facts", "params": {}},
    "oracle": {"name": "tiny"},
}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("clients", {"number": 2}, "the run has clients"),
        ("unlearning", UNLEARNING, "the run is an unlearning run"),
    ],
)
def test_a_trajectory_is_not_declared_as_another_kind_of_run(
    submitted, tampered, verify, key, value, message
):
    def change(head, tables):
        head["spec"][key] = value
        reidentify(head, tables)

    with pytest.raises(ValueError, match=message):
        verify(tampered(submitted(), change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t: h.update(version=2), "version 2"),
        (lambda h, t: h.update(schema_version=99), "schema_version 99"),
        (lambda h, t: h.update(format="else"), "format"),
        (lambda h, t: h.update(run={}), "has no 'run_id'"),
        (lambda h, t: h["spec"].update(extra=1), "extra"),
    ],
)
def test_another_form_is_refused(submitted, tampered, verify, change, message):
    with pytest.raises(ValueError, match=message):
        verify(tampered(submitted(), change))


def test_a_submission_of_an_older_schema_is_verified_and_one_of_this_must_be_whole(
    submitted, tampered, verify
):
    def older(head, tables):
        head["schema_version"] = 0
        del head["run"]["diagnostic_forwards"]

    assert verify(tampered(submitted(), older)).passed
    with pytest.raises(ValueError, match="has no 'diagnostic_forwards'"):
        verify(tampered(submitted(), lambda h, t: h["run"].pop("diagnostic_forwards")))


@pytest.mark.parametrize("column", ["weights_digest", "model_digest", "run_id", "status"])
def test_an_older_schema_is_no_way_to_leave_out_what_is_checked(submitted, tampered, verify, column):
    def older(head, tables):
        head["schema_version"] = 0
        del head["run"][column]

    assert failed(verify(tampered(submitted(), older)))


def test_what_is_no_submission_is_refused(tmp_path, verify):
    path = tmp_path / "x.zip"
    path.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="not a submission"):
        verify(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../escape.py", "boom")
    with pytest.raises(ValueError, match="unknown member"):
        verify(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("submission.json", "{")
    with pytest.raises(ValueError, match="not a submission"):
        verify(path)


def test_code_of_a_repository_is_never_run(submitted, tampered, verify):
    def change(head, tables):
        head["spec"]["model"]["trust_remote_code"] = True
        reidentify(head, tables)

    with pytest.raises(ValueError, match="--model"):
        verify(tampered(submitted(), change))


def test_control_characters_of_a_row_name_do_not_reach_the_terminal(submitted, tampered, verify):
    def change(head, tables):
        head["run"]["row"] = "best\x1b[2J"

    assert "\x1b" not in str(verify(tampered(submitted(), change)))
