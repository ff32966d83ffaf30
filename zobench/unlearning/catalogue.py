"""Built-in unlearning objectives and probes: name -> "module:Class". Importing this imports no torch."""

_OBJECTIVE = "zobench.unlearning.objectives"
_PROBE = "zobench.unlearning.probes"

OBJECTIVES: dict[str, str] = {
    "grad-ascent": f"{_OBJECTIVE}.ascent:GradAscent",
    "grad-diff": f"{_OBJECTIVE}.ascent:GradDiff",
    "kl-min": f"{_OBJECTIVE}.ascent:KlMin",
    "npo": f"{_OBJECTIVE}.preference:Npo",
    "npo-muse-logits": f"{_OBJECTIVE}.preference:NpoMuseLogits",
    "simnpo": f"{_OBJECTIVE}.preference:SimNpo",
    "dpo": f"{_OBJECTIVE}.preference:Dpo",
    "idk-dpo": f"{_OBJECTIVE}.preference:IdkDpo",
    "idk-nll": f"{_OBJECTIVE}.refusal:IdkNll",
    "idk-ap": f"{_OBJECTIVE}.refusal:IdkAp",
    "rmu": f"{_OBJECTIVE}.representation:Rmu",
    "r2mu": f"{_OBJECTIVE}.representation:R2mu",
    "undial": f"{_OBJECTIVE}.distillation:Undial",
    "ce-u": f"{_OBJECTIVE}.distillation:Ceu",
    "me-gd": f"{_OBJECTIVE}.distillation:MaximalEntropy",
    "wga": f"{_OBJECTIVE}.weighted:Wga",
    "satimp": f"{_OBJECTIVE}.weighted:SatImp",
    "pdu": f"{_OBJECTIVE}.constrained:Pdu",
    "ilu": f"{_OBJECTIVE}.invariance:Ilu",
    "blur": f"{_OBJECTIVE}.two_gradients:Blur",
    "sift": f"{_OBJECTIVE}.representation:SiftObjective",
    "task-vector": f"{_OBJECTIVE}.task_vector:TaskVector",
}

PROBES: dict[str, str] = {
    "relearn": f"{_PROBE}.relearn:Relearn",
    "fine-tune": f"{_PROBE}.relearn:FineTune",
    "quantize": f"{_PROBE}.quantize:Quantize",
    "bitsandbytes": f"{_PROBE}.bitsandbytes:BitsAndBytes",
    "prune": f"{_PROBE}.prune:Prune",
    "weight-noise": f"{_PROBE}.noise:WeightNoise",
    "interpolate": f"{_PROBE}.interpolate:Interpolate",
    "rephrase": f"{_PROBE}.inputs:Rephrase",
    "prefix": f"{_PROBE}.inputs:ForcedPrefix",
    "few-shot": f"{_PROBE}.inputs:FewShot",
    "option-order": f"{_PROBE}.questions:OptionOrderProbe",
    "mscr": f"{_PROBE}.questions:MscrEdits",
}
