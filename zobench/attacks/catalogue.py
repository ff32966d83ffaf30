"""Built-in attacks: name -> "module:Class". One line per entry; importing this imports no torch."""

ATTACKS: dict[str, str] = {
    "char-typos": "zobench.attacks.char_typos:CharTypos",
    "irrelevant-sentence": "zobench.attacks.irrelevant:IrrelevantSentence",
    "missing-question": "zobench.attacks.missing_question:MissingQuestion",
    "mscr": "zobench.attacks.mscr:MSCR",
    "mscr-controlled": "zobench.attacks.mscr:ControlledMSCR",
    "textfooler-like": "zobench.attacks.comparators:TextFooler",
    "bert-attack-like": "zobench.attacks.comparators:BERTAttack",
    "pwws": "zobench.attacks.comparators:PWWS",
    "clare-like": "zobench.attacks.comparators:CLARE",
    "textbugger-like": "zobench.attacks.comparators:TextBugger",
    "deepwordbug-like": "zobench.attacks.comparators:DeepWordBug",
    "stresstest": "zobench.attacks.appended:StressTest",
    "checklist": "zobench.attacks.appended:CheckList",
    "option-order": "zobench.attacks.appended:OptionOrder",
    "imia-2506.02711": "zobench.attacks.imia:Iterations",
    "square": "zobench.attacks.square:Square",
    "patch": "zobench.attacks.patch:Patch",
    "gaussian-noise": "zobench.attacks.gaussian_noise:GaussianNoise",
    "random-candidates": "zobench.attacks.comparators:RandomCandidates",
}
