"""Twenty pairs by keyboard, two taken back, a reload, a studio killed right after a vote: everything there exactly once.

And two people at once, blind, who never get the same item. Prints how long the next item takes with `-s`.
"""

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from backend.labelling.items import Candidate, Item, Labels, Said
from backend.store import Store
from tests.conftest import make_workspace
from tests.journeys.conftest import Studio, ask_both, end, engine_is_ready, fill, picture, start_studio, to_tab, train

pytestmark = pytest.mark.browser
MAKERS = ("base-of-the-lake", "tuned-by-the-lake")
# the time from a key to the next item, taken where the item changes
CLOCK = """() => {
  window.took = [];
  let pressed = 0;
  document.addEventListener('keydown', () => { pressed = performance.now(); }, true);
  new MutationObserver(() => { if (pressed) { took.push(performance.now() - pressed); pressed = 0; } })
    .observe(document.querySelector('[data-part="answers"]'), {childList: true});
}"""


def batch_of(labels: Labels, name: str, count: int) -> str:
    items = [
        Item([{"role": "user", "content": f"What does a cat do at {number} o'clock?"}],
             [Candidate([{"role": "assistant", "content": f"{words} at {number}."}], {"speaker": f"run:{maker}", "name": maker, "adapter": maker})
              for words, maker in zip(("It sleeps on the sofa", "It looks out of the window"), MAKERS, strict=True)])
        for number in range(count)
    ]  # fmt: skip
    return labels.begin(name, items, guidelines="Prefer the answer with a verb of rest.", source={"from": "candidates", "models": MAKERS}).id


