"""Checks of what a step of any method may and may not do. Each returns a detail for the table."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import torch
from torch import nn

from zobench.zo.conformance.problems import quadratic
from zobench.zo.conformance.subject import Failed, Skip, StartedRun, Subject, expect
from zobench.zo.engine import Engine
from zobench.zo.lowrank import LowRank
from zobench.zo.method import Method, ZerothOrder
from zobench.zo.objective import BudgetExhausted
from zobench.zo.space import ParameterSpace
from zobench.zo.trajectory import from_row, replay, to_row

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def moves(subject: Subject) -> str:
    """The default config changes the weights within ten steps. A baseline of order 'none' must not change
    them.
    """
    run = subject.start()
    before = run.space.digest()
    if subject.method.card.order == "none":
        run.steps(10)
        expect(run.space.digest() == before, "a method of order 'none' moved the weights")
        return "never moves"
    for step in range(1, 11):
        run.steps(1)
        if run.space.digest() != before:
            return f"weights changed by step {step}"
    raise Failed("ten steps of this preset left every weight as it was")


def learning_rate_zero(subject: Subject) -> str:
    """Learning rate 0 leaves the weights bit-identical, in float32, bfloat16 and float16."""
    for dtype in DTYPES:
        run = subject.changed(lr=0.0).start(dtype=dtype)
        before = run.space.digest()
        run.steps(3)
        expect(run.space.digest() == before, f"weights changed at learning rate 0 in {dtype}")
    return "bit-identical after 3 steps in 3 dtypes"


def dtypes(subject: Subject) -> str:
    """The method runs in float32, bfloat16 and float16; weights keep their dtype and stay finite."""
    shares = []
    for dtype in DTYPES:
        run = subject.start(dtype=dtype)
        records = run.steps(3)
        for name in run.space:
            values = run.space.entries(name)
            expect(values.dtype == dtype, f"{name!r} became {values.dtype} in a {dtype} run")
            expect(bool(values.isfinite().all()), f"{name!r} is not finite after 3 steps in {dtype}")
        share = records[-1].extras.get("moved_share")
        if dtype != torch.float32 and records[-1].moved:
            expect(share is not None, f"no moved_share in the record of a {dtype} step")
            shares.append(f"{str(dtype).removeprefix('torch.')} {share:.3f}")
    return "share moved: " + (", ".join(shares) or "no moved half-precision step")


def forwards(subject: Subject) -> str:
    """The counted forward passes have the declared mean per step and do not exceed the declared maximum."""
    cost = subject.method.cost(subject.config)
    run = subject.start()
    # A constant cost shows in few steps; otherwise whole periods are needed, with one maximal step of slack.
    count = 6 if cost.max_forwards_in_step == cost.forwards_per_step else max(24, cost.period)
    records = run.steps(count)
    spent = [r.forwards for r in records]
    expect(sum(spent) == run.objective.meter.forwards, "records and meter disagree about forwards")
    most = cost.max_forwards_in_step
    expect(max(spent) <= most, f"a step took {max(spent)}, max_forwards_in_step is {most:g}")
    slack = 0.0 if cost.max_forwards_in_step == cost.forwards_per_step else cost.max_forwards_in_step
    difference = abs(sum(spent) - count * cost.forwards_per_step)
    expect(
        difference <= slack + 1e-9,
        f"{sum(spent) / count:g} a step, forwards_per_step is {cost.forwards_per_step:g}",
    )
    return f"{sum(spent) / count:g} a step"


def passes(subject: Subject) -> str:
    """The number of noise sweeps over the tuned entries is at most the declared passes."""
    run = subject.start()
    if not isinstance(run.optimizer, Method) or subject.method.card.order != "zeroth":
        raise Skip("no noise sweeps to count outside zeroth-order methods of this library's template")
    run.steps(8)
    swept = run.optimizer.engine.source.drawn / (8 * run.space.numel)
    declared = subject.method.cost(subject.config).passes_per_step
    expect(swept <= declared + 1e-9, f"{swept:g} sweeps a step, passes_per_step is {declared:g}")
    return f"{swept:g} of {declared:g} declared"


def state_size(subject: Subject) -> str:
    """The tensors in the optimizer's state have at most the declared bytes per tuned entry (float32 run)."""
    run = subject.start()
    run.steps(3)
    tensors = [v for v in run.optimizer.state_dict().values() if isinstance(v, torch.Tensor)]
    held = sum(t.numel() * t.element_size() for t in tensors) / run.space.numel
    declared = subject.method.cost(subject.config).state_bytes_per_parameter
    expect(held <= declared + 1e-9, f"{held:g} bytes per entry, state_bytes_per_parameter is {declared:g}")
    return f"{held:g} of {declared:g} bytes per entry"


