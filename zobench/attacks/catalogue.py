"""Built-in attacks: name -> "module:Class". One line per entry; importing this imports no torch."""

ATTACKS: dict[str, str] = {
    "char-typos": "zobench.attacks.char_typos:CharTypos",
    "irrelevant-sentence": "zobench.attacks.irrelevant:IrrelevantSentence",
}
