"""The live chart: its payloads, and its page in a real Chromium."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import gradio as gr
import pytest

from components.live_plot import LIVE_PLOT_CSS, MOST_POINTS, Payload, Series, demo, live_plot, more, static_paths, whole

HOSTILE = "<img src=x onerror=alert(1)>"


def loss(steps: list[int], values: list[float]) -> Series:
    seconds = [1.5 * step for step in steps]
    return {"run": "r1", "label": "a", "metric": "loss", "steps": steps, "seconds": seconds, "values": values}


def sent(payload: Payload) -> list[Series]:
    return json.loads(payload["series"])


def test_points_that_are_not_finite_are_left_out():
    [series] = sent(whole([loss([1, 2, 3, 4], [2.0, math.nan, math.inf, 1.0])]))
    assert (series["steps"], series["seconds"], series["values"]) == ([1, 4], [1.5, 6.0], [2.0, 1.0])


def test_equal_payloads_differ_by_a_growing_serial():
    payloads = [whole([]), more([]), whole([]), more([], after=7)]
    serials = [payload["serial"] for payload in payloads]
    assert serials == sorted(set(serials))
    assert serials[-1] < 2**53  # JavaScript counts exactly up to there
    assert [(payload["kind"], payload["after"]) for payload in payloads[1::2]] == [("more", None), ("more", 7)]


def test_payloads_are_plain_json():
    payload = whole([loss([1, 2], [math.nan, 1.0])])
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload


def test_the_series_given_is_left_as_it_was():
    series = loss([1, 2], [math.nan, 1.0])
    whole([series])
    assert series["steps"] == [1, 2]


def test_lists_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        more([loss([1, 2], [1.0])])


@pytest.mark.fault("a million metric points")
def test_a_very_long_curve_is_sent_by_its_extremes_and_its_newest_point():
    values = [math.sin(step) for step in range(1_000_000)]
    values[700_001], values[700_002] = -50.0, 50.0
    [series] = sent(whole([loss(list(range(1_000_000)), values)]))
    assert MOST_POINTS / 2 <= len(series["steps"]) <= MOST_POINTS + 1
    assert {700_001, 700_002, 999_999} <= set(series["steps"]) and series["steps"] == sorted(series["steps"])
    assert all(values[step] == value for step, value in zip(series["steps"], series["values"], strict=True))


def test_the_template_has_nothing_for_gradio_to_run():
    template = live_plot().html_template
    assert not [command for command in ("${", "{{", "`", "@children") if command in template]


def test_static_paths_hold_the_script():
    assert any((Path(path) / "plotly.min.js").is_file() for path in static_paths())


# In the browser. `chart(name)` is plotly's own node: its `data` and `layout` are what is on the screen.

READ = """(name) => {
  const node = document.querySelector(`[data-chart="${name}"]`);
  const lines = (node.data ?? []).filter(trace => trace.name);
  return {
    lines: lines.map(({name, mode, x, y, customdata, line}) => ({name, mode, x, y, raw: customdata, line})),
    faint: (node.data ?? []).filter(trace => trace.opacity === 0.25).length,
    layout: JSON.parse(JSON.stringify(node.layout ?? {})),
  };
}"""
GROWN = """([name, step]) => {
  const line = document.querySelector(`[data-chart="${name}"]`)?.data?.find(trace => trace.name);
  return line && line.x.at(-1) > step;
}"""


@pytest.fixture
def visit(chromium, monkeypatch) -> Iterator:
    """Serve a page of charts on a free port and open it; fails when the page had an error of its own."""
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    gr.set_static_paths(static_paths())
    served, errors = [], []

    def open_page(blocks: gr.Blocks, *, theme: str = "light", loaded: bool = True):
        _, url, _ = blocks.launch(
            css_paths=[LIVE_PLOT_CSS], server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False
        )
        page = chromium.new_context(viewport={"width": 1100, "height": 760}).new_page()
        served.append((blocks, page))
        page.hosts, page.dialogs = set(), []
        page.on("request", lambda request: page.hosts.add(urlparse(request.url).hostname or "127.0.0.1"))
        page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}?__theme={theme}")
        if loaded:
            page.wait_for_function("document.querySelector('[data-chart=loss]')?.data?.some(trace => trace.name)")
        return page

    yield open_page
    for blocks, page in served:
        page.context.close()
        blocks.close(verbose=False)
    assert errors == []


def wait_for_growth(page, name: str = "loss") -> None:
    now = page.evaluate(READ, name)["lines"][0]["x"][-1]
    page.wait_for_function(GROWN, arg=[name, now])


def wait_until(page, expression: str) -> None:
    """`expression` may name `chart`, the large chart's plotly node."""
    chart = "document.querySelector('[data-chart=loss]')"
    page.wait_for_function(f"() => {{ const chart = {chart}; return {expression} }}")


