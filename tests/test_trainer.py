"""``ZOTrainer``: the plain loop's bits, gradient accumulation, resume, schedules, adapters, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback, TrainingArguments

from zobench.trainer import ZOTrainer
from zobench.zo import Engine, Objective, build_space
from zobench.zo.methods.mezo import Mezo

ROWS = [
    {"input_ids": [(3 * i + j) % 20 for j in range(6)], "labels": [(3 * i + j) % 20 for j in range(6)]}
    for i in range(32)
]


def model() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        attention_dropout=0.1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config)


def arguments(folder: Path, **more: Any) -> TrainingArguments:
    settings: dict[str, Any] = {
        "output_dir": str(folder), "max_steps": 20, "per_device_train_batch_size": 4, "report_to": [],
        "use_cpu": True, "save_strategy": "no", "logging_steps": 1, "seed": 3, "disable_tqdm": True,
        "lr_scheduler_type": "constant", "learning_rate": 1e-2,
    }  # fmt: skip
    return TrainingArguments(**{**settings, **more})


def trainer(folder: Path, *, of: Any = None, **more: Any) -> ZOTrainer:
    own = {
        k: more.pop(k)
        for k in ("method", "config", "space", "max_forwards", "callbacks", "engine")
        if k in more
    }
    return ZOTrainer(model=of or model(), args=arguments(folder, **more), train_dataset=ROWS, **own)


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_twenty_steps_are_those_of_the_plain_loop_to_the_bit(tmp_path: Path) -> None:
    ours = trainer(tmp_path, config={"epsilon": 1e-3})
    batches = [dict(batch) for batch in ours.get_train_dataloader() for _ in range(1)]
    while len(batches) < 20:
        batches += [dict(batch) for batch in ours.get_train_dataloader()]
    seen: list[Any] = []
    step = ours.training_step
    ours.training_step = lambda m, inputs, items=None: (seen.append(dict(inputs)), step(m, inputs, items))[1]  # type: ignore[method-assign]
    ours.train()
    plain = model().eval()
    space = build_space("full", {}, plain)
    method = Mezo(Mezo.Config(lr=1e-2, epsilon=1e-3), space, seed=3)
    objective = Objective(plain, lambda module, batch: module(**batch).loss)
    losses = []
    for batch in seen:
        objective.set_batch(batch, sequences=4, tokens=24)
        losses.append(method.step(objective).loss)
    assert len(seen) == 20
    assert [r.loss for r in ours.records] == losses
    assert same(weights(ours.model), weights(plain))
    assert not same(weights(plain), weights(model()))
    assert ours.objective.meter.forwards == 40


def test_accumulated_micro_batches_are_one_batch(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "a", max_steps=4, per_device_train_batch_size=8)
    parts = trainer(tmp_path / "b", max_steps=4, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    whole.train()
    parts.train()
    assert parts.objective.meter.forwards == whole.objective.meter.forwards == 8
    assert parts.objective.meter.sequences == whole.objective.meter.sequences == 64
    for one, other in zip(whole.records, parts.records, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-5)
    for name, p in whole.model.named_parameters():
        # A loss is off by some 1e-6 of rounding, the projected gradient by 1e-6 / (2 epsilon) = 5e-4, a
        # weight by lr * 5e-4 * 5 sigma = 2.5e-5 a step, four times.
        assert torch.allclose(p, dict(parts.model.named_parameters())[name], rtol=0, atol=1e-4), name
    pairs = zip(whole.model.parameters(), model().parameters(), strict=True)
    assert max(float((p - q).detach().abs().max()) for p, q in pairs) > 1e-3


@pytest.mark.parametrize("method", ["mezo", "zo-adam", "fzoo"])
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(tmp_path: Path, method: str) -> None:
    more: dict[str, Any] = {
        "method": method,
        "save_strategy": "steps",
        "save_steps": 4,
        "max_steps": 8,
        "lr_scheduler_type": "linear",
    }
    once = trainer(tmp_path / "once", **more)
    once.train()
    again = trainer(tmp_path / "again", **more)
    again.train(resume_from_checkpoint=str(tmp_path / "once" / "checkpoint-4"))
    assert len(again.records) == 4
    assert [r.losses for r in again.records] == [r.losses for r in once.records[4:]]
    assert [r.lr for r in again.records] == [r.lr for r in once.records[4:]]
    assert same(weights(again.model), weights(once.model))
    assert again.objective.meter == once.objective.meter
    different = "fzoo" if method == "mezo" else "mezo"
    other = trainer(tmp_path / "again", **{**more, "method": different})
    with pytest.raises(ValueError, match=f"holds the state of '{method}', not of '{different}'"):
        other.train(resume_from_checkpoint=str(tmp_path / "once" / "checkpoint-4"))


def test_the_schedule_reaches_the_method(tmp_path: Path) -> None:
    ours = trainer(tmp_path, max_steps=4, lr_scheduler_type="linear")
    ours.train()
    assert [r.lr for r in ours.records] == pytest.approx([1e-2, 0.75e-2, 0.5e-2, 0.25e-2])
    logged = [row for row in ours.state.log_history if "loss" in row]
    assert [row["forwards"] for row in logged] == [2, 4, 6, 8]


def test_training_stops_before_the_budget_is_exceeded(tmp_path: Path) -> None:
    ours = trainer(tmp_path, max_forwards=7)
    ours.train()
    assert ours.objective.meter.forwards == 6


def test_callbacks_and_evaluation_are_the_trainers(tmp_path: Path) -> None:
    class Steps(TrainerCallback):
        ended = 0

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.ended += 1

    steps = Steps()
    ours = trainer(tmp_path, max_steps=3, callbacks=[steps])
    ours.train()
    assert steps.ended == 3
    assert ours.evaluate(ROWS[:8])["eval_loss"] > 0


def test_only_the_adapter_of_peft_moves(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="adapters need peft")
    wrapped = peft.get_peft_model(model(), peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    before = weights(wrapped)
    ours = trainer(tmp_path, of=wrapped, max_steps=3)
    ours.train()
    moved = {n for n, p in weights(wrapped).items() if not torch.equal(p, before[n])}
    assert moved
    assert all("lora_" in name for name in moved)
    assert ours.method.space.numel == sum(p.numel() for p in wrapped.parameters() if p.requires_grad)


def test_what_cannot_be_done_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'mezo'"):
        trainer(tmp_path, method="mezzo")
    with pytest.raises(ValueError, match=r"lr must be|unknown parameter 'epsilom'"):
        trainer(tmp_path, config={"epsilom": 1.0})
    with pytest.raises(ValueError, match=r"args.weight_decay .*config=\{'weight_decay': ...\}"):
        trainer(tmp_path, weight_decay=0.1)
    needy = next(n for n in ("mezo-svrg", "zo-svrg", "addax") if _needs(n))
    with pytest.raises(ValueError, match="besides the step's batch"):
        trainer(tmp_path, method=needy)


def _needs(name: str) -> bool:
    from zobench.plugins import entries, lookup

    return name in entries("methods") and bool(lookup("methods", name).card.needs)


@pytest.mark.parametrize("mode", ["factored-lazy", "offload"])
def test_modes_that_put_steps_off_are_refused(mode: str, tmp_path: Path) -> None:
    """The Trainer would save and return weights that lack the last steps, with factored-lazy all of them."""
    with pytest.raises(ValueError, match=f"mode '{mode}' puts steps off"):
        trainer(tmp_path, method="lozo", engine=Engine(mode=mode))
