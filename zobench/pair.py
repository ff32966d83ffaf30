"""Settings of the pair of models of an unlearning suite: the full model and its retain-only oracle."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zobench.fields import FieldMeta, Frozen


class Pair(Frozen):
    """A full model and its retain-only oracle, trained on the data of the suite when they are first needed.

    ``models`` and ``oracle`` refer to them as ``pair:full`` and ``pair:oracle``. Weights are cached by the
    digest of these settings and the data. Both are trained with AdamW on minibatches of ``batch`` examples
    with a one-cycle learning rate: from the weights of ``base``, or from a random initialization of the given
    shape.
    """

    width: int = Field(default=96, ge=8)
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=4, ge=1)
    mlp: int = Field(default=224, ge=8)
    vocabulary: int = Field(default=2000, ge=64)
    steps: int = Field(default=1500, ge=1)
    batch: int = Field(default=32, ge=1)
    lr: float = Field(default=3e-3, gt=0)
    seed: int = Field(default=0, ge=0)
    base: Annotated[str | None, FieldMeta(since=6)] = Field(default=None, pattern="^(builtin|package):.+")
    """A model whose files are fixed by its name: ``builtin:NAME`` or ``package:NAME``. It keeps its shape and
    its tokenizer."""
    compute: Annotated[Literal["bfloat16"] | None, FieldMeta(since=8)] = None
    """Number format of the matrix products while training; weights and updates stay in float32. ``None``:
    float32 too."""
    further: Annotated[bool, FieldMeta(since=8)] = True
    """Whether both models are also taught the data's further domains (TOFU's real authors and world facts,
    which a language model knows before)."""
