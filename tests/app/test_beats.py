"""Which timers tick while a tab is looked at."""

import gradio as gr

from app.beats import beat_in_view


def page_of_two() -> tuple[gr.Blocks, dict[str, gr.Timer]]:
    with gr.Blocks() as page:
        timers = {"header": gr.Timer(2.0)}
        with gr.Tabs():
            with gr.Tab("Data") as data, gr.Column():
                timers["data"] = gr.Timer(1.0)
            with gr.Tab("Runs") as runs, gr.Column(), gr.Row():
                timers |= {"runs": gr.Timer(1.0), "on demand": gr.Timer(1.0, active=False)}
        beat_in_view(page, [data, runs])
    return page, timers


def test_at_first_the_first_tab_ticks_and_what_stands_outside_the_tabs() -> None:
    _, timers = page_of_two()
    assert {name: timer.active for name, timer in timers.items()} == {"header": True, "data": True, "runs": False, "on demand": False}


def test_coming_to_a_tab_starts_its_timers_and_stops_the_others() -> None:
    page, timers = page_of_two()
    _, come_to_runs = page.fns.values()
    assert come_to_runs.outputs == [timers["data"], timers["runs"]]
    assert [timer.active for timer in come_to_runs.fn()] == [False, True]
