"""Chat templates: from the turns of a conversation to the exact text that a model receives.

The text comes from the tokenizer's own Jinja template. The answer stands where the template itself puts an
assistant's answer: a conversation that ends in a marker is rendered, and the text before the marker is the
prompt. Usually this is the template's generation prompt; a template may also write white space or an empty
block of reasoning there. The text is encoded without further special tokens, as ``apply_chat_template`` does,
because a template writes its own beginning token.

Templates that write the date (``strftime_now``) get a fixed one, so that a run does not depend on the day.
transformers turns variables of a template into plain data, functions included, so the date is a macro in
front of the template.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from jinja2.exceptions import TemplateError

DATE = datetime.datetime(2024, 7, 26)
"""The date that templates see: the default of the Llama 3 templates."""
_DIRECTIVES = "aAbBdmyYHIMSpj"
"""Directives of ``strftime`` that templates may use."""
_MARKER = "zobenchanswermarker"
_PROBE = "Probe  Text: 1\n\n2\t<b>&\"'{{x}} Ünï</b>."
TEMPLATE_FAILURES = (TemplateError, ValueError, TypeError, LookupError, AttributeError)
"""What rendering a chat template raises if the template fails."""

Turn = tuple[str, str]
"""A question of the user and the assistant's answer."""


class Chat:
    """The chat template of a tokenizer.

    Args:
        tokenizer: a tokenizer with a chat template.
        system: text of the system message; ``None``: no such message (a template may write one of its own).
        name: the model's name, for messages.

    Raises:
        ValueError: there is no template, it fails, it does not contain the system text, or it changes the
            user's text other than by removing white space around it.
    """

    def __init__(self, tokenizer: Any, system: str | None, name: str) -> None:
        self._tokenizer, self.system, self._name = tokenizer, system, name
        self.template = _dated(_template_of(tokenizer))
        if not self.template:
            raise ValueError(
                f"model {name!r}: chat: true needs a chat template, and its tokenizer has none; leave chat "
                "out, or add chat_template.jinja to its folder"
            )
        self._controls = _control_tokens(tokenizer, self.template)
        opened = self._rendered(_PROBE, (), "")
        if _PROBE not in opened:
            raise ValueError(
                f"model {name!r}: its chat template changes the user's text, so the prompt would not be the "
                "task's; leave chat out"
            )
        if system is not None and system.strip() not in opened:
            raise ValueError(f"model {name!r}: its chat template drops the system text; leave system out")
        self._behind = opened.rpartition(_PROBE)[2]

    @property
    def arguments(self) -> dict[str, str]:
        """Further arguments of the tokenizer's ``apply_chat_template``."""
        return {"chat_template": self.template, "date_string": DATE.strftime("%d %b %Y")}

    @property
    def ending(self) -> tuple[str, str]:
        """The template's text between the user's text and the answer: without spaces at its end, and these
        spaces."""
        kept = self._behind.rstrip(" ")
        return kept, self._behind[len(kept) :]

    def opened(self, user: str, turns: Sequence[Turn] = (), *, example: str = "") -> str:
        """The text up to the answer to ``user``, after earlier ``turns``; it may end in spaces.

        Control tokens in the given texts are replaced by spaces: they would begin or end a turn.

        Raises:
            ValueError: the template fails, or changes a text; ``example`` is named.
        """
        cleaned = [(self._clean(asked), self._clean(answer)) for asked, answer in turns]
        return self._rendered(self._clean(user), cleaned, example)

    def _rendered(self, user: str, turns: Sequence[Turn], example: str) -> str:
        messages = [] if self.system is None else [{"role": "system", "content": self.system}]
        for asked, answer in (*turns, (user, _MARKER)):
            messages.append({"role": "user", "content": asked})
            messages.append({"role": "assistant", "content": answer})
        whole = self._apply(messages, add_generation_prompt=False)
        opened, found, _ = whole.rpartition(_MARKER)
        if not found:
            raise ValueError(f"model {self._name!r}: its chat template does not write the assistant's answer")
        lost = [t for t in (user, *(t for turn in turns for t in turn)) if t.strip() not in opened]
        if lost and example:
            raise ValueError(
                f"model {self._name!r}: its chat template changes the text of example {example!r}: "
                f"{lost[0][:80]!r}"
            )
        return opened

    def _apply(self, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_generation_prompt, **self.arguments
            )
        except TEMPLATE_FAILURES as error:
            told = (str(error).strip().splitlines() or [type(error).__name__])[0]
            hint = "" if self.system is None else "; try it without system"
            raise ValueError(f"model {self._name!r}: its chat template fails: {told}{hint}") from error
        return text

    def _clean(self, text: str) -> str:
        for token in self._controls:
            if token in text:
                text = text.replace(token, " ")
        return text

    def notes(self) -> list[str]:
        """What a user should know of this template, one sentence each."""
        asked = [] if self.system is None else [{"role": "system", "content": self.system}]
        asked.append({"role": "user", "content": _PROBE})
        generation = self._apply(asked, add_generation_prompt=True).rpartition(_PROBE)[2]
        said = []
        if generation.rstrip() != self._behind.rstrip():
            said.append(
                f"{self._name}: its chat template puts {self._behind!r} before an answer, but its generation "
                f"prompt is {generation!r}; prompts end as before an answer"
            )
        beginning = self._tokenizer.bos_token
        adds = self._tokenizer.bos_token_id in self._tokenizer("a", verbose=False)["input_ids"][:1]
        if beginning and adds and not self._rendered(_PROBE, (), "").startswith(beginning):
            said.append(
                f"{self._name}: its chat template writes no {beginning!r}, which its tokenizer adds to plain "
                "texts; prompts have none"
            )
        return said


def _template_of(tokenizer: Any) -> str:
    """The template, or the one named ``default`` of several; empty if there is none."""
    found = tokenizer.chat_template
    return str(found.get("default", "")) if isinstance(found, dict) else found or ""


def _dated(template: str) -> str:
    if "strftime_now" not in template:
        return template
    filters = "".join(f" | replace('%{d}', '{DATE.strftime('%' + d)}')" for d in _DIRECTIVES)
    return f"{{% macro strftime_now(format) -%}}{{{{ format{filters} }}}}{{%- endmacro %}}{template}"


def _control_tokens(tokenizer: Any, written: str) -> list[str]:
    """Special tokens, and added tokens that the template writes; longest first."""
    added = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    chosen = {*map(str, tokenizer.all_special_tokens), *(t for t in added if t in written)}
    return sorted((t for t in chosen if t.strip()), key=lambda t: (-len(t), t))
