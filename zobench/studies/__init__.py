"""Studies: each reads committed results (or a results folder) and writes one page of ``docs/``.

Every module is a command that is run in a checkout: ``python -m zobench.studies.claims``. Studies read the
store through the report; no other package imports them. The results are in ``docs/results``; wheels do not
contain them.
"""
