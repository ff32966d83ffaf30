"""Built-in tasks: name -> "module:Class". One line per entry; importing this imports no torch."""

TASKS: dict[str, str] = {}
