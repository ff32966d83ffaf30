"""Built-in tasks: name -> "module:Class". One line per entry; importing this imports no torch."""

TASKS: dict[str, str] = {
    "sst2": "zobench.tasks.fewshot:SST2",
    "sst5": "zobench.tasks.fewshot:SST5",
    "trec": "zobench.tasks.fewshot:TREC",
    "mr": "zobench.tasks.fewshot:MR",
    "mpqa": "zobench.tasks.fewshot:MPQA",
    "rte-pascal": "zobench.tasks.fewshot:RTEPascal",
    "rte": "zobench.tasks.fewshot:RTE",
    "cb": "zobench.tasks.fewshot:CB",
    "boolq": "zobench.tasks.fewshot:BoolQ",
    "wsc": "zobench.tasks.fewshot:WSC",
    "wic": "zobench.tasks.fewshot:WiC",
    "multirc": "zobench.tasks.fewshot:MultiRC",
    "copa": "zobench.tasks.multiple_choice:COPA",
    "record": "zobench.tasks.multiple_choice:ReCoRD",
    "gsm8k": "zobench.tasks.math_problems:GSM8K",
    "math500": "zobench.tasks.math_problems:MATH500",
    "gsm-plus": "zobench.tasks.math_problems:GSMPlus",
    "gsm-ic": "zobench.tasks.math_problems:GSMIC",
}
