"""Notes on a plan: possible problems that do not make it invalid, because they concern only this machine or
may be intended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from zobench.models.devices import missing
from zobench.spec import RunSpec
from zobench.suite.data_files import data_notes, long_texts
from zobench.suite.drawn_rows import drawn
from zobench.suite.joins import joins
from zobench.suite.plan import Plan


def notes(plan: Plan) -> list[str]:
    """One sentence for each possible problem, not ordered by importance."""
    found = [*device_notes(plan), *data_notes(plan), *long_texts(plan), *_class_notes(plan), *joins(plan)]
    return [*found, *_chat_notes(plan)]


def device_notes(plan: Plan) -> list[str]:
    """Devices of the plan that this machine does not have, with the number of runs that need each. The plan
    remains valid for another machine. On this machine, those runs fail with a message that names the device,
    and the other runs continue."""
    wanted = Counter(device for spec in _specs(plan) for device in _devices(spec))
    return [
        f"device {device!r}: {problem}; {count} of the {len(_specs(plan))} runs would fail here"
        for device, count in wanted.items()
        if (problem := missing(device))
    ]


def unloadable_notes(plan: Plan) -> list[str]:
    """One sentence for each plugin that cannot be imported: its rows and the error."""
    by_error: dict[str, list[str]] = {}
    for one in plan.unloadable:
        by_error.setdefault(one.error, []).append(one.run.row)
    found = []
    for error, rows in by_error.items():
        runs = "1 run" if len(rows) == 1 else f"{len(rows)} runs"
        told = f"{runs} of {', '.join(dict.fromkeys(rows))} cannot be planned and will be recorded as failed"
        found.append(f"{told}: {error}")
    return found + [f"runs are not tracked: {error}" for error in plan.untracked]


def _chat_notes(plan: Plan) -> Iterator[str]:
    """Properties of the chat templates in use."""
    from zobench.models.inspection import chat_of

    for model in dict.fromkeys(spec.model for spec in _specs(plan) if spec.model.chat):
        chat = chat_of(model)
        yield from () if chat is None else chat.notes()


def _devices(spec: RunSpec) -> set[str]:
    oracle = () if spec.unlearning is None else (spec.unlearning.oracle.device,)
    return {spec.model.device, *oracle}


def _class_notes(plan: Plan) -> Iterator[str]:
    """Notes on tasks whose training examples all have the same class, or whose first test examples do if only
    these are evaluated."""
    cells = {(spec.task.model_dump_json(), spec.evaluation.test_items): spec for spec in _specs(plan)}
    told: set[str] = set()
    for spec in cells.values():
        found = None if spec.unlearning is not None else drawn(spec.task, spec.seed)
        if found is None:
            continue
        most = spec.evaluation.test_items
        for what, labels in (("training", found.train), (f"first {most} test", found.test[:most])):
            only = found.only_class(labels)
            line = f"{spec.task.name}, seed {spec.seed}: all of the {what} rows have the class {only!r}"
            if only and (what == "training" or most is not None) and line not in told:
                told.add(line)
                yield line


def _specs(plan: Plan) -> list[RunSpec]:
    studied = (run for s in plan.studies for run in (*s.trial_templates, *s.final_templates))
    return [run.spec for run in (*plan.runs, *studied, *(f.template for f in plan.followers))]
