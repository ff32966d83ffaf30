"""Prompts of the few-shot tasks under their two protocols.

``mezo-opt`` prompts are those of arXiv 2305.17333 for OPT; ``mezo-roberta`` prompts are those of LM-BFF
(arXiv 2012.15723), with a mask in the position of the label word. The paper does not use SST-5, TREC, MR and
MPQA with OPT: their ``mezo-opt`` prompts are zobench's own. Applying the RTE prompts to the PASCAL pairs,
which are not GLUE's, is zobench's choice too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from zobench.tasks.prompts import Prompt

Protocol = Literal["mezo-opt", "mezo-roberta"]

_SENTIMENT = ("terrible", "great")
_FIVE = ("terrible", "bad", "okay", "good", "great")
_QUESTION_KINDS = ("Description", "Entity", "Expression", "Human", "Location", "Number")
_RTE = Prompt(
    '{premise}\nDoes this mean that "{hypothesis}" is true? Yes or No?\n', ("Yes", "No"), separator=""
)
_RTE_MASKED = Prompt("{premise} ? {answer} , {hypothesis}", ("Yes", "No"))

MEZO_OPT: Mapping[str, Prompt] = {
    "sst2": Prompt("{sentence} It was", _SENTIMENT),
    "sst5": Prompt("{sentence} It was", _FIVE),
    "mr": Prompt("{sentence} It was", _SENTIMENT),
    "mpqa": Prompt("{sentence} It was", _SENTIMENT),
    "trec": Prompt("{sentence}\nThe answer is of the kind", _QUESTION_KINDS),
    "rte": _RTE,
    "rte-pascal": _RTE,
    "cb": Prompt(
        'Suppose {premise} Can we infer that "{hypothesis}"? Yes, No, or Maybe?\n',
        ("Yes", "No", "Maybe"),
        separator="",
    ),
    "boolq": Prompt("{passage} {question|question}\n", ("No", "Yes"), separator=""),
    "wsc": Prompt(
        '{text}\nIn the previous sentence, does the pronoun "{span2|lower}" refer to {span1}? Yes or No?\n',
        ("No", "Yes"),
        separator="",
    ),
    "wic": Prompt(
        'Does the word "{word}" have the same meaning in these two sentences? Yes, No?\n'
        "{sentence1}\n{sentence2}\n",
        ("No", "Yes"),
        separator="",
    ),
    "multirc": Prompt(
        "{paragraph}\nQuestion: {question}\n"
        'I found this answer "{answer_text}". Is that correct? Yes or No?\n',
        ("No", "Yes"),
        separator="",
    ),
}

MEZO_ROBERTA: Mapping[str, Prompt] = {
    "sst2": Prompt("{sentence} It was {answer} .", _SENTIMENT),
    "sst5": Prompt("{sentence} It was {answer} .", _FIVE),
    "mr": Prompt("{sentence} It was {answer} .", _SENTIMENT),
    "mpqa": Prompt("{sentence} It was {answer} .", _SENTIMENT),
    "trec": Prompt("{answer} : {sentence}", _QUESTION_KINDS),
    "rte": _RTE_MASKED,
    "rte-pascal": _RTE_MASKED,
    "cb": Prompt("{premise} ? {answer} , {hypothesis}", ("Yes", "No", "Maybe")),
}


def prompt_for(task: str, protocol: Protocol) -> Prompt:
    """The prompt of a task under a protocol; ``ValueError`` if the protocol has none for the task."""
    table = MEZO_OPT if protocol == "mezo-opt" else MEZO_ROBERTA
    if task not in table:
        raise ValueError(f"task {task!r} has no prompt under protocol {protocol!r}; use 'mezo-opt'")
    return table[task]
