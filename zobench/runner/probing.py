"""Records of the metrics table of an unlearning run: clean scores, cost, probes, and the matched comparisons.

``split`` identifies the model: ``test`` the final state, ``matched-forget`` and ``matched-retain`` the point
on the line theta_0 + a (theta_u - theta_0) whose *measured* score meets the suite's level. A run that does
not forget as much has no ``matched-forget`` records. Records of probes have ``condition_kind`` ``probe``, the
probe's name (``none`` without a probe), its strength, and its other varied settings in ``params``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import nn

from zobench.parameters import configure
from zobench.plugins import lookup
from zobench.runner.checkpoints import Progress
from zobench.runner.measurements import Found, Measurements
from zobench.runner.results import Row, Spent, params_json
from zobench.runner.unlearning_cache import UnlearningCache
from zobench.spec import Component, RunSpec, Unlearning
from zobench.tasks.base import MetricValue
from zobench.unlearning.evaluate import MeasuredFacts, against_oracle, measure, scores
from zobench.unlearning.fairness import position_of_level, selection_score
from zobench.unlearning.lens import logit_lens
from zobench.unlearning.probes.inputs import InputProbe
from zobench.unlearning.probes.interpolate import between
from zobench.unlearning.rows import FactRow, tokenize

NO_PROBE = "none"
"""Condition of measurements without a probe. Those of the final state are stored as ``clean`` as well."""
CHOICES = 7
"""Number of answers scored for an example with six options: the options and the given answer."""
Asked = Mapping[str, Sequence[FactRow]]
MEASURED_OF_A_VARIANT = ("moved_steps", "moved_above_half", "codes_flipped", "change_kept")
"""Values reported by probes that are measurements of the model: stored as metrics, not as parameters."""


def values_of(
    facts: UnlearningCache, found: Mapping[str, float], measured: MeasuredFacts
) -> dict[str, MetricValue]:
    """Scores with the number of examples of each. The retained score is added under the name ``retained``,
    which is the same for all data."""
    sizes = {name: len(part.rows) for name, part in measured.parts.items()}
    values = {}
    for name, value in found.items():
        part = next((p for p in sizes if name.startswith(f"{p}_")), None)
        values[name] = MetricValue(value, sizes[part] if part else sum(sizes.values()))
    if facts.retain_metric in values:
        values["retained"] = values[facts.retain_metric]
    return values


def clean_values(facts: UnlearningCache, module: nn.Module, *, tuning: bool) -> dict[str, MetricValue]:
    """All scores without a probe, including the comparison with the oracle's outputs and, for tuning trials,
    the selection score."""
    generate = facts.generator(module)
    found = measure(module, facts.tokenizer, facts.with_holdout(tuning), generate, truth=facts.truth)
    numbers = {**scores(found), **against_oracle(found, facts.oracle_measured(tuning))}
    numbers |= _lens(facts, module, tuning)
    if tuning:
        forget, retain = numbers[facts.forget_metric], numbers[facts.retain_metric]
        numbers["selection_score"] = selection_score(forget, retain, facts.stop_level())
    values = values_of(facts, numbers, found)
    if facts.depth and not tuning and (depths := facts.depth_scores(module)):
        values["forget_uds"] = MetricValue(fmean(depths), len(depths))
    return values


def _lens(facts: UnlearningCache, module: nn.Module, tuning: bool) -> dict[str, float]:
    """Logit lens: share of the tokens of forget answers (of the facts themselves, if known) that each block
    decodes to; empty for models without the structure of Llama."""
    if "model.norm" not in dict(module.named_modules()):
        return {}
    device = next(module.parameters()).device
    tokens = tokenize(facts.tokenizer, facts.forget_rows(tuning), device=device)
    shares = logit_lens(module, tokens, value=facts.has_values)
    return {f"forget_lens_{layer}": share for layer, share in enumerate(shares)}


@dataclass(frozen=True, slots=True)
class ProbedModel:
    """A model to probe, the split of its records, and its position a on the line from the full model (0) to
    the unlearned one (1)."""

    split: str
    module: nn.Module
    position: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The parts of a trained unlearning run that probing needs.

    Attributes:
        spent: cost of training up to the final state.
        costs: further clean values of this run: distance, backward passes ...
        clean: scores of the final state; they are measured again if it is probed with ``merged`` adapters.
        progress: the time spent on finding the matched points is added to it.
        measurements: the measurements of the run; each probe is one of them.
    """

    spec: RunSpec
    facts: UnlearningCache
    spent: Spent
    costs: Mapping[str, float]
    clean: Mapping[str, MetricValue]
    merged: bool
    progress: Progress
    measurements: Measurements

    @property
    def section(self) -> Unlearning:
        assert self.spec.unlearning is not None
        return self.spec.unlearning


def probing_rows(run: Finished, module: nn.Module) -> list[Row]:
    """All records of a finished run other than its clean scores."""
    rows = [_row(run, "test", "clean", "", 0.0, {}, n, MetricValue(v, 1)) for n, v in run.costs.items()]
    if run.spec.purpose == "tuning":
        return rows
    subjects = [ProbedModel("test", module, 1.0), *_matched(run, module)]
    for subject in subjects:
        rows += _clean_rows(run, subject)
    for subject in subjects:
        if subject.split != "test" and subject.position == 1.0:  # the final state itself: same results
            rows += [{**row, "split": subject.split} for row in rows if _of_final_probe(row)]
            continue
        for component in run.section.probes:
            rows += _probe_once(run, subject, component)
    return rows


