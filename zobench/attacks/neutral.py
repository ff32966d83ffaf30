"""The meaning-preserving pool: edits that do not change the meaning for a reader.

Budget-matched random baselines draw from it. Lexical: contractions and spelling variants of the same word
(``do not``/``don't``, ``color``/``colour``). Typographic: a doubled space, a curly for a straight apostrophe
or quotation mark, a final full stop added or removed. Frame: an empty phrase before a sentence (``Put
simply:``); its size is its number of words. Each of the other edits counts as one unit edit. Synonyms,
reorderings and edits that change a letter of another word are not in the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import regex

from zobench.attacks.protect import Guard
from zobench.attacks.words import Edit, apply_edits, in_style, match_case, sentences, words

_CONTRACTIONS = (
    "do not=don't|does not=doesn't|did not=didn't|is not=isn't|are not=aren't|was not=wasn't|were "
    "not=weren't|has not=hasn't|have not=haven't|had not=hadn't|would not=wouldn't|could not=couldn't|"
    "should not=shouldn't|cannot=can't|will not=won't|it is=it's|that is=that's|there is=there's|what "
    "is=what's|i am=i'm|you are=you're|we are=we're|they are=they're|i will=i'll|you will=you'll|he "
    "will=he'll|she will=she'll|they will=they'll|i have=i've|you have=you've|we have=we've|they "
    "have=they've|do n't=don't|does n't=doesn't|did n't=didn't|is n't=isn't|was n't=wasn't|ca n't=can't|wo "
    "n't=won't"
)
_SPELLINGS = (
    "color=colour|colors=colours|favorite=favourite|favor=favour|flavor=flavour|flavors=flavours|"
    "humor=humour|honor=honour|labor=labour|neighbor=neighbour|neighbors=neighbours|"
    "neighborhood=neighbourhood|center=centre|theater=theatre|gray=grey|organize=organise|"
    "organized=organised|realize=realise|realized=realised|recognize=recognise|apologize=apologise|"
    "analyze=analyse|analyzed=analysed|traveled=travelled|traveling=travelling|canceled=cancelled|"
    "jewelry=jewellery|catalog=catalogue|dialog=dialogue|program=programme|defense=defence|offense=offence|"
    "aging=ageing|cozy=cosy|mold=mould|mom=mum|math=maths|ok=okay|till=until|toward=towards|"
    "afterward=afterwards|among=amongst|while=whilst|percent=per cent|all right=alright|tv=television|"
    "e-mail=email|film-maker=filmmaker|etc.=et cetera|versus=vs.|although=though|anyone=anybody|"
    "everyone=everybody|someone=somebody|no one=nobody"
)
FRAMES: tuple[str, ...] = (
    "Put simply:",
    "In other words:",
    "As a reminder:",
    "To be precise:",
    "That is:",
    "Here it is:",
    "To put it another way:",
)


def _table() -> dict[str, str]:
    pairs = [pair.partition("=")[::2] for pair in f"{_CONTRACTIONS}|{_SPELLINGS}".split("|")]
    return dict(pairs) | {b: a for a, b in pairs if " n't" not in a}


PAIRS = _table()
_KEYS = "|".join(regex.escape(k).replace("'", "['’]") for k in sorted(PAIRS, key=len, reverse=True))
_LEXICAL = regex.compile(rf"(?<![\p{{L}}\p{{N}}'’-])(?:{_KEYS})(?![\p{{L}}\p{{N}}'’-])", regex.IGNORECASE)
_TYPOGRAPHIC = regex.compile(
    r"(?<=\S)[ ](?=\S)|(?<=\p{L})'(?=\p{L})|(?<=\S)['\"](?=\s|$)|(?:\.\s*|(?<=[\p{L}\p{M}])\s*)$(?![\s\S])"
)
_CURLY = {"'": "’", '"': "”", " ": "  "}


def neutral_sites(text: str, guard: Guard, kinds: Sequence[str]) -> list[Edit]:
    """Every neutral edit of these kinds that the text allows: outside protected spans, not overlapping."""
    edits: list[Edit] = []
    if "lexical" in kinds:
        for m in _LEXICAL.finditer(text):
            other = PAIRS[m.group().lower().replace("’", "'")]
            edits.append(Edit(m.start(), m.end(), match_case(other, m.group())))
    if "typographic" in kinds:
        edits += [Edit(m.start(), m.end(), _typography(m.group())) for m in _TYPOGRAPHIC.finditer(text)]
    if "frame" in kinds:
        edits += [Edit(s.start, s.start, "") for s in sentences(text)]
    kept: list[Edit] = []
    # Of edits that start together an insertion comes first, then the longest: the later ones are dropped.
    for edit in sorted(edits, key=lambda e: (e.start, e.end != e.start, -e.end)):
        if guard.free(edit.start, edit.end) and (not kept or kept[-1].end <= edit.start):
            kept.append(edit)
    return kept


def _typography(found: str) -> str:
    if found in _CURLY:
        return _CURLY[found]
    return "" if found.startswith(".") else "."


def neutral_text(
    text: str, guard: Guard, size: int, random: Random, kinds: Sequence[str] = ("lexical", "typographic")
) -> str | None:
    """The text with random neutral edits until they reach the size or until no position is left.

    ``None`` if no edit is possible.
    """
    sites = neutral_sites(text, guard, kinds)
    chosen: list[Edit] = []
    spent = 0
    for edit in random.sample(sites, min(len(sites), max(1, size))):
        if spent >= size and chosen:
            break
        if edit.start == edit.end and not edit.replacement:
            frame = in_style(random.choice(FRAMES), text)
            edit = Edit(edit.start, edit.end, frame + " ")
            spent += len(words(frame)) - 1
        spent += 1
        chosen.append(edit)
    # Edits that are allowed alone may together break protected text: drop the last until the text is valid.
    while chosen:
        edited = apply_edits(text, chosen)
        if edited != text and guard.keeps(edited):
            return edited
        chosen.pop()
    return None
