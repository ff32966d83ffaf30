"""Task-aware pruning of the built-in text model: measures it and writes its part of ``docs/systems.md``.

    python -m zobench.studies.pruning --measure     # minutes on one core; kept after every setting, resumes

General data are documents of the kinds that ``nano`` was trained on, without those about people; task data
are questions about the people that it knows. ``docs/results/pruning.parquet`` has one record per criterion,
sparsity and seed of the calibration sets: the share of people's facts that are recalled, and the perplexity
of other general documents.
"""

from __future__ import annotations

import argparse
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import torch

from zobench.data.synthetic import corpus
from zobench.metrics.intervals import stratified_groups
from zobench.models.base import LanguageModel
from zobench.models.likelihood import text_passes
from zobench.models.loading import load
from zobench.models.nano.gates import recall
from zobench.spec import ModelRef
from zobench.studies import committed, markdown
from zobench.zo import build_space
from zobench.zo.pruning import channel_scores, fused_scores, kept_by_row, prune, sizes_on
from zobench.zo.space.base import ParameterSpace

NAME = "pruning"
CRITERIA = ("magnitude", "general", "task", "mixed", "fused")
SPARSITIES = (0.3, 0.5)
SEEDS = (1, 2, 3, 4, 5)
CALIBRATION, HELD = 32, 64
"""Documents of each calibration set, and general documents for the perplexity."""
HELD_SEED, FACTS = 900, 60
LAYERS = ["*_proj.weight"]


def general(seed: int, count: int) -> list[str]:
    """General documents of a seed."""
    return corpus.general_documents(seed, count)


def about_people(seed: int, count: int) -> list[str]:
    """Documents about people of a seed."""
    found = (d.text for d in corpus.documents(seed) if d.kind == "person")
    return list(itertools.islice(found, count))


@torch.no_grad()
def perplexity(lm: LanguageModel) -> float:
    """exp of the mean negative log-likelihood per token of the held-out general documents."""
    total = torch.stack([run() for run in text_passes(lm, general(HELD_SEED, HELD))]).double().sum(0)
    return math.exp(float(total[0] / total[1]))


def scores(lm: LanguageModel, space: ParameterSpace, criterion: str, seed: int) -> dict[str, torch.Tensor]:
    """The pruning scores of a criterion; ``mixed`` has half of each calibration set."""
    if criterion == "magnitude":
        return {name: space.entries(name).detach().abs() for name in space}
    g, t = general(seed, CALIBRATION), about_people(seed, CALIBRATION)
    half = CALIBRATION // 2
    texts = {"general": g, "task": t, "mixed": g[:half] + t[:half]}
    if criterion != "fused":
        return channel_scores(space, sizes_on(space, text_passes(lm, texts[criterion])))
    on_general, on_task = (sizes_on(space, text_passes(lm, texts[name])) for name in ("general", "task"))
    return fused_scores(space, on_general, on_task)


def measured(criterion: str, sparsity: float, seed: int) -> dict[Any, Any]:
    """One record: the pruned model's recall of people's facts and perplexity of general documents."""
    lm = load(ModelRef(name="builtin:nano"))
    space = build_space("names", {"include": LAYERS}, lm.module)
    if criterion != "none":
        prune(lm.module, kept_by_row(scores(lm, space, criterion, seed), sparsity))
    facts = corpus.nano_facts_of_people()[:FACTS]
    with torch.inference_mode():
        accuracy = recall(lm, facts)
    return {
        "criterion": criterion,
        "sparsity": sparsity,
        "seed": seed,
        "accuracy": accuracy,
        "perplexity": perplexity(lm),
    }


def measure() -> None:
    """Measure what the file lacks."""
    path = committed.results() / f"{NAME}.parquet"
    rows: list[dict[Any, Any]] = pd.read_parquet(path).to_dict("records") if path.exists() else []
    known = {(r["criterion"], r["sparsity"], r["seed"]) for r in rows}
    wanted = [("none", 0.0, 0)]
    wanted += [(c, s, seed) for seed in SEEDS for s in SPARSITIES for c in CRITERIA if c != "magnitude"]
    wanted += [("magnitude", s, 0) for s in SPARSITIES]
    for setting in wanted:
        if setting not in known:
            rows.append(measured(*setting))
            print(rows[-1], flush=True)
            table = pd.DataFrame(rows).sort_values(["sparsity", "criterion", "seed"], ignore_index=True)
            committed.keep(table, path)


def section(table: pd.DataFrame) -> str:
    """The part of the page on pruning."""
    whole = table[table["criterion"] == "none"].iloc[0]
    rows = []
    for sparsity in SPARSITIES:
        part = table[table["sparsity"] == sparsity]
        fused = part[part["criterion"] == "fused"].set_index("seed").sort_index()
        for name in CRITERIA:
            mine = part[part["criterion"] == name].set_index("seed").sort_index()
            cells = [f"{100 * mine['accuracy'].mean():.1f}", f"{mine['perplexity'].mean():.2f}"]
            if name not in ("fused", "magnitude"):
                gain = 100 * (fused["accuracy"] - mine["accuracy"])
                ratio = np.log(fused["perplexity"]) - np.log(mine["perplexity"])
                cells += [_interval(gain, "{:+.1f}"), _interval(ratio, "{:.3f}", exponential=True)]
            else:
                cells += ["–", "–"]
            rows.append([f"{sparsity:g}", f"`{name}`", *cells])
    header = ["sparsity", "criterion", "facts recalled (%)", "perplexity", "`fused` minus it", "`fused` / it"]
    text = TEXT.format(
        facts=FACTS,
        accuracy=f"{100 * whole['accuracy']:.1f}",
        perplexity=f"{whole['perplexity']:.2f}",
        seeds=table[table["criterion"] == "fused"]["seed"].nunique(),
        documents=CALIBRATION,
        held=HELD,
    )
    return "\n".join([text, *markdown.table(header, rows)])


def _interval(values: pd.Series, form: str, *, exponential: bool = False) -> str:
    d = stratified_groups([np.asarray(values, dtype=float)])
    shown = [form.format(math.exp(v) if exponential else v) for v in (d.value, d.low, d.high)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


TEXT = """## Task-aware pruning

`python -m zobench.studies.pruning --measure` (`suites/pruning.yaml` runs the same comparison
as a suite, and trains what is kept): all linear layers of `nano`'s blocks are pruned
row by row by Wanda-like scores, without retraining (`zobench.zo.pruning`). The task is to recall {facts}
facts about people that the model knows, calibrated on documents of these and its other facts; general data
are its other documents. {seeds} seeds of the calibration sets, {documents} documents each; perplexity on
{held} other general documents. Unpruned: {accuracy} % and {perplexity}.

*Published* (2510.22489; abstract and a review were read, figures not): scores of both calibration sets, fused
by shared and exclusive channels, improve on those of general data alone, without retraining. Threshold and
fusion weights were not found: 0.5, mean and maximum are ours. *Found here*: the table; differences paired by
seed, with 95 % t intervals, not corrected for their number.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    if parser.parse_args().measure:
        measure()


if __name__ == "__main__":
    main()
