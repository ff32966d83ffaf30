"""Exports rebuilt weights to files for other programs: safetensors, or a Hugging Face model folder.

For a target that ends in ``.safetensors``, only the trained tensors are written. Any other target is a new
folder with the whole model (``save_pretrained``) and its tokenizer if the trained parameters can be written
into the model (low-rank adapters are merged, ``W + alpha/r B A``). Prefixes and prompts cannot, so only their
trained tensors are written; so are those of a model that was loaded with an adapter of peft.
``zobench.json`` describes the origin of the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from zobench.spec import RunSpec

if TYPE_CHECKING:
    import torch

    from zobench.models.base import LanguageModel
    from zobench.zo.space import ParameterSpace

ABOUT = "zobench.json"
TUNED = "tuned.safetensors"
_BESIDE_THE_MODEL = ("prefix", "prompt")


@dataclass(frozen=True, slots=True)
class Origin:
    """Origin of exported weights. ``digest`` is that of the trained values."""

    run_id: str
    row: str
    spec: RunSpec
    step: int
    digest: str

    def about(self) -> dict[str, str]:
        return {
            "run_id": self.run_id,
            "row": self.row,
            "step": str(self.step),
            "weights_digest": self.digest,
            "spec": self.spec.canonical(),
        }


def export(target: Path, lm: LanguageModel, space: ParameterSpace, origin: Origin) -> str:
    """Write the current model and return a description of what was written. The parameter space may be
    removed from the module.

    Raises:
        ValueError: the target exists and is not an empty folder.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ValueError(f"{target} exists already; choose another name")
    if target.suffix == ".safetensors":
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, space.snapshot(), origin)
        return f"tuned tensors: {target}"
    target.mkdir(parents=True, exist_ok=True)
    (target / ABOUT).write_text(json.dumps(origin.about(), indent=1) + "\n", encoding="utf-8")
    if space.kind in _BESIDE_THE_MODEL or "adapter" in (lm.identity.origin or {}):
        _write(target / TUNED, space.snapshot(), origin)
        return f"tuned {space.kind} tensors: {target / TUNED}; they belong on {origin.spec.model.name}"
    if space.kind == "lora":
        _merge(space, origin.spec)
    return _model_files(target, lm, origin)


def _merge(space: ParameterSpace, spec: RunSpec) -> None:
    """Add the adapters to the base weights and remove them from the module."""
    import torch

    from zobench.zo.space.lora import Lora, merged

    adapters = Lora(**spec.space.params)
    weights = merged(space, adapters.alpha / adapters.r)
    module = space.module
    space.remove()
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)


def _model_files(target: Path, lm: LanguageModel, origin: Origin) -> str:
    import transformers

    from zobench.models.pooled import PooledEncoder

    module, extra = lm.module, ""
    if isinstance(module, PooledEncoder):
        head = {name: value.detach().clone() for name, value in module.head.state_dict().items()}
        _write(target / "head.safetensors", head, origin)
        module, extra = module.encoder, "; the classification head is head.safetensors"
    if isinstance(module, transformers.PreTrainedModel):
        module.save_pretrained(target)
    else:
        state = {name: value.detach().clone() for name, value in module.state_dict().items()}
        _write(target / "model.safetensors", state, origin)
    if lm.tokenizer is not None:
        lm.tokenizer.save_pretrained(target)
    return f"model: {target}{extra}"


def _write(path: Path, tensors: Mapping[str, torch.Tensor], origin: Origin) -> None:
    save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, path, metadata=origin.about())
