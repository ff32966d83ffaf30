"""``python -m zobench.cli``: the command line without an installed console script."""

from zobench.cli import main

main()