@pytest.mark.browser
def test_small_charts_follow_at_leisure_and_what_nobody_sees_waits_until_it_is_near(visit):
    """Every drawing takes the processor from the training it shows."""
    page = visit(demo(start=60))
    wait_for_growth(page)
    begun = page.evaluate(READ, "grad_norm")["lines"][0]["x"][-1]
    for _ in range(3):
        wait_for_growth(page)
    assert page.evaluate(READ, "grad_norm")["lines"][0]["x"][-1] == begun
    wait_for_growth(page, "grad_norm")  # which comes all the same
    page.evaluate("document.body.style.paddingTop = '3000px'")
    page.wait_for_timeout(1_000)  # what was due is drawn
    unseen = page.evaluate(READ, "loss")["lines"][0]["x"][-1]
    page.wait_for_timeout(2_500)  # several payloads
    assert page.evaluate(READ, "loss")["lines"][0]["x"][-1] == unseen
    page.evaluate("document.querySelector('[data-chart=loss]').scrollIntoView()")
    page.wait_for_function(GROWN, arg=["loss", unseen])


@pytest.mark.browser
def test_what_was_changed_while_nobody_saw_it_is_there_when_it_comes_near(visit):
    page = visit(demo(start=60, pace=0))
    page.wait_for_timeout(500)  # all is drawn
    page.evaluate("document.body.style.paddingTop = '3000px'")
    page.wait_for_timeout(500)
    page.evaluate("""() => {
      const along = document.querySelector('[name=along]');
      along.value = 'minutes';
      along.dispatchEvent(new Event('change'));
    }""")
    page.wait_for_timeout(500)
    title = "document.querySelector('[data-chart=learning_rate]').layout.xaxis.title.text"
    assert page.evaluate(title) == "step"
    page.evaluate("document.querySelector('[data-chart=learning_rate]').scrollIntoView()")
    page.wait_for_function(f"{title} === 'minutes'", timeout=5_000)


@pytest.mark.browser
def test_points_grow_while_zoom_and_hover_stay(visit):
    page = visit(demo(start=60))
    wait_for_growth(page)
    large = page.evaluate(READ, "loss")
    assert large["lines"][0]["x"][:3] == [1, 2, 3]
    assert large["layout"]["xaxis"]["autorange"]
    assert large["layout"]["yaxis"]["title"]["text"] == "loss (nats per token)"
    assert [shape["label"]["text"] for shape in large["layout"]["shapes"]] == ["base model 2.9"]

    box = page.locator('[data-chart="loss"]').bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 120)
    page.mouse.down()
    page.mouse.move(box["x"] + 600, box["y"] + 122, steps=4)  # level: the x axis alone is zoomed
    page.mouse.up()
    wait_until(page, "!chart.layout.xaxis.autorange")
    zoomed = page.evaluate(READ, "loss")["layout"]["xaxis"]["range"]
    wait_until(page, "document.querySelector('.hoverlayer .legend, .hoverlayer .hovertext')")
    wait_for_growth(page)
    wait_for_growth(page)
    large = page.evaluate(READ, "loss")
    assert large["layout"]["xaxis"]["range"] == zoomed and large["layout"]["yaxis"]["autorange"]
    assert page.evaluate(READ, "grad_norm")["layout"]["xaxis"]["range"] == zoomed  # the small charts follow
    assert page.locator('[data-chart="loss"] .hoverlayer').text_content().startswith("step ")

    page.get_by_role("button", name="Reset zoom", exact=True).click()
    wait_until(page, "chart.layout.xaxis.autorange")
    wait_for_growth(page)
    assert page.hosts == {"127.0.0.1"}


@pytest.mark.browser
def test_the_controls_change_the_curves(visit):
    page = visit(demo(labels=["one"], start=80, pace=0))
    before = page.evaluate(READ, "loss")
    raw = before["lines"][0]["raw"]
    assert before["faint"] == 1
    # The average as pandas computes it: Series(raw).ewm(alpha=0.4, adjust=True).mean(), here by its definition.
    weights = [0.6**age for age in range(10)]
    expected = sum(w * v for w, v in zip(weights, raw[9::-1], strict=True)) / sum(weights)
    assert before["lines"][0]["y"][9] == pytest.approx(expected)

    slider = page.get_by_label("Smoothing")
    slider.focus()
    slider.press("Home")  # the keyboard reaches it
    wait_until(page, "!chart.data.some(trace => trace.opacity === 0.25)")
    assert page.evaluate(READ, "loss")["lines"][0]["y"] == raw

    page.get_by_label("Log axis").check()
    wait_until(page, "chart.layout.yaxis.type === 'log'")
    page.get_by_label("Along").select_option("time")
    wait_until(page, "chart.layout.xaxis.title.text === 'minutes'")
    assert page.evaluate(READ, "loss")["lines"][0]["x"][-1] == pytest.approx(80 * 1.4 / 60)

    page.get_by_role("button", name="one", exact=True).click()
    wait_until(page, "!chart.data.some(trace => trace.name)")


