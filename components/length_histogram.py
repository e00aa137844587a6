"""How long rows are, and how much the length limit cuts: bars by token count, the limit as a line, the share in words.

    gr.Plot(length_histogram([118, 96, 1034], max_length=512))

Cut rows differ from whole ones by pattern as well as by colour (Okabe-Ito). Text takes its colour from style.css.
"""

import math
from collections import Counter
from collections.abc import Sequence

import plotly.graph_objects as go

WHOLE, CUT = "#009E73", "#D55E00"
BARS = 40
LIMITS_SHOWN = 3  # what is longer than so many limits stands in the last bar: how much longer no longer matters
FAR = 4  # where the limit is so many times the longest row, the axis does not go there


def length_histogram(lengths: Sequence[int], *, max_length: int) -> go.Figure:
    """Rows by length in tokens. Rows longer than `max_length` are drawn as cut."""
    longest = max(lengths, default=1)
    far = max_length > FAR * longest
    end = longest if far else max(max_length, min(longest, LIMITS_SHOWN * max_length))
    width = _bar_width(end, max_length, far=far)
    last = math.ceil(end / width) - 1
    bars = Counter(min(max(length - 1, 0) // width, last) for length in lengths)
    figure = go.Figure([_bars(bars, width, last, longest, part, max_length) for part in ("whole", "cut")])
    _draw_limit(figure, max_length, end=(last + 1) * width, far=far)
    figure.update_layout(
        barmode="overlay", bargap=0.08, height=340, margin={"l": 56, "r": 24, "t": 48, "b": 56},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"color": "#75808f", "size": 13},
        showlegend=True, legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}, dragmode=False,
        title=None, template="none",
    )
    figure.update_xaxes(title="tokens in a row", range=[0, (last + 1) * width], showgrid=False, rangemode="tozero")
    figure.update_yaxes(title="rows", gridcolor="rgba(128,128,128,.25)", zeroline=False, tickformat=",d", nticks=6)
    return figure


def _bar_width(end: int, max_length: int, *, far: bool) -> int:
    """A width at which the limit falls between two bars, so that no bar is half cut."""
    wanted = max(1, math.ceil(end / BARS))
    if far:
        return wanted
    return math.ceil(max_length / max(1, round(max_length / wanted)))


def _bars(bars: Counter[int], width: int, last: int, longest: int, part: str, max_length: int) -> go.Bar:
    is_cut = part == "cut"
    numbers = [number for number in sorted(bars) if (number * width >= max_length) == is_cut]
    return go.Bar(
        x=[(number + 0.5) * width for number in numbers],
        y=[bars[number] for number in numbers],
        width=0.94 * width,
        name=f"longer than {max_length:,} tokens, cut" if is_cut else "whole",
        marker={"color": CUT if is_cut else WHOLE, "pattern": {"shape": "/" if is_cut else "", "fgcolor": "white", "size": 6}},
        customdata=[_range_in_words(number, width, last, longest) for number in numbers],
        hovertemplate="%{customdata}: %{y:,} rows<extra></extra>",
        visible=bool(numbers),
    )


def _range_in_words(number: int, width: int, last: int, longest: int) -> str:
    begin, end = number * width + 1, (number + 1) * width
    end = max(end, longest) if number == last else end
    return f"{begin:,} to {end:,} tokens" if end > begin else f"{end:,} tokens"


def _draw_limit(figure: go.Figure, max_length: int, *, end: int, far: bool) -> None:
    if far:
        figure.add_annotation(
            text=f"limit: {max_length:,} tokens, far to the right →", x=1, y=1.02, xref="paper", yref="paper",
            xanchor="right", yanchor="bottom", showarrow=False,
        )
        return
    figure.add_vline(x=max_length, line={"color": CUT, "width": 2, "dash": "dash"})
    on_left = max_length > end / 2
    figure.add_annotation(
        text=f"cut at {max_length:,}", x=max_length, y=1, yref="paper", xanchor="right" if on_left else "left",
        yanchor="top", xshift=-6 if on_left else 6, showarrow=False,
    )
