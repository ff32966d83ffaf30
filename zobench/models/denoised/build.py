"""Put a denoiser, and an autoencoder that is trained here, in front of the built-in ``nano-cnn``.

``nano-ae-ds``: the autoencoder is trained to reconstruct the images that ``nano-cnn`` was trained on (mean
squared error of normalized pixels, digits 0 to 4, moved at random). ``nano-ds``: without an autoencoder,
nothing is trained. In both the denoiser has its initial weights and f those of ``nano-cnn``. Any change of
the recipe requires a higher ``RECIPE_VERSION``.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zobench.data.image_sets import image_splits
from zobench.metrics.image_quality import psnr
from zobench.models.denoised.network import DenoisedConfig, DenoisedForImageClassification, initialise
from zobench.models.loading import load
from zobench.models.nano.build import WEIGHTS, file_digest, write_provenance
from zobench.models.nano.gates import GateResult, Report
from zobench.models.nano.train import Schedule, TrainedModel, train
from zobench.models.pixels import PREPROCESSOR
from zobench.models.progress_bars import hidden_progress_bars
from zobench.models.vision.build import batches, tensor_of, training_record, with_steps
from zobench.models.vision.recipe import MEAN, PRETRAINED, SIDE, STD, VISION_RECIPES
from zobench.spec import ModelRef

RECIPE_VERSION = 1
CLASSIFIER = "nano-cnn"
LATENT = {"nano-ae-ds": 24, "nano-ds": 0}
"""Name -> size of the code; 0: no autoencoder."""
SCHEDULE = Schedule(steps=1500, matrices=0.01, rest=3e-3)


def build_denoised(
    name: str,
    out_dir: Path | str,
    *,
    seed: int = 0,
    steps: int | None = None,
    progress: Callable[[dict[str, float]], None] = lambda row: None,
) -> dict[str, Any]:
    """Make the model ``name`` and write it to ``out_dir`` in the Hugging Face format; returns the content of
    ``PROVENANCE.json``.

    The same seed, steps, machine, thread count and library versions give a bit-identical file. ``steps``:
    steps of the autoencoder's training; the recipe's number by default. Needs the extra ``images``.
    """
    black_box = load(ModelRef(name=f"builtin:{CLASSIFIER}"))
    settings = black_box.module.config.to_diff_dict()  # type: ignore[union-attr, operator]
    config = DenoisedConfig(
        architectures=["DenoisedForImageClassification"],
        latent=LATENT[name],
        classifier=settings,
        id2label=settings["id2label"],
        label2id=settings["label2id"],
    )
    model = initialise(config, seed)
    model.black_box.load_state_dict(black_box.module.state_dict())
    schedule = with_steps(SCHEDULE, steps) if LATENT[name] else Schedule(steps=0)
    trained = _trained(model, schedule, progress)
    recipe = VISION_RECIPES[CLASSIFIER]
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    with hidden_progress_bars():
        model.eval().save_pretrained(out)
    pixels = {"image_mean": [MEAN], "image_std": [STD], "size": {"height": SIDE, "width": SIDE}}
    (out / PREPROCESSOR).write_text(json.dumps(pixels, indent=1) + "\n", encoding="utf-8")
    record = {
        "name": name,
        "digest": file_digest(out / WEIGHTS),
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe_version": RECIPE_VERSION,
        "data": {
            "set": "mnist-5k",
            "digits": list(PRETRAINED),
            "shift": recipe.shift,
            "seed": recipe.data_seed,
        },
        "black_box": {"name": CLASSIFIER, "digest": black_box.identity.digest},
        **training_record(schedule, recipe.batch, seed, trained),
    }
    write_provenance(out, record)
    return record


def _trained(
    model: DenoisedForImageClassification,
    schedule: Schedule,
    progress: Callable[[dict[str, float]], None],
) -> TrainedModel:
    """Train encoder and decoder in place."""
    if schedule.steps == 0:
        return TrainedModel(0, 0.0, [])
    images = batches(VISION_RECIPES[CLASSIFIER])

    def reconstruction(pair: Any, step: int) -> tuple[Tensor, int]:
        pixels, _ = next(images)
        return (pair[1](pair[0](pixels)) - pixels).square().mean(), len(pixels)

    pair: Any = nn.ModuleList([model.encoder, model.decoder])
    return train(pair, reconstruction, schedule, progress)


def denoised_gates(path: Path | str, *, report: Report | None = None) -> list[GateResult]:
    """On test images, which no training saw: accuracy through denoiser and autoencoder, and the PSNR of the
    autoencoder, if there is one."""
    lm = load(ModelRef(name=str(path)))
    module: Any = lm.module
    held = list(image_splits("mnist-5k", PRETRAINED, seed=0, k=None, validation_k=0, test_rows=None).test)
    pixels, labels = tensor_of(held), torch.tensor([e.label for e in held])
    detail = {"images": len(held)}
    with torch.no_grad():
        right = (module(pixel_values=pixels).logits.argmax(1) == labels).double().mean()
        again = module.decoder(module.encoder(pixels))
    results = [GateResult("accuracy_without_noise", round(float(right), 4), 0.95, 1.0, detail)]
    if module.config.latent:
        found = [psnr(a, b) for a, b in zip(_unit(pixels), _unit(again), strict=True)]
        results.append(GateResult("autoencoder_psnr", round(statistics.mean(found), 2), 17.0, 80.0, detail))
    for result in results:
        if report is not None:
            report(result)
    return results


def _unit(pixels: Tensor) -> Any:
    """Values in [0, 1], shape (images, height, width)."""
    return (pixels[:, 0] * STD + MEAN).clamp(0, 1).double().numpy()