@pytest.mark.browser
def test_labels_are_shown_as_text(visit):
    page = visit(demo(labels=[HOSTILE, "%{x} <b>bold</b> &lt;"], start=30, pace=0))
    assert page.locator(".live-plot-runs span").all_text_contents() == [HOSTILE, "%{x} <b>bold</b> &lt;"]
    box = page.locator('[data-chart="loss"]').bounding_box()
    page.mouse.move(box["x"] + 500, box["y"] + 100)
    page.wait_for_selector('[data-chart="loss"] .hoverlayer text')
    hover = page.locator('[data-chart="loss"] .hoverlayer').text_content()
    assert f"{HOSTILE}, training" in hover and "%{x} <b>bold</b> &lt;, training" in hover
    assert page.locator(".live-plot img").count() == 0 and page.dialogs == []


@pytest.mark.browser
def test_runs_differ_by_colour_and_dash_in_dark_and_light(visit):
    page = visit(demo(labels=["a", "b", "c", "d"], start=30, pace=0), theme="dark")
    lines = page.evaluate(READ, "loss")["lines"]
    looks = {line["name"]: (line["line"]["color"], line["line"]["dash"]) for line in lines}
    assert len({colour for colour, _ in looks.values()}) == len({dash for _, dash in looks.values()}) == 4
    assert page.locator(".live-plot-runs li").count() == 4
    dark = page.evaluate(READ, "loss")["layout"]["font"]["color"]
    page.evaluate("document.body.classList.remove('dark')")
    wait_until(page, f"chart.layout.font.color !== '{dark}'")


@pytest.mark.browser
def test_long_runs_are_thinned_but_keep_their_extremes(visit):
    page = visit(demo(labels=["long"], start=10_000, pace=0))
    page.get_by_label("Smoothing").press("Home")
    wait_until(page, "!chart.data.some(trace => trace.opacity === 0.25)")
    [line, _] = page.evaluate(READ, "loss")["lines"]
    assert len(line["x"]) <= 5_000 and line["x"][0] <= 10 and line["x"][-1] == 10_000
    page.evaluate("StudioPlotly.relayout(document.querySelector('[data-chart=loss]'), {'xaxis.range': [5000, 5100]})")
    wait_until(page, "chart.data.find(trace => trace.name).x.includes(5051)")
    [line, _] = page.evaluate(READ, "loss")["lines"]
    assert set(range(5000, 5101)) <= set(line["x"])  # closer by, every point


@pytest.mark.browser
def test_a_chart_in_an_unopened_tab_has_its_whole_history_when_opened(visit):
    inner = demo(labels=["tabbed"], start=40)
    with gr.Blocks(analytics_enabled=False) as blocks, gr.Tabs():
        with gr.Tab("Other"):
            gr.Markdown("elsewhere")
        with gr.Tab("Chart"):
            inner.render()
    page = visit(blocks, loaded=False)
    page.get_by_text("elsewhere").wait_for()
    page.wait_for_timeout(1700)  # some ticks must pass unseen; there is nothing on the page to wait for
    page.get_by_role("tab", name="Chart", exact=True).click()
    page.wait_for_function(GROWN, arg=["loss", 43])
    wait_until(page, "chart.data.find(trace => trace.name)?.x[0] === 1")
    wait_until(page, "chart.layout.width === chart.clientWidth && chart.clientWidth > 600")
    page.get_by_role("tab", name="Other", exact=True).click()
    page.set_viewport_size({"width": 800, "height": 760})
    page.get_by_role("tab", name="Chart", exact=True).click()
    wait_until(page, "chart.clientWidth > 0 && chart.clientWidth < 800 && chart.layout.width === chart.clientWidth")


