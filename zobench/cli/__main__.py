"""``python -m zobench.cli`` is the console script without its installation."""

from zobench.cli import main

main()