def come(chromium: Browser, studio: Studio, *, name: str, batch: str, dark: bool = False) -> Page:
    """Somebody at the Label tab, in a browser session of their own."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme="dark" if dark else "light", reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(studio.url)
    engine_is_ready(page)
    to_tab(page, "Label")
    page.locator("#label-annotator").get_by_role("textbox").fill(name)
    page.keyboard.press("Enter")
    if batch not in page.locator("#label-batch input").input_value():
        page.locator("#label-batch input").click()
        page.get_by_role("option", name=batch).click()
    expect(part(page, "who")).to_have_text(f"· as {name}", timeout=30_000)
    expect(part(page, "progress")).to_contain_text("done")
    return page


def part(page: Page, name: str) -> Any:
    return page.locator(f'#pair-labeller [data-part="{name}"]')


def done(page: Page, count: int) -> None:
    expect(part(page, "progress")).to_contain_text(f"{count} of", timeout=15_000)


def press(page: Page, key: str, *, then: int) -> None:
    page.keyboard.press(key)
    done(page, then)


def the_restful_one(page: Page) -> str:
    """The key of the answer that sleeps, on whichever side it is."""
    return "1" if "sleeps" in part(page, "answers").locator(".labeller-text").first.inner_text() else "2"


@pytest.mark.fault("the process is killed after a vote")
def test_twenty_pairs_by_keyboard_outlive_undo_reload_and_a_killed_studio(tmp_path: Path, tiny_model: Path, chromium: Browser) -> None:
    workspace = make_workspace(tmp_path / "workspace", tiny_model)
    labels = Labels(Store.of(workspace))
    batch = batch_of(labels, "cats by the hour", 30)
    studio = start_studio(workspace.root)
    try:
        label_twenty(come(chromium, studio, name="ada", batch="cats by the hour"))
    finally:
        studio.process.kill()  # as soon as the page shows the next item
        studio.process.wait(timeout=30)
    studio = start_studio(workspace.root)
    try:
        page = come(chromium, studio, name="ada", batch="cats by the hour")
        done(page, 20)
        each_exactly_once(labels.votes(batch, undone=True))
        take_away(page, "what ada prefers")
        learn(page, "what ada prefers", "a reward model", name="judge")
        expect(page.locator("#continue-run")).to_have_text("Align with it (PPO)")
        learn(page, "what ada prefers", "preferences (DPO)", name="aligned")
        page.locator("#chat-with-run").click()
        ask_both(page, "What does a cat do at 7 o'clock?")
        picture(page, "aligned-chat")
        page.context.close()
    finally:
        end(studio)


def take_away(page: Page, name: str) -> None:
    """The votes as a data set of this studio."""
    page.get_by_role("tab", name="Take away", exact=True).last.click()
    expect(page.locator("#label-take-fit")).to_contain_text("20", timeout=30_000)
    fill(page, "label-take-name", name)
    expect(page.locator("#label-take-make")).to_be_enabled(timeout=30_000)
    page.locator("#label-take-make").click()
    expect(page.locator("#label-take-result")).to_contain_text(name, timeout=60_000)
    picture(page, "label-take")


def learn(page: Page, data: str, objective: str, *, name: str) -> None:
    """A short run on a data set towards an objective."""
    to_tab(page, "Train")
    if page.locator("#another-run").is_visible():
        page.locator("#another-run").click()
    for picker, wanted in (("#pick-data", data), ("#pick-objective", objective)):
        page.locator(f"{picker} input").click()
        page.get_by_role("option", name=wanted).first.click()
    train(page, "LoRA", steps=3, name=name)


def label_twenty(page: Page) -> None:
    """Nineteen, two taken back, a reload, three more."""
    page.evaluate(CLOCK)
    for count in range(1, 20):
        press(page, the_restful_one(page), then=count)
    picture(page, "label")
    print(f"from a key to the next item: {median(page.evaluate('took')):.0f} ms")
    press(page, "u", then=18)
    press(page, "u", then=17)
    shown = part(page, "prompt").inner_text()
    page.reload()
    to_tab(page, "Label")
    expect(part(page, "who")).to_have_text("· as ada", timeout=30_000)  # the browser knows the name
    done(page, 17)
    expect(part(page, "prompt")).to_have_text(shown)  # the lease knows whom it was shown to
    for count in (18, 19, 20):
        press(page, the_restful_one(page), then=count)


def each_exactly_once(votes: list[Said]) -> None:
    standing = [vote for vote in votes if not vote.undone]
    assert len(standing) == 20 and len(votes) == 22
    assert len({(vote.item, vote.repeat) for vote in standing}) == 20
    assert {tuple(vote.ranks) for vote in standing} == {(1, 2)}  # the one that sleeps, whatever side it stood on
    assert {tuple(vote.shown) for vote in standing} == {(0, 1), (1, 0)}


def test_two_people_at_once_are_blind_and_never_get_the_same_item(studio: Studio, chromium: Browser) -> None:
    labels = Labels(Store.of(_workspace(studio)))
    batch = batch_of(labels, "cats for two", 9)
    ada = come(chromium, studio, name="ada", batch="cats for two")
    answers: list[str] = []
    ada.on("response", lambda response: answers.append(response.text()) if "component_server" in response.url else None)
    bob = come(chromium, studio, name="bob", batch="cats for two", dark=True)
    for page in (ada, bob):
        nothing_serious_stands_in_the_way(page)
    for count in range(1, 5):
        assert part(ada, "prompt").inner_text() != part(bob, "prompt").inner_text()
        press(ada, the_restful_one(ada), then=count)
        press(bob, "3", then=count)
    press(ada, "1", then=5)
    expect(part(ada, "done-words")).to_contain_text("You have seen all there is for you: 5 done")
    assert not any(maker in answer for maker in MAKERS for answer in answers)
    labelled = [answer for answer in map(json.loads, answers) if "item" in answer]  # the others are the header's
    assert len(labelled) >= 5  # a busy page may ask for the same one again
    assert {key for answer in labelled for key in (answer["item"] or {})} == {"number", "prompt", "answers"}
    assert not any(maker in ada.content() for maker in MAKERS)
    votes = labels.votes(batch)
    assert sorted(vote.item for vote in votes) == list(range(9))
    assert [sum(vote.annotator == name for vote in votes) for name in ("ada", "bob")] == [5, 4]
    for page in (ada, bob):
        page.context.close()


def nothing_serious_stands_in_the_way(page: Page) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def _workspace(studio: Studio) -> Any:
    from backend.workspace import Workspace

    return Workspace(studio.workspace)
