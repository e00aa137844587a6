"""The live training chart: loss large; what the objective watches, learning rate, gradient norm and speed small below.

The browser keeps the whole history, so a tick sends only new points and zoom, hover and scroll stay where they are.
The page part is `assets/live_plot.js`, its looks `assets/live_plot.css`. See it with `python -m components.live_plot`.

    gr.set_static_paths(static_paths())
    with gr.Blocks() as page:
        chart = live_plot()
        page.load(None, js=preload())                      # where the chart is not the first thing one sees
        chart.behind(on_behind, outputs=chart)             # answers with whole(...)
        gr.Timer(1).tick(on_tick, outputs=chart, ...)      # answers with more(..., after=<last payload's serial>)
    page.launch(css_paths=[LIVE_PLOT_CSS])
"""

import itertools
import json
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import gradio as gr
import orjson
import plotly

# "loss", "validation_loss", "base_loss", "learning_rate", "grad_norm", "tokens_per_second"; and whatever an objective
# watches besides: WATCHED + "accuracy" while training, HELD_OUT + "accuracy" on held-out rows, on a chart of its own
Metric = str
WATCHED, HELD_OUT = "watched ", "held-out "

ASSETS = Path(__file__).parents[1] / "assets"
LIVE_PLOT_CSS = ASSETS / "live_plot.css"
MOST_POINTS = 10_000  # of a curve sent whole: more than any screen shows; with twice as many a run opens 0.4 s later
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
AT_REST = 4000  # milliseconds after which a page that opens has everything in view


class Series(TypedDict):
    """Points of one metric of one run, oldest first; the three lists are equally long."""

    run: str  # the run's id
    label: str  # what people call it; any text, shown as text
    metric: Metric
    steps: list[int]
    seconds: list[float]  # of training so far
    values: list[float]  # losses in nats per token


COLUMNS: tuple[Literal["steps", "seconds", "values"], ...] = ("steps", "seconds", "values")


class Payload(TypedDict):
    """What the chart takes as its value. `after` is the serial of the payload this one goes on from, if it matters.

    The series travel as one JSON text: Gradio walks through whatever else a value holds, on both sides, and a long run's
    100,000 numbers would keep the page waiting for seconds.
    """

    serial: int
    kind: Literal["whole", "more"]
    after: int | None
    series: str  # JSON of list[Series]


