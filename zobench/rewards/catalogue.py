"""Built-in rewards: name -> "module:Class". One line per entry; importing this imports no torch."""

REWARDS: dict[str, str] = {
    "exact": "zobench.rewards.matching:ExactReward",
    "number": "zobench.rewards.matching:NumberReward",
    "math": "zobench.rewards.matching:MathReward",
    "short-match": "zobench.rewards.matching:ShortMatchReward",
    "countdown": "zobench.rewards.countdown:CountdownReward",
    "format": "zobench.rewards.form:FormatReward",
    "judge": "zobench.rewards.judge:JudgeReward",
    "classifier": "zobench.rewards.classifier:ClassifierReward",
}
