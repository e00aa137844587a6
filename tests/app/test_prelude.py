"""What the page does before Gradio's own script does anything, in a real browser."""

from collections.abc import Iterator

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.middleware import Middleware

from app.prelude import Prelude, name_in_address

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A page of three tabs, one of which counts how often it was looked at."""
    with gr.Blocks(analytics_enabled=False) as page:
        looks = gr.State({"Data": 0, "Train": 0, "Runs": 0})
        told = gr.Textbox("", label="Looked at")
        with gr.Tabs(selected="data", elem_id="tabs"):
            tabs = {name: gr.Tab(name, id=name.lower()) for name in ("Data", "Train", "Runs")}
            for name, tab in tabs.items():
                with tab:
                    gr.Textbox(label=f"In {name}")
                    with gr.Tabs():
                        gr.Tab("Inner", id=f"inner-{name.lower()}")
        for name, tab in tabs.items():
            tab.select(lambda seen, name=name: ({**seen, name: seen[name] + 1},) * 2, looks, [looks, told])
        name_in_address(list(tabs.values()))
    _, address, _ = page.launch(
        prevent_thread_lock=True, quiet=True, ssr_mode=False, enable_monitoring=False, app_kwargs={"middleware": [Middleware(Prelude)]},
    )
    yield address
    page.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with chromium.new_context() as context:
        yield context.new_page()


def in_view(page: Page) -> str:
    return page.locator("#tabs").get_by_role("tab", selected=True).first.inner_text()


def test_the_first_tab_opens_and_the_address_names_it(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_label("In Data")).to_be_visible()
    page.wait_for_url("**/#data")
    expect(page.get_by_label("Looked at")).to_have_value("{'Data': 1, 'Train': 0, 'Runs': 0}")


def test_the_tab_the_address_names_opens_and_no_other_is_looked_at(page: Page, url: str) -> None:
    page.goto(f"{url}#runs")
    expect(page.get_by_label("In Runs")).to_be_visible()
    expect(page.get_by_label("Looked at")).to_have_value("{'Data': 0, 'Train': 0, 'Runs': 1}")


def test_a_reload_leads_where_one_was(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("tab", name="Train").click()
    page.wait_for_url("**/#train")
    page.reload()
    expect(page.get_by_label("In Train")).to_be_visible()
    assert in_view(page) == "Train"


@pytest.mark.parametrize("named", ["nowhere", "%E4%BD", "tabs", "__proto__", "inner-runs"])
def test_an_address_that_names_no_tab_opens_the_first(page: Page, url: str, named: str) -> None:
    faults: list[str] = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.goto(f"{url}#{named}")
    expect(page.get_by_label("In Data")).to_be_visible()
    assert in_view(page) == "Data" and not faults


def test_events_are_not_watched(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_label("In Data")).to_be_visible()
    kinds = page.evaluate("window.gradio_config.dependencies.map(event => event.constructor.name)")
    assert set(kinds) == {"Unwatched"} and page.evaluate("Array.isArray(window.gradio_config.dependencies)")


def test_a_page_at_rest_is_not_drawn_anew(page: Page, url: str) -> None:
    page.add_init_script("window.drawn = 0; const ask = requestAnimationFrame; window.requestAnimationFrame = (draw) => { window.drawn += 1; return ask(draw); };")
    page.goto(url)
    expect(page.get_by_label("In Data")).to_be_visible()
    page.wait_for_timeout(5_000)  # whatever moves while it opens has come to rest
    before = page.evaluate("window.drawn")
    page.wait_for_timeout(1_000)
    assert page.evaluate("window.drawn") - before <= 5  # sixty where Gradio goes on counting the seconds of its own loading
