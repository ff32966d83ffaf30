"""Built-in methods: name -> "module:Class". One line per entry; importing this imports no torch."""

METHODS: dict[str, str] = {
    "mezo": "zobench.zo.methods.mezo:Mezo",
}
