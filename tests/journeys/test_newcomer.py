"""A newcomer's path, clicks only: data, method, start, the curve, both models side by side; for all six methods."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from backend.data.starter import keeps_three_lines
from tests.journeys.conftest import (
    Studio,
    ask_both,
    end,
    engine_is_ready,
    fill,
    picture,
    points,
    start_studio,
    to_tab,
    train,
    unfold,
)

pytestmark = pytest.mark.browser
SLOW = pytest.mark.skipif(os.environ.get("STUDIO_SLOW") != "1", reason="the other methods stand for it; STUDIO_SLOW=1 clicks through all six")
METHODS = ("LoRA", "Prompt", *(pytest.param(name, marks=SLOW) for name in ("Full", "QLoRA", "Prefix", "Adapter")))


def test_the_page_answers_within_six_seconds_and_tells_that_the_engine_gets_ready(studio, visit, tmp_path):
    page = visit()
    expect(page.locator("#studio-header [role=status]")).not_to_be_empty()
    assert quickest_start(studio, tmp_path) < 6


def quickest_start(studio: Studio, folder: Path) -> float:
    """Seconds until the page answers; the best of up to three starts, as other work on the machine may fall on one."""
    seconds = [studio.seconds_to_page]
    while min(seconds) >= 6 and len(seconds) < 3:
        another = start_studio(folder / f"start-{len(seconds)}")
        seconds.append(another.seconds_to_page)
        end(another)
    print(f"page answered after {', '.join(f'{each:.1f}' for each in seconds)} s")
    return min(seconds)


def test_the_starter_data_is_there_and_seen_as_the_model_sees_it(visit):
    page = visit()
    engine_is_ready(page)
    expect(page.locator("#data-heading")).to_contain_text("three lines")
    expect(page.locator("#data-rows")).to_contain_text("In short:")
    picture(page, "data")
    page.get_by_role("tab", name="As the model sees it").click()
    expect(page.locator("#data-row-words")).to_contain_text("trained", timeout=60_000)
    expect(page.locator("#data-tokens")).to_contain_text("In")
    picture(page, "tokens")
    page.get_by_role("tab", name="Lengths").click()
    expect(page.locator("#data-lengths .js-plotly-plot").first).to_be_visible(timeout=60_000)
    picture(page, "lengths")


@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_by_clicks_and_answers_beside_the_base(visit, method):
    page = visit()
    engine_is_ready(page)
    train(page, method, steps=3, name=f"journey {method}")
    assert points(page, "train-plot") >= 3
    expect(page.locator("#probes")).to_contain_text("base model")
    page.locator("#chat-with-run").click()
    ask_both(page, "Why is the sky blue?")


@pytest.mark.skipif(os.environ.get("STUDIO_SLOW") != "1", reason="takes four minutes; STUDIO_SLOW=1 runs it and makes the README's pictures")
def test_the_default_run_teaches_the_three_lines(visit):
    page = visit()
    engine_is_ready(page)
    to_tab(page, "Train")
    expect(page.locator("#start-run")).to_be_enabled(timeout=60_000)
    picture(page, "train")
    page.locator("#start-run").click()
    page.wait_for_function("document.querySelector('#probes')?.innerText.includes('In short:')", timeout=300_000)
    picture(page, "train-running")
    expect(page.locator("#run-progress .status")).to_have_text("done", timeout=300_000)
    page.locator("#chat-with-run").click()
    fill(page, "chat-prompt", "How do I keep basil alive in my kitchen?")
    page.locator("#chat-send").click()
    answer = page.locator("#chat-right .conversation-answer").last
    expect(page.locator("#chat-left")).to_contain_text("first after", timeout=120_000)
    expect(page.locator("#chat-right .conversation-line").last).to_contain_text("finished", timeout=120_000)
    assert keeps_three_lines(answer.inner_text())
    picture(page, "chat")


@pytest.mark.fault("a browser closed or reloaded")
def test_a_run_is_watched_stopped_reloaded_and_resumed(visit, studio):
    page = visit()
    engine_is_ready(page)
    to_tab(page, "Train")
    unfold(page, "Training settings", "training-max_steps")
    fill(page, "training-batch_size", "2")
    fill(page, "training-max_steps", "180")
    fill(page, "run-name", "to be stopped")
    expect(page.locator("#plan")).to_contain_text("180, that is", timeout=60_000)
    page.locator("#start-run").click()
    page.wait_for_function(
        "document.querySelector('#train-plot [data-chart=loss]')?.data?.some(trace => trace.name && trace.x.length >= 2)",
        timeout=180_000,
    )
    second = visit()  # a second tab, and a reload: both show the whole curve
    to_tab(second, "Train")
    second.wait_for_function(
        "document.querySelector('#train-plot [data-chart=loss]')?.data?.some(trace => trace.name && trace.x.length >= 2)"
    )
    page.reload()  # the tab one was at opens by itself
    page.wait_for_function(
        "document.querySelector('#train-plot [data-chart=loss]')?.data?.some(trace => trace.name && trace.x[0] === 1 && trace.x.length >= 2)"
    )
    page.get_by_role("button", name="Ask it as it is now").click()
    ask_both(page, "Why is the sky blue?")
    expect(page.locator("#chat-right")).to_contain_text("at step")
    picture(page, "chat-live")
    to_tab(page, "Train")
    page.locator("#stop-run").click()
    expect(page.locator("#run-progress .status")).to_have_text("stopped", timeout=120_000)

    to_tab(page, "Runs")
    page.locator("#run-table button", has_text="to be stopped").click()
    expect(page.locator("#runs-resume")).to_be_visible()
    page.locator("#runs-resume").click()
    expect(page.locator("#run-detail .status").first).to_have_text("training", timeout=60_000)
    page.locator("#runs-stop").click()
    expect(page.locator("#run-detail .status").first).to_have_text("stopped", timeout=120_000)


def test_runs_are_compared_renamed_and_deleted(visit):
    page = visit()
    engine_is_ready(page)
    to_tab(page, "Runs")
    page.locator("#run-table button", has_text="journey LoRA").click()
    page.get_by_label("compare journey Prompt").check()
    expect(page.locator("#runs-plot .live-plot-runs li")).to_have_count(2)
    picture(page, "runs")
    page.get_by_role("tab", name="Settings", exact=True).click()
    expect(page.locator("#run-settings")).to_contain_text("method.virtual_tokens")
    page.get_by_role("tab", name="Log", exact=True).click()
    expect(page.locator("#run-log")).to_contain_text("held-out loss")
    page.get_by_role("tab", name="Name and note").click()
    expect(page.locator("#runs-name input, #runs-name textarea").first).to_have_value("journey LoRA")  # Gradio has filled it
    fill(page, "runs-name", "renamed by hand")
    page.locator("#runs-relabel").click()
    expect(page.locator("#run-table")).to_contain_text("renamed by hand")
    page.locator("#runs-duplicate").click()
    expect(page.locator("#run-name input, #run-name textarea").first).to_have_value("journey LoRA again")
    to_tab(page, "Runs")
    page.locator("#runs-delete").click()
    page.locator("#runs-really-delete").click()
    expect(page.locator("#run-table")).not_to_contain_text("renamed by hand")
