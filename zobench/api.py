"""Python interface of zobench: run a suite, compare methods, read results, fine-tune any module.

    import zobench

    results = zobench.run("suites/fewshot.yaml")                 # or a dictionary with the same keys
    table = zobench.compare(["mezo", "fzoo"], task="nano-sentiment", forwards=200)
    results = zobench.read("reports/fewshot")
    records = zobench.fit(module, loss, examples, method="mezo", config={"lr": 1e-3})

The functions are available as ``zobench.run`` etc.; torch is imported only when one of them is called.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from zobench.store.reader import Results
    from zobench.zo import StepRecord

SuiteOrFile = str | Path | Mapping[str, Any]


def run(
    suite: SuiteOrFile,
    *,
    output: str | Path | None = None,
    workers: int = 0,
    only: str | None = None,
    progress: bool = True,
) -> Results:
    """Execute every run of a suite that is not finished, and return the results as data frames.

    Args:
        suite: a suite file, or its content as a dictionary; paths in a dictionary are relative to the working
            directory.
        output: results folder; default: the suite's, else ``reports/<suite>``. Finished runs in it are kept;
            those of earlier versions of the suite are left out of the result (``read`` gives them too).
        workers: number of worker processes; 0 (the default, required in notebooks) executes all runs in this
            process.
        only: execute only this leaderboard entry.
        progress: whether to show progress.

    Raises:
        ValueError: the suite is invalid; the message lists all errors.
        RuntimeError: some runs failed; the others are finished, and the message names each failure.
    """
    from zobench.runner import run_plan
    from zobench.store.paths import results_folder
    from zobench.store.reader import read as read_folder
    from zobench.suite import expand, load
    from zobench.suite.loading import load_values

    plan = expand(load_values(suite) if isinstance(suite, Mapping) else load(suite))
    folder = Path(output or plan.output or results_folder(Path("reports"), plan.suite))
    outcome = run_plan(plan, folder, workers=workers, only=only, progress=progress)
    if outcome.interrupted:
        raise KeyboardInterrupt("interrupted; call again to resume")
    if outcome.blocked:
        raise RuntimeError(outcome.blocked)
    for name, message in outcome.unmeasured:
        warnings.warn(f"{name}: trained, but not measured: {message}", stacklevel=2)
    if outcome.failed:
        told = "; ".join(f"{name}: {message}" for name, message in outcome.failed)
        raise RuntimeError(f"{len(outcome.failed)} runs failed: {told}. Call again to try them again")
    return _planned(read_folder([folder]), folder)


def read(*folders: str | Path) -> Results:
    """The results in these folders as data frames: runs, steps, metrics, predictions, attacks ..., and
    ``finals``.

    Raises:
        ValueError: a folder does not exist, or none of them has a finished run.
    """
    from zobench.store.reader import read as read_folders

    results = read_folders(list(folders))
    if not results.tables["runs"].num_rows:
        told = ", ".join(map(str, folders)) or "no folder"
        raise ValueError(f"no finished run in {told}; give the folders that 'zobench run --output' wrote")
    return results


def _planned(results: Results, folder: Path) -> Results:
    """The runs of the suite that was run last in the folder, without those of its earlier versions."""
    import pyarrow as pa
    import pyarrow.compute

    from zobench.store.plan_file import read_plan
    from zobench.store.reader import Results

    plan = read_plan(folder / "runs")
    assert plan is not None, "run_plan writes it"
    wanted = pa.array(sorted({run_id for entry in plan.entries for run_id in entry.run_ids}), pa.string())
    kept = {
        name: table.filter(pa.compute.is_in(table["run_id"], value_set=wanted))
        for name, table in results.tables.items()
    }
    return Results(kept)


def compare(
    methods: str | Sequence[str] | Mapping[str, Mapping[str, Any]],
    *,
    task: str = "nano-sentiment",
    params: Mapping[str, Any] | None = None,
    model: str = "builtin:nano",
    forwards: int = 200,
    batch_size: int = 16,
    seeds: int | Sequence[int] = (0, 1, 2),
    output: str | Path | None = None,
) -> pd.DataFrame:
    """Compare methods on one task with one budget.

    Args:
        methods: catalogue names (or one), or leaderboard entries by name, each as in a suite's ``methods``.
        task: catalogue name of the task; ``params`` are its parameters.
        model: name as in a suite's ``models``.
        forwards: budget in forward passes of ``batch_size`` examples, the same for every method.
        seeds: seeds of the runs (or one).
        output: results folder; default ``reports/compare-<task>``.

    Returns:
        One row per method with the mean, smallest and largest score over the seeds. The untrained model is
        always included, as ``zero-shot``. ``seeds`` counts runs with a final
        score, which a diverged run may lack.
    """
    methods = [methods] if isinstance(methods, str) else methods
    rows = {name: {} for name in methods} if not isinstance(methods, Mapping) else dict(methods)
    suite = {
        "suite": f"compare-{task}",
        "models": {"model": {"name": model}},
        "tasks": {task: {"params": dict(params or {})}},
        "methods": {**rows, "zero-shot": {"method": "none", "group": "control"}},
        "seeds": [seeds] if isinstance(seeds, int) else list(seeds),
        "budget": {"forwards": forwards, "batch_size": batch_size},
    }
    results = run(suite, output=output)
    finals, runs = results.finals, results.runs
    primary = finals.merge(runs[["run_id", "primary_metric"]], on="run_id")
    scores = primary[primary["metric"] == primary["primary_metric"]]
    table = scores.groupby("row")["value"].agg(["mean", "min", "max", "count"])
    return table.rename(columns={"count": "seeds"}).sort_values("mean", ascending=False)


def fit(
    module: torch.nn.Module,
    loss: Callable[[torch.nn.Module, list[Any]], Any],
    examples: Sequence[Any],
    *,
    method: str = "mezo",
    config: Mapping[str, Any] | None = None,
    space: str = "full",
    space_params: Mapping[str, Any] | None = None,
    batch_size: int = 8,
    forwards: int = 200,
    seed: int = 0,
) -> list[StepRecord]:
    """Fine-tune any module in place with forward passes only.

    Args:
        module: the module; it is set to eval mode, so that the losses of a step are not affected by dropout.
        loss: ``loss(module, examples)`` returns a scalar: the mean loss over a minibatch of examples.
        examples: training examples of any type, for instance dictionaries.
        method: name of a method (see ``zobench list methods``); ``config`` are its parameters.
        space: parameter space to tune (``full``, ``lora``, ``names`` ...); ``space_params`` are its
            parameters.
        forwards: budget in forward passes of a minibatch; no step is started that might exceed it.
        seed: seed of the directions and of the order of examples; the same seed gives bit-identical results.

    Raises:
        ValueError: there are no examples; the method, a parameter or the space is unknown; or the method
            needs other data.
    """
    from zobench.parameters import configure
    from zobench.plugins import lookup
    from zobench.runner.data_order import minibatch_rows
    from zobench.zo import Meter, Objective, build_space

    kind = lookup("methods", method)
    if kind.card.needs:
        raise ValueError(
            f"{method} needs {', '.join(kind.card.needs)} besides minibatches; use it in a suite"
        )
    settings = configure(kind.Config, dict(config or {}))
    optimizer = kind(settings, build_space(space, dict(space_params or {}), module), seed=seed)
    objective = Objective(module.eval(), _one_number(loss), Meter())
    cost = kind.cost(settings)
    records: list[StepRecord] = []

    def draw(index: int) -> None:
        chosen = minibatch_rows(seed, "fit", len(examples), batch_size, index)
        objective.set_batch([examples[i] for i in chosen], sequences=batch_size, tokens=0)

    draw(0)
    optimizer.prepare(objective)
    while objective.meter.forwards + cost.max_forwards_in_step <= forwards and cost.max_forwards_in_step:
        draw(len(records))
        records.append(optimizer.step(objective))
    return records


def _one_number(
    loss: Callable[[torch.nn.Module, list[Any]], Any],
) -> Callable[[torch.nn.Module, list[Any]], Any]:
    """The loss, with a ``ValueError`` for one that is a vector."""
    import torch

    def checked(module: torch.nn.Module, batch: list[Any]) -> Any:
        value = loss(module, batch)
        if isinstance(value, torch.Tensor) and value.numel() != 1:
            raise ValueError(
                f"loss returned a tensor of shape {tuple(value.shape)}; it must return one number, the mean "
                "over the examples (.mean())"
            )
        return value

    return checked
