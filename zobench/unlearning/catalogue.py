"""Built-in unlearning objectives and probes: name -> "module:Class"."""

OBJECTIVES: dict[str, str] = {}
PROBES: dict[str, str] = {}