def _probe_once(run: Finished, subject: ProbedModel, component: Component) -> list[Row]:
    """Records of a probe, from an earlier call if available. A reference model is probed once per process for
    all objectives of a seed."""
    key = f"{subject.split} {component.label} {params_json(component.params)}"
    spec, role = run.spec, run.section.role
    shared = ("probed", role, spec.seed, spec.budget.batch_size, key)
    kept = run.facts.kept if role in ("full", "oracle") else {}

    def made() -> Found:
        found, predictions = kept.get(shared) or _probe(run, subject, component)
        kept[shared] = (found, predictions)
        return Found([{**row, "task": spec.task.name} for row in found], [], predictions)

    measured = run.measurements.take(_name(run, subject, component), made)
    return [] if measured is None else measured.metrics


def _name(run: Finished, subject: ProbedModel, component: Component) -> str:
    """Name under which a failure is recorded; includes the parameters if the label is ambiguous."""
    alike = sum(c.label == component.label for c in run.section.probes)
    more = f" {params_json(component.params)}" if alike > 1 else ""
    return f"probe {component.label}{more} on {subject.split}"


def _of_final_probe(row: Row) -> bool:
    """Whether a record of the final state also holds for a matched point at position 1."""
    return row["split"] == "test" and row["condition_kind"] == "probe" and row["condition"] != NO_PROBE


def _matched(run: Finished, module: nn.Module) -> Iterator[ProbedModel]:
    """The models at the suite's matching levels; empty for the reference models."""
    facts, section = run.facts, run.section
    if section.role in ("full", "oracle"):
        return
    started = time.perf_counter()
    if section.match_forget is not None:
        level = facts.forget_level(section.match_forget)

        def forget(m: nn.Module) -> float:
            return facts.forget_score(m, scored=True)

        if forget(module) <= level < forget(facts.reference):
            at = position_of_level(facts.reference, module, forget, level)
            yield ProbedModel("matched-forget", between(facts.reference, module, at), at)
    if section.match_retain is not None:
        at = position_of_level(
            facts.reference, module, facts.retain_score, facts.retain_level(section.match_retain)
        )
        yield ProbedModel("matched-retain", between(facts.reference, module, at), at)
    run.progress.evaluation_seconds += time.perf_counter() - started


def _clean_rows(run: Finished, subject: ProbedModel) -> list[Row]:
    final = subject.split == "test" and not run.merged
    values = dict(run.clean) if final else clean_values(run.facts, subject.module, tuning=False)
    values["position"] = MetricValue(subject.position, 1)
    return [_row(run, subject.split, "probe", NO_PROBE, 0.0, {}, n, v) for n, v in values.items()]


def _probe(run: Finished, subject: ProbedModel, component: Component) -> tuple[list[Row], int]:
    """Records of one probe on one model, and the number of answers that were scored."""
    facts, cls, name = run.facts, lookup("probes", component.name), component.label
    probe = cls(configure(cls.Config, component.params))
    parts, predictions = facts.parts(), 0
    rows: list[Row] = []

    def scored(module: nn.Module, asked: Asked, strength: float, more: dict[str, object]) -> None:
        nonlocal predictions
        found = measure(module, facts.tokenizer, asked, truth=False)
        predictions += sum(len(p.rows) for p in found.parts.values())
        values = values_of(facts, scores(found), found)
        if probe.kind == "input" and probe.choices:
            chosen = measure(module, facts.tokenizer, {"forget": asked["forget"]}, truth=True)
            predictions += CHOICES * len(asked["forget"])
            number = scores(chosen)["forget_choice_accuracy"]
            values["forget_choice_accuracy"] = MetricValue(number, len(asked["forget"]))
        own = {k: v for k, v in more.items() if k not in MEASURED_OF_A_VARIANT}
        for key in MEASURED_OF_A_VARIANT:
            if key in more:
                values[key] = MetricValue(float(str(more[key])), 1)
        rows.extend(_row(run, subject.split, "probe", name, strength, own, n, v) for n, v in values.items())

    if isinstance(probe, InputProbe):
        taken = {n: [row for row in rs if probe.takes(row)] for n, rs in parts.items()}
        if not taken["forget"]:
            raise ValueError(f"probe {name!r} cannot change any forget example of {run.section.data.name!r}")
        for setting, asked in facts.asked(probe, taken, run.spec.seed):
            scored(subject.module, asked, setting.strength, dict(setting.params))
    else:
        for v in probe.variants(subject.module, facts.material(run.spec)):
            scored(v.module, parts, v.strength, dict(v.params))
    return rows, predictions


def _row(
    run: Finished,
    split: str,
    kind: str,
    condition: str,
    strength: float,
    params: Mapping[str, object],
    metric: str,
    value: MetricValue,
) -> Row:
    return {
        **run.spent.as_row(),
        "task": run.spec.task.name,
        "split": split,
        "condition_kind": kind,
        "condition": condition,
        "strength": strength,
        "params": params_json(params),
        "metric": metric,
        "value": float(value.value),
        "n": int(value.n),
        "stderr": value.stderr,
        "final": True,
    }
