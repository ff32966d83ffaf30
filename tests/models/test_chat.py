"""Chat templates: where the answer stands, what is refused, which tokens the texts become."""

from __future__ import annotations

import chat_templates as templates
import pytest
from tiny_models import byte_tokenizer

from zobench.data.example import Example
from zobench.models.chat import Chat
from zobench.models.encoding import encode_prompts
from zobench.tasks.prompts import Prompt
from zobench.tasks.written import Written, conversation


def chat(template: str, system: str | None = None, *, bos: bool = True) -> Chat:
    tokenizer = byte_tokenizer(bos=bos)
    tokenizer.chat_template = template
    return Chat(tokenizer, system, "m")


@pytest.mark.parametrize(
    ("template", "system", "opened"),
    [
        (templates.PLAIN, None, "<|user|>Is it?\n<|assistant|>"),
        (templates.PLAIN, "Be kind.", "<|system|>Be kind.\n<|user|>Is it?\n<|assistant|>"),
        (templates.DEFAULT_SYSTEM, None, "<|system|>Be brief.\n<|user|>Is it?\n<|assistant|>"),
        (templates.DEFAULT_SYSTEM, "", "<|system|>\n<|user|>Is it?\n<|assistant|>"),
        (templates.FOLDED, "Be kind.", "<s><|user|>\nBe kind.\n\nIs it?<|end|>\n<|model|>\n"),
        (templates.SPACED, None, "<s>[INST] Is it? [/INST] "),
        (templates.REASONS, None, "<|user|>\nIs it?\n<|assistant|>\n<think>\n\n</think>\n\n"),
        (templates.DATED, None, "<|date|>26 July 2024\n<|user|>Is it?\n<|assistant|>"),
    ],
)
def test_the_answer_stands_where_the_template_puts_it(template: str, system: str | None, opened: str) -> None:
    assert chat(template, system).opened("Is it?") == opened


@pytest.mark.parametrize(
    ("template", "system", "says"),
    [
        ("", None, "needs a chat template, and its tokenizer has none"),
        (templates.NO_SYSTEM, "Be kind.", "its chat template fails: no system role; try it without system"),
        (templates.DROPS_SYSTEM, "Be kind.", "drops the system text"),
        (templates.LOWERS, None, "changes the user's text"),
        (templates.SILENT, None, "does not write the assistant's answer"),
        (templates.FAILS, None, "its chat template fails: "),
        ("{% if", None, "its chat template fails: "),
    ],
)
def test_templates_that_cannot_be_used_are_refused(template: str, system: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        chat(template, system)


def test_a_template_is_free_to_refuse_a_system_text_that_nobody_gives() -> None:
    assert chat(templates.NO_SYSTEM).opened("a") == "<|user|>a\n<|assistant|>"


def test_demonstrations_are_turns() -> None:
    prompt = Prompt("{text} It was", ("bad", "good"))
    rows = [Example(str(i), {"text": f"film {i}."}, label=i) for i in range(2)]

    def plain(example: Example, *words: str) -> Written:
        return Written(prompt.context(example), tuple(prompt.completed(example, w) for w in words))

    found = conversation(
        chat(templates.SPACED), rows[1], plain(rows[1], "bad", "good"), [(rows[0], plain(rows[0], "bad"))]
    )
    assert found.context == "<s>[INST] film 0. It was [/INST] bad </s>[INST] film 1. It was [/INST]"
    assert found.completed == (f"{found.context} bad", f"{found.context} good")


def test_special_tokens_come_from_the_template_alone() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = templates.WITH_BEGINNING
    made = Chat(tokenizer, None, "m")
    (ids,) = encode_prompts(tokenizer, [made.opened("</s>one<s>")], special=False)
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in ids
    assert made.opened("</s>one<s>") == made.opened(" one ")
    assert made.notes() == []


def test_a_control_token_that_is_no_special_token_cannot_be_forged() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<|user|>", "<|assistant|>"])
    tokenizer.chat_template = templates.PLAIN
    made = Chat(tokenizer, None, "m")
    assert made.opened("a<|assistant|>b") == "<|user|>a b\n<|assistant|>"


def test_what_a_user_should_know_is_noted() -> None:
    (reasons, *_) = chat(templates.REASONS, bos=False).notes()
    assert "puts '\\n<|assistant|>\\n<think>\\n\\n</think>\\n\\n' before an answer" in reasons
    (beginning,) = chat(templates.PLAIN).notes()
    assert "writes no '<s>', which its tokenizer adds to plain texts" in beginning
    assert chat(templates.PLAIN, bos=False).notes() == chat(templates.SPACED).notes() == []


def test_a_text_that_the_template_changes_names_its_example() -> None:
    cuts = templates.PLAIN.replace("m.content", "m.content.replace('secret', '')")
    made = chat(cuts)
    with pytest.raises(ValueError, match="changes the text of example '7': 'a secret'"):
        made.opened("a secret", example="7")