@pytest.mark.browser
def test_payloads_fill_extend_and_replace_but_never_twice_and_nothing_jumps(visit):
    sent: list[dict] = []

    def on_send() -> dict:
        return sent.pop(0)

    with gr.Blocks(analytics_enabled=False) as blocks:
        chart = live_plot()
        gr.Button("Send").click(on_send, outputs=chart, queue=False)
    page = visit(blocks, loaded=False)

    def shows_once_sent(payload: dict, values: list[float]) -> bool:
        """Whether the line becomes that, and stays it: a payload that is refused leaves nothing to wait for."""
        sent.append(payload)
        with page.expect_response(lambda response: "/run/" in response.url or "/call/" in response.url):
            page.get_by_role("button", name="Send", exact=True).click()
        for _ in range(50):
            if line() == values:
                break
            page.wait_for_timeout(100)
        page.wait_for_timeout(150)
        return line() == values

    def line() -> list[float]:
        return (page.evaluate(READ, "loss")["lines"] or [{"raw": []}])[0]["raw"]

    empty = page.get_by_text("The curve starts with the first step.")
    empty.wait_for()
    height = page.locator(".live-plot").bounding_box()["height"]
    assert shows_once_sent(whole([loss([1, 2, 3], [3.0, 2.0, 1.0])]), [3.0, 2.0, 1.0])
    first = more([loss([4], [0.5])])
    assert shows_once_sent(first, [3.0, 2.0, 1.0, 0.5])
    assert shows_once_sent(more([loss([5], [0.4])]), [3.0, 2.0, 1.0, 0.5, 0.4])
    assert shows_once_sent(first, [3.0, 2.0, 1.0, 0.5, 0.4])
    assert shows_once_sent(more([loss([3, 4], [0.9, 0.8])]), [3.0, 2.0, 0.9, 0.8])  # resumed from step 2
    assert shows_once_sent(whole([loss([1], [7.0])]), [7.0])
    assert not empty.is_visible() and page.locator(".live-plot").bounding_box()["height"] == height
    assert page.get_by_role("img", name="Training chart. a: training loss").count() == 1
    assert shows_once_sent(whole([]), []) and empty.is_visible()


@pytest.mark.browser
def test_what_an_objective_watches_gets_a_chart_of_its_own(visit):
    def watched(metric: str, steps: list[int], values: list[float]) -> Series:
        return {**loss(steps, values), "metric": metric}

    told = [loss([1, 2], [0.7, 0.5]), watched("watched accuracy", [1, 2], [0.5, 0.75]), watched("held-out accuracy", [2], [0.8])]
    with gr.Blocks(analytics_enabled=False) as blocks:
        chart = live_plot()
        alone = gr.Button("alone")
        blocks.load(lambda: whole(told), outputs=chart, show_progress="hidden", queue=False)
        alone.click(lambda: whole(told[:1]), outputs=chart, show_progress="hidden", queue=False)
    page = visit(blocks)
    page.wait_for_function("document.querySelector('[data-chart=\"watched accuracy\"]')?.data?.length")
    training, held_out = page.evaluate(READ, "watched accuracy")["lines"]
    assert (training["raw"], held_out["y"], held_out["line"]["width"]) == ([0.5, 0.75], [0.8], 3)
    assert page.evaluate(READ, "loss")["layout"]["yaxis"]["title"]["text"] == "loss"  # no longer in nats per token
    assert page.locator("[data-chart]").count() == 5
    page.get_by_role("button", name="alone").click()
    page.wait_for_function("document.querySelectorAll('[data-chart]').length === 4")
    assert page.evaluate(READ, "loss")["layout"]["yaxis"]["title"]["text"] == "loss (nats per token)"


@pytest.mark.browser
def test_what_is_rewarded_has_the_large_chart_and_many_small_ones_stand_three_in_a_row(visit):
    """Eleven charts in one row cannot be read."""
    names = ["reward", "KL", "entropy", "clipped", "value error", "answer tokens", "KL coefficient"]
    told = [loss([1, 2], [0.7, 0.5]), *({**loss([1, 2], [0.1, 0.2]), "metric": f"watched {name}"} for name in names)]
    with gr.Blocks(analytics_enabled=False) as blocks:
        chart = live_plot()
        blocks.load(lambda: whole(told), outputs=chart, show_progress="hidden", queue=False)
    page = visit(blocks)
    page.wait_for_function("document.querySelector('[data-chart=\"watched reward\"]')?.data?.length")
    boxes = page.evaluate("[...document.querySelectorAll('[data-chart]')].map(node => [node.dataset.chart, node.clientWidth, node.className])")
    assert [name for name, _, kind in boxes if "live-plot-large" in kind] == ["watched reward"] == [boxes[0][0]]
    small = [width for _, width, kind in boxes if "live-plot-small" in kind]
    assert len(small) == 10 and min(small) > 0.28 * boxes[0][1]
