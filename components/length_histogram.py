"""How long rows are, and how much the length limit cuts: bars by token count, the limit as a line, the share in words.

    gr.Plot(length_histogram([118, 96, 1034], max_length=512))

Cut rows differ from whole ones by pattern as well as by colour (Okabe-Ito). Text takes its colour from style.css.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

WHOLE, CUT = "#009E73", "#D55E00"
BARS = 40
LIMITS_SHOWN = 3  # what is longer than so many limits stands in the last bar: how much longer no longer matters
FAR = 4  # where the limit is so many times the longest row, the axis does not go there


def length_histogram(lengths: Sequence[int], *, max_length: int) -> go.Figure:
    """Rows by length in tokens. Rows longer than `max_length` are drawn as cut."""
    axis = _Axis.of(max(lengths, default=1), max_length)
    bars = Counter(map(axis.bar, lengths))
    figure = go.Figure([_bars(bars, axis, is_cut=False), _bars(bars, axis, is_cut=True)])
    _draw_limit(figure, axis)
    figure.update_layout(
        template="none", barmode="overlay", height=360, margin={"l": 64, "r": 24, "t": 48, "b": 64}, dragmode=False,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"color": "#75808f", "size": 12},
        showlegend=True, legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    end = axis.bars * axis.limit / axis.bars_to_limit
    figure.update_xaxes(title=_title("tokens in a row"), range=[0, end], showgrid=False, tickformat=",d", fixedrange=True)
    figure.update_yaxes(
        title=_title("rows"), gridcolor="rgba(128,128,128,.25)", zeroline=False, tickformat=",d", nticks=6, fixedrange=True,
        rangemode="tozero", dtick=1 if max(bars.values(), default=0) <= 5 else None,
    )
    return figure


class _Axis(NamedTuple):
    """Bars of one width. The limit falls between two bars, so that none is half cut; the last holds all that is longer."""

    limit: int  # tokens
    longest: int
    bars: int
    bars_to_limit: int

    @classmethod
    def of(cls, longest: int, limit: int) -> "_Axis":
        end = longest if limit > FAR * longest else max(limit, min(longest, LIMITS_SHOWN * limit))
        bars_to_limit = max(1, min(limit, round(limit * BARS / end)))
        return cls(limit, longest, max(1, math.ceil(end * bars_to_limit / limit)), bars_to_limit)

    @property
    def limit_is_far(self) -> bool:
        return self.bars < self.bars_to_limit

    def bar(self, length: int) -> int:
        """The number of the bar a row stands in."""
        return min(max(length * self.bars_to_limit - 1, 0) // self.limit, self.bars - 1)

    def range_in_words(self, bar: int) -> str:
        begin, end = (number * self.limit // self.bars_to_limit for number in (bar, bar + 1))
        end = max(end, self.longest) if bar == self.bars - 1 else end
        return f"{begin + 1:,} to {end:,} tokens" if end > begin + 1 else f"{end:,} tokens"


def _bars(bars: Counter[int], axis: _Axis, *, is_cut: bool) -> go.Bar:
    numbers = [number for number in sorted(bars) if (number >= axis.bars_to_limit) == is_cut]
    width = axis.limit / axis.bars_to_limit  # tokens
    pattern = {"shape": "/", "fillmode": "overlay", "fgcolor": "white", "size": 6} if is_cut else {}
    return go.Bar(
        x=[(number + 0.5) * width for number in numbers],
        y=[bars[number] for number in numbers],
        width=0.92 * width,
        name=f"longer than {axis.limit:,} tokens: cut" if is_cut else "whole",
        marker={"color": CUT if is_cut else WHOLE, "pattern": pattern},
        customdata=[axis.range_in_words(number) for number in numbers],
        hovertemplate="%{customdata}: %{y:,} rows<extra></extra>",
        visible=bool(numbers),
    )


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 12}, "standoff": 8}


def _draw_limit(figure: go.Figure, axis: _Axis) -> None:
    if axis.limit_is_far:
        figure.add_annotation(
            text=f"limit: {axis.limit:,} tokens, far to the right →", x=1, y=1.02, xref="paper", yref="paper",
            xanchor="right", yanchor="bottom", showarrow=False,
        )
        return
    on_left = axis.bars_to_limit > axis.bars / 2
    figure.add_vline(x=axis.limit, line={"color": CUT, "width": 2, "dash": "dash"})
    figure.add_annotation(
        text=f"cut at {axis.limit:,}", x=axis.limit, y=1, yref="paper", xanchor="right" if on_left else "left",
        yanchor="top", xshift=-6 if on_left else 6, showarrow=False,
    )
