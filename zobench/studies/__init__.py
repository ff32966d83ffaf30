"""Studies: each reads committed results (or a results folder) and writes one page of ``docs/``.

Every module is a command, run from a checkout: ``python -m zobench.studies.claims``. A study reads the store
through the report, and nothing imports a study. The results are in ``docs/results`` and in no wheel.
"""
