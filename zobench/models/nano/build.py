"""Train a built-in language model from scratch and save it with its provenance."""

from __future__ import annotations

import hashlib
import itertools
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from zobench.data.synthetic import corpus, countdown
from zobench.data.synthetic.draw import stream
from zobench.data.synthetic.fact_sets import training_rows
from zobench.models.nano import TEXT, architecture, packing, path, tokenizer
from zobench.models.nano.recipe import (
    RECIPE_VERSION,
    RECIPES,
    TOKENIZER_DOCUMENTS,
    TOKENIZER_SEED,
    Phase,
    Recipe,
)
from zobench.models.nano.train import LossOfStep, TrainedModel, causal_loss, masked_loss, train
from zobench.names import nearest

WEIGHTS = "model.safetensors"
ProgressCallback = Callable[[dict[str, float]], None]


def build(
    name: str,
    out_dir: Path | str,
    *,
    seed: int = 0,
    steps: int | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Train ``name`` and write it to ``out_dir`` in the Hugging Face format; returns the content of
    ``PROVENANCE.json``.

    The same seed, steps, machine, thread count and library versions give a bit-identical file.

    Args:
        name: one of :data:`zobench.models.nano.TEXT`; ``ValueError`` for another.
        seed: of the initialisation. The data stream is fixed by the recipe.
        steps: optimizer steps of every phase; the recipe's numbers by default.
        progress: called with ``{"step", "loss", "tokens", "seconds"}`` about fifty times per phase.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown built-in model {name!r}{nearest(name, TEXT)}")
    recipe = RECIPES[name]
    if steps is not None:
        if steps < 1:
            raise ValueError(f"steps must be at least 1, not {steps}")
        recipe = shortened(recipe, steps)
    tokens = make_tokenizer()
    model = _started(recipe, tokens, seed)
    trained: list[TrainedModel] = []
    for phase in recipe.phases:
        if trained:
            round_parameters(model)
        trained.append(
            train(model, _loss(recipe, phase, tokens), phase.schedule, progress or (lambda row: None))
        )
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    parameters = sum(p.numel() for p in model.parameters())
    model.bfloat16().save_pretrained(out)
    tokens.save_pretrained(out)
    record = _record(name, recipe, seed, trained, parameters, out)
    write_provenance(out, record)
    return record


def _started(recipe: Recipe, tokens: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """The model before its first phase: initialized with ``seed``, or with the shipped weights of
    ``recipe.start``."""
    if recipe.start:
        found = transformers.AutoModelForCausalLM.from_pretrained(
            path(recipe.start), dtype=torch.float32, local_files_only=True
        )
        assert isinstance(found, PreTrainedModel)
        return found
    shape = {"width": recipe.width, "layers": recipe.layers, "heads": recipe.heads, "mlp": recipe.mlp}
    config = (architecture.causal if recipe.kind == "causal" else architecture.masked)(tokens, **shape)
    return architecture.initialise(config, seed)


@torch.no_grad()
def round_parameters(model: torch.nn.Module) -> None:
    """Round parameters to the shipped precision, so that any phase can start from a saved file.

    Buffers are left unchanged: the rotary frequencies are computed in float32 whenever the model is loaded,
    so training with rounded ones would give a different model than the shipped one."""
    for parameter in model.parameters():
        parameter.copy_(parameter.bfloat16())


def shortened(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with ``steps`` steps in every phase."""
    phases = tuple(replace(p, schedule=replace(p.schedule, steps=steps)) for p in recipe.phases)
    return replace(recipe, phases=phases)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The family's tokenizer, trained on the corpus and on the facts of ``nano-facts``."""
    texts = [d.text for d in itertools.islice(corpus.documents(TOKENIZER_SEED), TOKENIZER_DOCUMENTS)]
    facts = [f"Q: {question}\nA: {answer}" for question, answer, _ in training_rows()]
    return tokenizer.train([*texts, *facts])


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def write_provenance(folder: Path, record: dict[str, Any]) -> None:
    (folder / "PROVENANCE.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def _loss(recipe: Recipe, phase: Phase, tokens: PreTrainedTokenizerFast) -> LossOfStep:
    if recipe.data == "facts":
        return causal_loss(_fact_batches(recipe, phase.seed, tokens))
    texts = (
        corpus.documents(phase.seed, phase.plan) if recipe.data == "corpus" else puzzle_documents(phase.seed)
    )
    rows = packing.encoded(texts, tokens)
    pad = tokens.pad_token_id
    assert isinstance(pad, int)
    packed = packing.packed(rows, recipe.length, pad)
    if recipe.kind == "causal":
        return causal_loss(packing.causal_batches(packed, recipe.batch))
    assert isinstance(tokens.mask_token_id, int)
    return masked_loss(
        packing.masked_batches(packed, recipe.batch, tokens.mask_token_id, stream(phase.seed, "mask"))
    )


def puzzle_documents(seed: int) -> Iterator[corpus.Document]:
    """Countdown puzzles of the training split, each with one solution."""
    rng = stream(seed, "countdown-text")
    while True:
        puzzle = countdown.draw_puzzle(rng)
        if puzzle.split == "train":
            prompt = countdown.PROMPT.format(question=puzzle.question)
            # The numbers of a puzzle are random: a loss on the prompt would only add noise to the gradient.
            yield corpus.Document("countdown", ((prompt, 0.0), (f" {puzzle.solution}\n", 1.0)))


def _fact_batches(
    recipe: Recipe, seed: int, tokens: PreTrainedTokenizerFast
) -> Iterator[tuple[Tensor, Tensor]]:
    """Epochs of shuffled facts, one per sequence.

    The oracle uses the same order; facts about forget authors have weight zero there, so both models see
    every other fact at the same step.
    """
    rng = stream(seed, "facts")
    table = []
    end, pad = tokens.eos_token_id, tokens.pad_token_id
    for question, answer, seen in training_rows(oracle=recipe.oracle):
        prompt = tokens(f"Q: {question}\nA:")["input_ids"]
        target = [*tokens(f" {answer}")["input_ids"], end]
        gap = recipe.length - len(prompt) - len(target)
        assert gap >= 0, f"a fact of {recipe.length - gap} tokens does not fit"
        weights = [corpus.PROMPT_WEIGHT * seen] * len(prompt) + [1.0 * seen] * len(target) + [0.0] * gap
        table.append((prompt + target + [pad] * gap, weights))
    while True:
        rng.shuffle(table)
        for i in range(0, len(table) - recipe.batch + 1, recipe.batch):
            part = table[i : i + recipe.batch]
            yield torch.tensor([ids for ids, _ in part]), torch.tensor([w for _, w in part])


def _record(
    name: str, recipe: Recipe, seed: int, trained: Sequence[TrainedModel], parameters: int, folder: Path
) -> dict[str, Any]:
    return {
        "name": name,
        "digest": file_digest(folder / WEIGHTS),
        "tokenizer_digest": file_digest(folder / "tokenizer.json"),
        "parameters": parameters,
        "recipe_version": RECIPE_VERSION,
        "data_version": corpus.DATA_VERSION,
        "seed": seed,
        "tokens": sum(t.tokens for t in trained),
        "seconds": round(sum(t.seconds for t in trained), 1),
        "machine": machine(),
        "phases": [phase_record(recipe, p, t) for p, t in zip(recipe.phases, trained, strict=True)],
        "gates": [],
    }


def phase_record(recipe: Recipe, phase: Phase, trained: TrainedModel) -> dict[str, Any]:
    """Schedule, cost and training log of one phase."""
    return {
        "plan": phase.plan,
        "data_seed": phase.seed,
        "steps": phase.schedule.steps,
        "muon_lr": phase.schedule.matrices,
        "adamw_lr": phase.schedule.rest,
        "batch": recipe.batch,
        "length": recipe.length,
        "tokens": trained.tokens,
        "seconds": round(trained.seconds, 1),
        "log": trained.log,
    }


def machine() -> dict[str, Any]:
    """Processor, threads and versions of a build, without the host's name."""
    return {
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
    }


def cpu_model() -> str:
    """The processor's model name according to the system, without the host's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
