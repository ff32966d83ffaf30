"""Built-in attacks: name -> "module:Class". One line per entry; importing this imports no torch."""

ATTACKS: dict[str, str] = {}
