"""A loaded model as the lm-evaluation harness takes one; a task's description reaches every chat template.

The harness puts the description of a task into a message of the system. Where a template raises an error it
takes the message out and renders the rest with a warning; where a template has no place for it the text is
gone without one. Either way the model is asked without the task's instruction. Here the text stands before
the first message of the user instead, as templates do that fold it in by themselves.
"""

from __future__ import annotations

from typing import Any

from zobench.models.base import LanguageModel
from zobench.models.chat import TEMPLATE_FAILURES

Message = dict[str, str]


def harness_model(lm: LanguageModel, batch_size: int) -> Any:
    """The harness's ``HFLM`` on the model in memory.

    The harness pads by itself: a model whose logits change with padding gets one document at a time.
    """
    from lm_eval.models.huggingface import HFLM

    class Templated(HFLM):
        def apply_chat_template(self, chat_history: list[Message], add_generation_prompt: bool = True) -> str:
            return _rendered(self.tokenizer, lm, chat_history, add_generation_prompt)

    size = batch_size if lm.way.rows == "padded" else 1
    # A template writes its own special tokens; without this the harness lets the tokenizer add more.
    chat = {} if lm.chat is None else {"add_bos_token": False}
    return Templated(
        pretrained=lm.module, tokenizer=lm.tokenizer, batch_size=size, max_length=lm.max_length, **chat
    )


def _rendered(tokenizer: Any, lm: LanguageModel, messages: list[Message], generation: bool) -> str:
    """The messages under the model's template, with the text of the system in it.

    Raises:
        ValueError: the template fails on the messages, or leaves the text out wherever it stands.
    """
    assert lm.chat is not None, "the harness renders messages of chat models only"
    folded = _folded(messages)
    failure: Exception | None = None
    for tried in [messages] if folded == messages else [messages, folded]:
        try:
            text: str = tokenizer.apply_chat_template(
                tried,
                tokenize=False,
                add_generation_prompt=generation,
                continue_final_message=not generation,
                **lm.chat.arguments,
            )
        except TEMPLATE_FAILURES as error:
            failure = error
            continue
        if folded == messages or messages[0]["content"].strip() in text:
            return text
    told = "it leaves the system text out" if failure is None else " ".join(str(failure).split())
    raise ValueError(
        f"model {lm.identity.name!r}: its chat template fails on the messages of an lm-eval task: {told}; "
        "leave chat out"
    )


def _folded(messages: list[Message]) -> list[Message]:
    """The text of the system before the first message of the user; the messages as they are without one."""
    if len(messages) < 2 or messages[0]["role"] != "system" or messages[1]["role"] != "user":
        return messages
    system, user, *rest = messages
    joined = f"{system['content'].rstrip()}\n\n{user['content']}"
    return [{"role": "user", "content": joined}, *rest]
