"""Common layout of all interactive charts of a page, as a plotly template.

plotly's Python package checks every name and value of it against the schema of plotly.js, the library that
draws the charts. Colours are not part of it: they come from the style sheet, which has light, dark and print
colours.
"""

from __future__ import annotations

from typing import Any


def template() -> dict[str, Any]:
    """Layout defaults of all charts, as plain JSON for the ``template`` key of a plotly layout."""
    from plotly import graph_objects as go

    clear = "rgba(0,0,0,0)"
    axis = {"automargin": True}
    layout = go.Layout(
        paper_bgcolor=clear,
        plot_bgcolor=clear,
        showlegend=False,
        hovermode="closest",
        font={"size": 13},
        margin={"l": 56, "r": 12, "t": 8, "b": 48},
        xaxis=axis,
        yaxis=axis,
    )
    shared: dict[str, Any] = go.layout.Template(layout=layout).to_plotly_json()
    return shared
