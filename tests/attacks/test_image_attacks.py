"""Attacks on images: their arithmetic, exact budgets, determinism, and the random baselines."""

from __future__ import annotations

import base64
import math
import struct
import zlib

import numpy as np
import pytest

from zobench.attacks.base import AttackContext, AttackRecord, QueryConfig, Victim
from zobench.attacks.catalogue import ATTACKS
from zobench.attacks.gaussian_noise import GaussianNoise, GaussianNoiseConfig
from zobench.attacks.image_attack import ImageAttack, margin, side_of
from zobench.attacks.patch import Patch, PatchConfig
from zobench.attacks.square import Square, SquareConfig
from zobench.data.example import Example
from zobench.data.image import Image
from zobench.plugins import lookup
from zobench.tasks.base import Prediction

MAKERS = {
    "square": lambda: Square(SquareConfig(budget=30)),
    "patch": lambda: Patch(PatchConfig(budget=30, side=3)),
    "gaussian-noise": lambda: GaussianNoise(GaussianNoiseConfig(budget=30)),
}
CONTEXT = AttackContext((), (), 0)


def grey(seed: int = 0, side: int = 8) -> Image:
    return Image.of(np.random.default_rng(seed).integers(60, 190, size=(side, side)))


def examples(count: int = 4) -> list[Example]:
    return [Example(f"e{i}", {}, label=0, image=grey(i)) for i in range(count)]


class Linear:
    """Two classes; the score of class 0 falls with the mean of ``weights * (pixels - clean mean)``."""

    def __init__(self, bias: float = 100.0, weights: np.ndarray | float = 1.0) -> None:
        self.bias, self.weights, self.seen = bias, weights, []

    def __call__(self, asked):
        return [self.answer(e) for e in asked]

    def answer(self, example: Example) -> Prediction:
        pixels = example.image.array()[..., 0].astype(float)
        self.seen.append(example.image)
        score = self.bias - float((self.weights * (pixels - 125)).mean())
        logs = tuple(-math.log1p(math.exp(-s / 10)) if abs(s) < 5e3 else min(0.0, s) for s in (score, -score))
        return Prediction(example.id, str(int(score <= 0)), score > 0, label=int(score <= 0), log_probs=logs)


def attacked(
    attack: ImageAttack, model, rows, budget: int | None = None
) -> tuple[list[AttackRecord], Victim]:
    victim = Victim(model, weights_digest="stand-in", budget_per_example=budget)
    return attack.run(victim, rows, CONTEXT), victim


def pixels_of(uri: str) -> np.ndarray:
    """The grey pixels of a PNG file without filters."""
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    width, height = struct.unpack(">II", data[16:24])
    at = data.index(b"IDAT")
    (size,) = struct.unpack(">I", data[at - 4 : at])
    rows = np.frombuffer(zlib.decompress(data[at + 4 : at + 4 + size]), np.uint8)
    return rows.reshape(height, width + 1)[:, 1:]


def test_all_attacks_on_images_are_here() -> None:
    assert set(MAKERS) == {name for name in ATTACKS if lookup("attacks", name).edits == "image"}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("null", [False, True])
def test_budget_records_and_streams(name: str, null: bool) -> None:
    """A model that is never wrong: every example spends its whole budget and each record is a failure."""
    attack = MAKERS[name]().null() if null else MAKERS[name]()
    rows = examples()
    found, victim = attacked(attack, Linear(1e6), rows)
    assert [r.queries for r in found] == [30] * 4
    assert victim.total == 120
    assert {(r.outcome, r.field, r.changed_words, r.similarity) for r in found} == {
        ("failure", "image", 0, None)
    }
    assert [r.original for r in found] == [e.image.data_uri() for e in rows]
    again, _ = attacked(attack, Linear(1e6), rows)
    alone = [attacked(attack, Linear(1e6), [e])[0][0] for e in rows]
    assert found == again == alone
    limited, _ = attacked(attack, Linear(1e6), rows, budget=7)
    assert [r.queries for r in limited] == [7] * 4
    assert attack.null().null() is attack.null() or attack.null().null().attack is attack


@pytest.mark.parametrize("name", MAKERS)
def test_a_wrong_clean_answer_is_skipped_and_a_win_stops(name: str) -> None:
    found, _ = attacked(MAKERS[name](), Linear(-1e4), examples())
    assert {(r.outcome, r.queries, r.edited == r.original) for r in found} == {("skipped", 1, True)}

    def wrong_from_the_third(asked):
        for e in asked:
            counts[e.id] = counts.get(e.id, 0) + 1
        return [Linear(1e6 if counts[e.id] < 3 else -1e6).answer(e) for e in asked]

    counts: dict[str, int] = {}
    found, _ = attacked(MAKERS[name](), wrong_from_the_third, examples())
    assert {(r.outcome, r.queries) for r in found} == {("success", 3)}
    assert all(r.edited != r.original for r in found)


def test_square_starts_with_stripes_and_stays_at_the_border_of_the_ball() -> None:
    model, example = Linear(1e6), examples(1)
    attacked(Square(SquareConfig(budget=40, epsilon=0.1)), model, example)
    clean = example[0].image.array()[..., 0].astype(int)
    moves = [image.array()[..., 0].astype(int) - clean for image in model.seen[1:]]
    assert all(np.array_equal(np.abs(m), np.full_like(m, 26)) for m in moves), "0.1 * 255 rounds to 26"
    assert all(np.array_equal(moves[0], np.broadcast_to(moves[0][:1], (8, 8))) for _ in range(1))
    assert len({m.tobytes() for m in moves}) > 20


