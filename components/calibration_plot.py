"""How sure a reward model is, against how often people agree: points with intervals beside the line of the honest.

    gr.Plot(calibration_plot(calibration([0.4, 2.1, -0.3])))
    gr.HTML(calibration_words(...))

Text takes its colour from style.css.
"""

import plotly.graph_objects as go

from backend.calibration import Calibration, Trial
from components.agreement_view import ENOUGH, figure
from components.text import escape

BLUE, GREY = "#0072B2", "#999999"  # Okabe and Ito
GOOD_ENOUGH = 0.6  # of pairs right; below, answers that learn from it learn its errors
LEANING = {
    "too sure": "It is more sure than it is right: read its probabilities as nearer to a half.",
    "not sure enough": "It is right more often than it says: its probabilities are modest.",
    "about right": "What it says and how often it is right go together, as far as so many pairs can tell.",
}


def calibration_plot(measured: Calibration) -> go.Figure:
    """Each point some pairs: how sure the model is of the answer it prefers, and in what share people preferred it too."""
    figure = go.Figure([_honest(), _points(measured)])
    figure.update_layout(
        template="none", height=360, margin={"l": 64, "r": 24, "t": 48, "b": 64}, dragmode=False, hoverlabel={"align": "left"},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"color": "#75808f", "size": 12},
        showlegend=True, legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )  # fmt: skip
    for update, words, ends in (
        (figure.update_xaxes, "how sure the model is of the answer it prefers", [0.48, 1.02]),
        (figure.update_yaxes, "pairs in which people prefer it too", [-0.02, 1.04]),
    ):
        update(
            title={"text": words, "font": {"size": 12}, "standoff": 8}, range=ends, tickformat=".0%", fixedrange=True, zeroline=False,
            gridcolor="rgba(128,128,128,.25)", nticks=6,
        )  # fmt: skip
    return figure


def calibration_words(measured: Calibration, trial: Trial) -> str:
    """The numbers, each with how to read it, and what was left out."""
    low, high = measured.interval
    coin = " That is little better than a coin: train it on more pairs, or on pairs people agree on." if measured.accuracy < GOOD_ENOUGH else ""
    few = f" Not enough yet to lean on: {ENOUGH} pairs or more would be." if measured.pairs < ENOUGH else ""
    cards = [
        figure(
            "Right", f"{measured.accuracy:.0%} of {measured.pairs:,}",
            f"Of pairs it has not learnt from, the answer people preferred got the higher reward in so many "
            f"(95% interval {low:.0%} to {high:.0%}). A coin is right in a half.{coin}{few}", warns=measured.accuracy < GOOD_ENOUGH,
        ),
        figure("Calibration error", f"{measured.error:.0%}", f"How far sure and right are apart, on average over the points below. {LEANING[measured.leaning]}"),
        figure(
            "Brier score", f"{measured.brier:.3f}",
            "Mean squared error of its probabilities: 0 is perfect, a coin has 0.25. Being surely wrong costs most.",
        ),
        figure("Log loss", f"{measured.log_loss:.3f}", "What its training makes small, here on unseen pairs, without margins: 0 is perfect, a coin has 0.693."),
    ]  # fmt: skip
    return f'<div class="figures">{"".join(cards)}</div>{left_out_words(trial)}'


def left_out_words(trial: Trial) -> str:
    """How many rows were scored, and why others were not."""
    reasons = [f"{number:,} left out: {reason}" for reason, number in trial.left_out.items()]
    return f'<p class="quiet">{escape("; ".join([f"{trial.rows:,} rows scored", *reasons]))}.</p>'


def _honest() -> go.Scatter:
    return go.Scatter(
        x=[0.5, 1], y=[0.5, 1], mode="lines", name="as often right as sure", line={"color": GREY, "dash": "dash", "width": 2}, hoverinfo="skip"
    )


def _points(measured: Calibration) -> go.Scatter:
    bins = measured.bins
    return go.Scatter(
        x=[each.sure for each in bins], y=[each.share for each in bins], mode="markers", name="the model, with 95% intervals",
        marker={"color": BLUE, "size": 9},
        error_y={
            "type": "data", "symmetric": False, "color": BLUE, "thickness": 2, "width": 5,
            "array": [each.interval.high - each.share for each in bins], "arrayminus": [each.share - each.interval.low for each in bins],
        },
        customdata=[f"{each.right:,} of {each.pairs:,} pairs" for each in bins],
        hovertemplate="%{x:.0%} sure, right in %{y:.0%}: %{customdata}<extra></extra>",
    )  # fmt: skip
