"""Pictures of a data set: bars of how many, and a map of what its prompts ask about.

    gr.Plot(bars({"sentiment": 120, "topic": 40}, title="Rows by task"))

Groups of the map differ by sign as well as by colour (Okabe-Ito). Text takes its colour from style.css.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

BLUE, REST = "#0072B2", "#999999"
GROUP_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
GROUP_SIGNS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")
BARS, LETTERS = 15, 28
NOT_PLOTLYS = str.maketrans({"<": "‹", ">": "›", "&": "＆"})  # Plotly reads tags in labels: a label is no place for them


def bars(counts: Mapping[str, int], *, what: str) -> go.Figure:
    """Lying bars, in the order given; what is beyond the first is added up in the last."""
    shown = list(counts.items())[:BARS]
    rest = sum(list(counts.values())[BARS:])
    names = [_label(name) for name, _ in shown] + ([f"{len(counts) - BARS:,} others"] if rest else [])
    numbers = [number for _, number in shown] + ([rest] if rest else [])
    total = sum(numbers)
    figure = go.Figure(go.Bar(
        x=numbers, y=list(range(len(names))), orientation="h", marker={"color": [BLUE] * len(shown) + [REST] * bool(rest)},
        text=[f"{number:,}" for number in numbers], textposition="outside", cliponaxis=False,
        customdata=[f"{name}: {number:,} rows, {number / total:.1%}" for name, number in zip(names, numbers, strict=True)],
        hovertemplate="%{customdata}<extra></extra>",
    ))  # fmt: skip
    _style(figure, height=96 + 28 * len(names), left=16)
    figure.update_xaxes(
        title=_title(what), tickformat=",d", fixedrange=True, gridcolor="rgba(128,128,128,.25)", zeroline=False, nticks=5,
        range=[0, 1.15 * max(numbers, default=1)],
    )  # fmt: skip
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, autorange="reversed", fixedrange=True, automargin=True, showgrid=False, ticklabelstandoff=6)
    return figure


def length_bars(rows_by_bar: Mapping[int, int], *, per_doubling: int) -> go.Figure:
    """Rows by their number of characters. Bar n begins at 2 ** (n / per_doubling); each length is in one."""
    numbers = sorted(rows_by_bar)
    edges = [(math.ceil(2 ** (number / per_doubling)), max(1, math.ceil(2 ** ((number + 1) / per_doubling)) - 1)) for number in numbers]
    figure = go.Figure(go.Bar(
        x=numbers, y=[rows_by_bar[number] for number in numbers], marker={"color": BLUE}, width=0.92,
        customdata=[f"{low:,} to {high:,} characters" for low, high in edges], hovertemplate="%{customdata}: %{y:,} rows<extra></extra>",
    ))  # fmt: skip
    _style(figure, height=300, left=64)
    ticks = range(min(numbers, default=0) // per_doubling, max(numbers, default=0) // per_doubling + 2)
    every = max(1, len(ticks) // 6)
    shown = list(ticks)[::every]
    figure.update_xaxes(
        title=_title("characters in a row"), tickvals=[tick * per_doubling - 0.5 for tick in shown],
        ticktext=[f"{2**tick:,}" for tick in shown], fixedrange=True, showgrid=False,
    )  # fmt: skip
    figure.update_yaxes(title=_title("rows"), tickformat=",d", nticks=6, rangemode="tozero", fixedrange=True, gridcolor="rgba(128,128,128,.25)", zeroline=False)
    return figure


def prompt_scatter(x: Sequence[float], y: Sequence[float], group: Sequence[int], prompts: Sequence[str], names: Sequence[str]) -> go.Figure:
    """Each prompt a point, like ones close together; a group's name is its most typical words."""
    figure = go.Figure()
    for number, name in enumerate(names):
        own = [index for index, each in enumerate(group) if each == number]
        figure.add_trace(go.Scatter(
            x=[x[index] for index in own], y=[y[index] for index in own], mode="markers", name=f"{_label(name, 40)} ({len(own):,})",
            marker={"color": GROUP_COLOURS[number % 8], "symbol": GROUP_SIGNS[number % 8], "size": 7, "opacity": 0.75},
            customdata=[_label(prompts[index], 90) for index in own], hovertemplate="%{customdata}<extra></extra>",
        ))  # fmt: skip
    _style(figure, height=440 + 20 * len(names), left=8)
    figure.update_layout(showlegend=True, legend={"orientation": "v", "x": 0, "y": -0.02, "yanchor": "top"})
    figure.update_xaxes(visible=False, fixedrange=True)
    figure.update_yaxes(visible=False, fixedrange=True)
    return figure


def _style(figure: go.Figure, *, height: int, left: int) -> None:
    figure.update_layout(
        template="none", height=height, margin={"l": left, "r": 24, "t": 16, "b": 56}, dragmode=False, showlegend=False, bargap=0.2,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"color": "#75808f", "size": 12}, hoverlabel={"align": "left"},
    )  # fmt: skip


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 12}, "standoff": 8}


def _label(text: str, letters: int = LETTERS) -> str:
    text = text.translate(NOT_PLOTLYS).replace("$", "＄")  # a pair of dollars would be set as a formula
    return text if len(text) <= letters else text[: letters - 1] + "…"
