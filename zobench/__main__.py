"""``python -m zobench``: the command line without an installed console script."""

from zobench.cli import main

if __name__ == "__main__":
    main()