def test_square_changes_one_square_of_the_best_image_so_far() -> None:
    """Against a model whose margin depends on one pixel, each query differs from the accepted image inside a
    square with the side of the schedule, by one sign of eps."""
    weights = np.zeros((8, 8))
    weights[2, 5] = 1.0
    model = Linear(1e3, weights)
    rows = examples(1)
    attacked(Square(SquareConfig(budget=101, area=0.8)), model, rows)
    accepted, best = model.seen[1], float("inf")
    for query, image in enumerate(model.seen[1:]):
        if query:
            changed = np.argwhere((image.array() != accepted.array())[..., 0])
            side = side_of(0.8, query, 100, 64, 8)
            assert len(changed)
            assert (np.ptp(changed, axis=0) < side).all()
            signs = image.array()[tuple(changed.T)].astype(int) - rows[0].image.array()[tuple(changed.T)]
            assert len(np.unique(signs)) == 1
        value = margin(model.answer(Example("e", {}, label=0, image=image)), 0)
        if value < best:
            accepted, best = image, value
    assert [side_of(0.8, q, 100, 64, 8) for q in (0, 1, 2, 10, 20, 40, 60, 80)] == [7, 4, 3, 2, 1, 1, 1, 1]


def test_sides_by_hand() -> None:
    """28 by 28 pixels, 10,000 queries: sqrt(0.8 * 784 / 2^k)."""
    at = (0, 9, 10, 49, 50, 199, 200, 999, 1000, 8000)
    assert [side_of(0.8, q, 10_000, 784, 28) for q in at] == [25, 25, 18, 18, 13, 13, 9, 9, 6, 2]


def test_square_breaks_a_linear_model_where_its_baseline_does_not() -> None:
    """At most 25 of mean change; random signs change the mean by about 26 / 8, the attack by up to 26."""
    attack = Square(SquareConfig(budget=200))
    model = Linear(14.0)
    rows = [Example(f"e{i}", {}, label=0, image=Image.of(np.full((8, 8), 125))) for i in range(4)]
    assert {r.outcome for r in attacked(attack, model, rows)[0]} == {"success"}
    assert {r.outcome for r in attacked(attack.null(), model, rows)[0]} == {"failure"}


def test_a_patch_changes_one_square_and_its_search_finds_a_better_one() -> None:
    model, rows = Linear(1e6), examples(1)
    attack = Patch(PatchConfig(budget=60, side=3))
    attacked(attack, model, rows)
    clean = rows[0].image.array()
    for image in model.seen[1:]:
        changed = np.argwhere((image.array() != clean)[..., 0])
        assert (changed.max(0) - changed.min(0) + 1).tolist() == [3, 3]
        assert set(np.unique(image.array()[tuple(changed.T)])) <= {0, 255}
    # A white patch on grey raises the mean by 130 * 16 / 64 = 32.5, one with a black pixel by 28.5. A random
    # pattern is white with probability 2^-16.
    attack = Patch(PatchConfig(budget=200, side=4))
    flat = [Example(f"e{i}", {}, label=0, image=Image.of(np.full((8, 8), 125))) for i in range(4)]
    assert {r.outcome for r in attacked(attack, Linear(30.0), flat)[0]} == {"success"}
    assert {r.outcome for r in attacked(attack.null(), Linear(30.0), flat)[0]} == {"failure"}


def test_gaussian_noise_has_its_standard_deviation_and_is_its_own_null() -> None:
    model = Linear(1e6)
    row = Example("e", {}, label=0, image=Image.of(np.full((64, 64), 128)))
    attack = GaussianNoise(GaussianNoiseConfig(budget=5, sigma=0.1))
    attacked(attack, model, [row])
    moves = [image.array().astype(float) - 128 for image in model.seen[1:]]
    assert len(moves) == 4
    assert all(m.std() == pytest.approx(25.5, rel=0.05) and abs(m.mean()) < 2 for m in moves)
    assert len({m.tobytes() for m in moves}) == 4
    assert attack.null() is attack


def test_the_record_shows_the_image_that_won() -> None:
    flat = Example("e", {}, label=0, image=Image.of(np.full((8, 8), 125)))
    model = Linear(14.0)
    ((record,), _) = attacked(Square(SquareConfig(budget=200)), model, [flat])
    shown = pixels_of(record.edited)
    assert Linear(14.0).answer(flat.with_image(Image.of(shown))).correct is False
    assert np.array_equal(shown, model.seen[-1].array()[..., 0])


def test_refusals() -> None:
    with pytest.raises(ValueError, match="attack 'square' edits images; example 'e' has none"):
        attacked(Square(), Linear(), [Example("e", {"text": "words"}, label=0)])
    with pytest.raises(ValueError, match="budget must be at least 1 \\+ confirmations"):
        SquareConfig(budget=2, confirmations=2)
    with pytest.raises(ValueError, match="has no image"):
        Example("e", {"text": "words"}).with_image(grey())
    assert QueryConfig().budget is None