def budget(subject: Subject) -> str:
    """A budget that ends within a step raises BudgetExhausted, and this step leaves the weights unchanged."""
    most = subject.method.cost(subject.config).max_forwards_in_step
    if most == 0:
        raise Skip("costs no forwards")
    for allowed in sorted({0, most // 2, most - 1}):
        run = subject.start(budget=allowed)
        before = run.space.digest()
        spent = 0
        try:
            while spent <= allowed:
                after = run.space.digest()
                spent += run.steps(1)[0].forwards
        except BudgetExhausted:
            expect(
                run.space.digest() == (before if spent == 0 else after), "weights moved in a step cut short"
            )
            continue
        raise Failed(f"a budget of {allowed} forwards was overspent")
    return f"budgets 0, {most // 2}, {most - 1}"


def global_random_state(subject: Subject) -> str:
    """A step does not change the global random states of torch, numpy and Python."""
    run = subject.start()
    own = (torch.get_rng_state(), np.random.get_state(), random.getstate())
    _set_states_after_a_draw()
    before = (torch.get_rng_state(), np.random.get_state(), random.getstate())
    try:
        run.steps(3)
        after = (torch.get_rng_state(), np.random.get_state(), random.getstate())
    finally:
        torch.set_rng_state(own[0])
        np.random.set_state(own[1])
        random.setstate(own[2])
    expect(torch.equal(before[0], after[0]), "torch's global random state changed")
    expect(_same_numpy(before[1], after[1]), "numpy's global random state changed")
    expect(before[2] == after[2], "Python's global random state changed")
    return "torch, numpy, random"


def _set_states_after_a_draw() -> None:
    """States that no seeding leaves, so that a method that seeds as its caller did is noticed too."""
    drawn = torch.Generator().manual_seed(0)
    torch.empty(8).uniform_(generator=drawn)
    torch.set_rng_state(drawn.get_state())
    array = np.random.RandomState(0)
    array.random_sample()
    np.random.set_state(array.get_state())
    plain = random.Random(0)
    plain.random()
    random.setstate(plain.getstate())


def _same_numpy(left: Any, right: Any) -> bool:
    return bool((left[1] == right[1]).all()) and left[2:] == right[2:]


def _tampered(subject: Subject, kind: str) -> StartedRun:
    """A run whose loss is constant, NaN or infinite."""

    def loss(module: nn.Module, batch: object) -> torch.Tensor:
        flat = sum((p.double() * 0.0).sum() for p in module.parameters()) + torch.tensor(1.0).double()
        return flat * {"constant": 1.0, "nan": math.nan, "inf": math.inf}[kind]

    return subject.start(loss=loss)


def refusals(subject: Subject) -> str:
    """If all losses are NaN, infinite or constant, the weights stay bit-identical (constant: unless the card
    says ``noisy``). Steps with non-finite losses are recorded as refused."""
    if subject.method.card.order == "none":
        raise Skip("measures nothing")
    kinds = ("nan", "inf") if subject.method.card.noisy else ("nan", "inf", "constant")
    for kind in kinds:
        run = _tampered(subject, kind)
        before = run.space.digest()
        records = run.steps(2)
        expect(run.space.digest() == before, f"weights moved on a {kind} loss")
        if kind != "constant":
            told = all(not r.moved and r.reason for r in records)
            expect(told, f"a {kind} loss was not recorded as refused with a reason")
    return ", ".join(kinds)


def no_batch(subject: Subject) -> str:
    """Without a minibatch, a step raises ValueError and leaves the weights unchanged."""
    if subject.method.card.order == "none":
        raise Skip("measures nothing")
    run = subject.start()
    run.objective._sequences = 0
    before = run.space.digest()
    try:
        run.steps(1)
    except ValueError:
        expect(run.space.digest() == before, "weights moved without a minibatch")
        return "refused"
    raise Failed("a step without a minibatch was taken")


def determinism(subject: Subject) -> str:
    """Two runs with the same seed are bit-identical; another seed gives other directions."""
    first, second = subject.start(), subject.start()
    rows = [[to_row(r) for r in run.steps(4)] for run in (first, second)]
    expect(repr(rows[0]) == repr(rows[1]), "two equal runs have different records")
    expect(first.space.digest() == second.space.digest(), "two equal runs have different weights")
    other = subject.start(seed=8).steps(1)[0]
    seeded = rows[0][0]["seeds"]
    expect(not seeded or list(other.seeds) != seeded, "another run seed draws the same directions")
    return "records and weights"


def resume(subject: Subject) -> str:
    """A run that is saved and loaded after four steps resumes with bit-identical results."""
    whole = subject.start()
    expected = [to_row(r) for r in whole.steps(7)]
    first = subject.start()
    first.steps(4)
    weights, state = first.space.state_dict(), first.optimizer.state_dict()
    held = {t.data_ptr() for t in state.values() if isinstance(t, torch.Tensor) and t.numel()}
    live = {first.space.tensors[n].data_ptr() for n in first.space}
    expect(not held & live, "the saved state shares memory with the weights")
    # Steps after saving show whether the saved state is a copy.
    first.steps(2)
    second = subject.start()
    second.space.load_state_dict(weights)
    second.optimizer.load_state_dict(state)
    got = [to_row(r) for r in second.steps(3)]
    expect(repr(got) == repr(expected[4:]), "records differ after resuming")
    expect(second.space.digest() == whole.space.digest(), "weights differ after resuming")
    return "4 + 3 steps equal 7, state not aliased"


def replays(subject: Subject) -> str:
    """The recorded scalars, written to and read from JSON, rebuild bit-identical weights of a middle and of
    the last step, on one and on two threads."""
    if subject.method.card.replay == "checkpoint":
        raise Skip("the card says checkpoint: it reads more than losses")
    run = subject.start()
    start = run.space.state_dict()
    records = run.steps(3)
    middle = run.space.digest()
    records += run.steps(3)
    log = [from_row(json.loads(json.dumps(to_row(r)))) for r in records]
    artifacts = run.optimizer.artifacts() if isinstance(run.optimizer, Method) else {}
    threads = torch.get_num_threads()
    try:
        for count, end, digest in ((1, 3, middle), (2, 6, run.space.digest())):
            torch.set_num_threads(count)
            again = subject.start()
            again.space.load_state_dict(start)
            got = replay(
                log[:end],
                again.space,
                subject.method,
                subject.config,
                seed=run.optimizer.seed,
                start=lambda o: o.load_artifacts(artifacts) if isinstance(o, Method) else None,
            )
            expect(got == digest, f"replay to step {end} on {count} threads gives other weights")
    finally:
        torch.set_num_threads(threads)
    return "to steps 3 and 6, on 1 and 2 threads"


def modes(subject: Subject) -> str:
    """Modes snapshot and streamed are bit-identical. Losses in mode batched, and in mode factored for
    low-rank directions, are equal up to rounding."""
    if subject.method.card.order not in ("zeroth", "mixed"):
        raise Skip("displaces no weights")
    reference = subject.start(engine=Engine(mode="snapshot"))
    expected = reference.steps(3)
    streamed = subject.start(engine=Engine(mode="streamed"))
    got = streamed.steps(3)
    expect(repr(got) == repr(expected), "streamed losses differ from snapshot losses")
    expect(
        streamed.space.digest() == reference.space.digest(), "streamed weights differ from snapshot weights"
    )
    direction = reference.optimizer.direction if isinstance(reference.optimizer, ZerothOrder) else None
    close = ("batched", "factored") if isinstance(direction, LowRank) else ("batched",)
    for mode in close:
        losses = subject.start(engine=Engine(mode=mode)).steps(1)[0].losses
        near = (math.isclose(a, b, rel_tol=1e-5) for a, b in zip(losses, expected[0].losses, strict=True))
        expect(all(near), f"{mode} losses {losses} differ from {expected[0].losses}")
    return f"streamed = snapshot to the bit, {' and '.join(close)} within 1e-5"


def drift(subject: Subject) -> str:
    """The error of restores in mode in-place is within the bound given by rounding. The detail is the
    measured error."""
    if subject.method.card.order != "zeroth":
        raise Skip("displaces no weights")
    details = []
    for dtype in DTYPES:
        run = subject.changed(lr=0.0).start(dtype=dtype, engine=Engine(mode="in-place", precision="nearest"))
        before = run.space.snapshot()
        try:
            run.steps(8)
        except ValueError as error:
            raise Skip(f"does not run in place: {error}") from error
        moved = math.sqrt(
            sum(float((run.space.entries(n) - t).double().square().sum()) for n, t in before.items())
        )
        # A space that starts at 0 has no size to relate to: its drift must be 0.
        size = math.sqrt(sum(float(t.double().square().sum()) for t in before.values())) or 1e-300
        sweeps = (
            run.optimizer.engine.source.drawn / run.space.numel if isinstance(run.optimizer, Method) else 8
        )
        bound = 2 * sweeps * torch.finfo(dtype).eps
        expect(moved / size <= bound, f"drift {moved / size:.2g} in {dtype}, rounding allows {bound:.2g}")
        details.append(f"{str(dtype).removeprefix('torch.')} {moved / size:.1e}")
    return "after 8 steps: " + ", ".join(details)


def outside_untouched(subject: Subject) -> str:
    """In a masked space only the listed entries change; all others stay bit-identical."""
    if "*" not in subject.method.card.spaces and "masked" not in subject.method.card.spaces:
        raise Skip("the card does not list the space 'masked'")
    if subject.method.card.order == "none":
        raise Skip("never moves")
    index = {"matrix": torch.tensor([1, 6, 11]), "vector": torch.tensor([0, 4])}

    def space(module: nn.Module) -> ParameterSpace:
        return ParameterSpace(module, list(index), kind="masked", indices=index)

    run = subject.start(quadratic(), space=space)
    before = {n: p.detach().clone() for n, p in run.module.named_parameters()}
    run.steps(3)
    for name, p in run.module.named_parameters():
        outside = torch.ones(p.numel(), dtype=torch.bool)
        outside[index[name]] = False
        same = torch.equal(p.detach().reshape(-1)[outside], before[name].reshape(-1)[outside])
        expect(same, f"entries of {name!r} outside the mask changed")
    return "5 of 17 entries tuned"