# Gradio drops a value equal to the last one, and the page must not draw a re-delivered one twice: so each payload
# gets a number of its own. It starts at the clock (milliseconds) so that a page left open outlives a restart.
_serials = itertools.count(time.time_ns() // 1_000_000)


def live_plot(*, elem_id: str = "live-plot") -> gr.HTML:
    """The chart, empty. Give it `whole(...)` and then `more(...)` as values; listen to `.behind` for lost payloads."""
    return gr.HTML(
        elem_id=elem_id,
        # Gradio runs `${...}` that it finds in templates, so this one is constant and data only comes through `watch`.
        html_template=_TEMPLATE,
        js_on_load=_script(),
        apply_default_css=False,
    )


def preload() -> str:
    """Script for a page's `load` event: plotly is there before the first chart is opened, which would else wait half a second for it.

    It takes half a second itself in which nothing else goes on, so the page comes to rest first.
    """
    return f"() => {{ {_loader()} setTimeout(() => loadPlotly().catch(console.error), {AT_REST}); }}"


def _script() -> str:
    """The page part."""
    return _loader() + (ASSETS / "live_plot.js").read_text(encoding="utf-8")


def _loader() -> str:
    """What brings plotly into the page, told where it lies; a prop would be lost when the chart begins in a hidden column."""
    return f"const PLOTLY_PATH = {json.dumps(PLOTLY.as_posix())};\n" + (ASSETS / "plotly_loader.js").read_text(encoding="utf-8")


def whole(series: Sequence[Series]) -> Payload:
    """A payload that replaces everything the chart shows; very long curves come by their extremes. `whole([])` empties it."""
    return {"serial": next(_serials), "kind": "whole", "after": None, "series": _packed(_thinned(_finite(one)) for one in series)}


def more(series: Sequence[Series], *, after: int | None = None) -> Payload:
    """A payload that extends the curves.

    With `after`, the serial of the payload sent before, the chart notices when that one never reached it (Gradio keeps
    only the last value for a chart in an unopened tab) and fires `behind`. A step that the chart has already, as after
    resuming a run, replaces the curve from there on.
    """
    return {"serial": next(_serials), "kind": "more", "after": after, "series": _packed(map(_finite, series))}


def static_paths() -> list[str]:
    """What to hand to `gr.set_static_paths` before launching: plotly's script, served from the installed package."""
    return [str(PLOTLY.parent)]


def _packed(series: Iterable[Series]) -> str:
    return orjson.dumps(list(series)).decode()


def _finite(series: Series) -> Series:
    """The series without points that cannot be placed. A diverged loss leaves a gap; it is never drawn as 0."""
    lengths = {len(series[column]) for column in COLUMNS}
    if len(lengths) == 1 and all(all(map(math.isfinite, series[column])) for column in COLUMNS):
        return series
    points = [
        point
        for point in zip(series["steps"], series["seconds"], series["values"], strict=True)
        if all(math.isfinite(number) for number in point)
    ]
    return {
        **series,
        "steps": [step for step, _, _ in points],
        "seconds": [seconds for _, seconds, _ in points],
        "values": [value for _, _, value in points],
    }


def _thinned(series: Series) -> Series:
    """The lowest and the highest point of each of MOST_POINTS / 2 stretches, and the newest, where there are more."""
    values, count, stretches = series["values"], len(series["values"]), MOST_POINTS // 2
    if count <= MOST_POINTS:
        return series
    picked = {count - 1}
    for stretch in range(stretches):
        places = range(stretch * count // stretches, (stretch + 1) * count // stretches)
        picked |= {min(places, key=values.__getitem__), max(places, key=values.__getitem__)}
    kept = sorted(picked)
    return {**series, **{column: [series[column][place] for place in kept] for column in COLUMNS}}  # type: ignore[typeddict-item]


_TEMPLATE = """
<div class="live-plot">
  <div class="live-plot-toolbar" role="group" aria-label="Chart controls">
    <label>Smoothing <input type="range" name="smoothing" min="0" max="0.99" step="0.01" value="0.6">
      <output>0.60</output></label>
    <label title="Equal distances stand for equal factors"><input type="checkbox" name="log"> Log axis</label>
    <label>Along <select name="along"><option value="steps">steps</option><option value="minutes">time</option></select>
    </label>
    <button type="button" name="reset">Reset zoom</button>
  </div>
  <div class="live-plot-legend">
    <ul class="live-plot-runs" aria-label="Runs: press to hide or show"></ul>
    <ul class="live-plot-key" aria-label="Kinds of line">
      <li><svg width="28" height="10" aria-hidden="true"><path d="M0 5H28" stroke-width="1.5"/></svg>training</li>
      <li><svg width="28" height="10" aria-hidden="true"><path d="M0 5H28" stroke-width="3"/>
        <circle cx="14" cy="5" r="4"/></svg>held-out</li>
      <li><svg width="28" height="10" aria-hidden="true"><path d="M0 5H28" stroke-width="1.5" stroke-dasharray="5 4"/>
        </svg>base model</li>
    </ul>
  </div>
  <div class="live-plot-stage" data-empty>
    <p class="live-plot-empty">The curve starts with the first step.</p>
    <div class="live-plot-charts" role="img" aria-label="Training chart, no points yet.">
      <div class="live-plot-large" data-chart="loss"></div>
      <div class="live-plot-small" data-chart="learning_rate"></div>
      <div class="live-plot-small" data-chart="grad_norm"></div>
      <div class="live-plot-small" data-chart="tokens_per_second"></div>
    </div>
  </div>
</div>
"""


# The demo: two made-up runs that grow while one looks.


LABELS = ("three lines", "three lines, rank 64")


def demo(*, labels: Sequence[str] = LABELS, start: int = 0, pace: int = 3) -> gr.Blocks:
    """A page with one fake run per label, `start` steps old, that grow by `pace` steps each half second."""

    def on_load() -> tuple[Payload, tuple[int, int]]:
        payload = whole(_fake(labels, 0, start))
        return payload, (start, payload["serial"])

    def on_behind(state: tuple[int, int]) -> tuple[Payload, tuple[int, int]]:
        payload = whole(_fake(labels, 0, state[0]))
        return payload, (state[0], payload["serial"])

    def on_tick(state: tuple[int, int]) -> tuple[Payload, tuple[int, int]]:
        step, serial = state
        payload = more(_fake(labels, step, step + pace), after=serial)
        return payload, (step + pace, payload["serial"])

    with gr.Blocks(title="Live chart", analytics_enabled=False) as page:
        chart = live_plot()
        state = gr.State((0, 0))
        page.load(on_load, outputs=[chart, state], show_progress="hidden", queue=False)
        chart.behind(on_behind, inputs=state, outputs=[chart, state], show_progress="hidden", queue=False)
        if pace:
            gr.Timer(0.5).tick(on_tick, inputs=state, outputs=[chart, state], show_progress="hidden", queue=False)
    return page


def _fake(labels: Sequence[str], begin: int, end: int) -> list[Series]:
    """Steps `begin + 1` to `end` of invented runs. The noise follows from the step, so every call tells the same."""
    series: list[Series] = []
    for number, label in enumerate(labels):
        steps = list(range(begin + 1, end + 1))
        evaluated = [step for step in steps if step % max(10, end // 25) == 0]
        curves: dict[Metric, tuple[list[int], list[float]]] = {
            "loss": (steps, [_fake_loss(step, number) * (1 + 0.12 * _noise(step, number)) for step in steps]),
            "validation_loss": (evaluated, [_fake_loss(step, number) * 1.04 + 0.05 for step in evaluated]),
            "learning_rate": (steps, [2e-4 * min(1, step / 40) * 0.9995**step for step in steps]),
            "grad_norm": (steps, [1.2 * math.exp(0.5 * _noise(step, number + 7)) for step in steps]),
            "tokens_per_second": (steps, [900 - 150 * number + 60 * _noise(step, number + 13) for step in steps]),
        }
        if begin == 0:
            curves["base_loss"] = ([0], [2.9])
        for metric, (at, values) in curves.items():
            series.append(
                {
                    "run": f"r{number}",
                    "label": label,
                    "metric": metric,
                    "steps": at,
                    "seconds": [step * (1.4 + 0.3 * number) for step in at],
                    "values": values,
                }
            )
    return series


def _fake_loss(step: int, number: int) -> float:
    return 0.7 + 0.15 * number + 2.2 * math.exp(-step / (90 + 40 * number)) + 0.6 / math.sqrt(step + 1)


def _noise(step: int, number: int) -> float:
    """Between -1 and 1, different at every step."""
    return 2 * (math.sin(step * 12.9898 + number * 78.233) * 43758.5453 % 1) - 1


if __name__ == "__main__":
    gr.set_static_paths(static_paths())
    demo().launch(css_paths=[LIVE_PLOT_CSS], ssr_mode=False, server_name="127.0.0.1")
