"""Displays results; reads only the store.

* :func:`zobench.report.build.build`: leaderboard page (and a page per run);
* :func:`zobench.report.terminal.summary`: one-screen table;
* :func:`zobench.report.diff.compare_folders`: two results folders compared.
"""
