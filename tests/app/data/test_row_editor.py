"""The row editor in a real browser, over a real draft: what is typed is kept, found again and never fought over silently."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import pytest

from app.data.row_requests import answer
from backend.data.drafts import Draft, Drafts, conversation
from backend.data.guidelines import Guidelines
from backend.store import Store
from components.row_editor import ROW_EDITOR_CSS, opened, row_editor

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

HOSTILE = "<img src=x onerror=alert(1)>${alert(2)}{{alert(3)}}</textarea><script>alert(4)</script>"
PASTE = """([node, text]) => {
  const data = new DataTransfer();
  data.setData('text/plain', text);
  node.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}));
}"""


@pytest.fixture
def drafts(tmp_path: Path) -> Iterator[Drafts]:
    store = Store(tmp_path / "studio.db")
    yield Drafts(store)
    store.close()


@pytest.fixture
def cats(drafts: Drafts) -> Draft:
    return drafts.begin("Cats", "messages", author="Ada")


AGED = """Object.entries(localStorage).filter(([name]) => name.startsWith('studio-unsaved '))
  .forEach(([name, kept]) => localStorage.setItem(name, JSON.stringify({...JSON.parse(kept), at: 0})))"""

Visit = Callable[..., "Page"]


@pytest.fixture
def done() -> list[dict[str, Any]]:
    """What pages have asked for and got."""
    return []


@pytest.fixture
def visit(chromium: Any, drafts: Drafts, cats: Draft, done: list[dict[str, Any]]) -> Iterator[Visit]:
    """Opens the draft on a page of its own; every page shares one browser session. Fails where a page had a fault."""

    def answered(asked: dict[str, Any]) -> dict[str, Any]:
        given = answer(drafts, asked)
        if "problems" not in given:
            done.append(asked)
        return given

    with gr.Blocks(analytics_enabled=False) as blocks:
        editor = row_editor(answered, guidelines=Guidelines, elem_id="rows")
        saved = gr.Textbox(elem_id="asked-to-save")
        gr.on([blocks.load, gr.Button("Again", elem_id="again").click], lambda: opened(cats.id), outputs=editor)
        editor.submit(lambda value: f"leave out: {value['leave_out']}", editor, saved)
        editor.described(lambda: None)
    _, url, _ = blocks.launch(css_paths=[ROW_EDITOR_CSS], server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
    context: BrowserContext = chromium.new_context(viewport={"width": 900, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    faults: list[str] = []

    def open_page() -> "Page":
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.goto(url)
        page.wait_for_selector(".row-editor-pager, .row-card, .row-editor .empty:not([hidden])", state="attached")
        page.wait_for_function("document.querySelector('[data-part=undo]').title !== 'Ctrl+Z outside of a text'")
        return page

    yield open_page
    context.close()
    blocks.close(verbose=False)
    assert faults == []


def said(drafts: Drafts, cats: Draft) -> list[tuple[str, ...]]:
    """What the rows say, as the studio has them."""
    return [tuple(turn["content"] for turn in row.record["messages"]) for row in drafts.look(cats.id).rows]


def is_saved(page: "Page") -> None:
    page.wait_for_function("document.querySelector('[data-part=saved]').textContent === 'saved'")


def has_rows(page: "Page", count: int) -> None:
    page.wait_for_function("count => document.querySelectorAll('.row-card').length === count", arg=count)


def paste(page: "Page", selector: str, text: str) -> None:
    page.evaluate(PASTE, [page.query_selector(selector), text])


@pytest.mark.browser
def test_rows_are_written_by_keyboard_alone(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    page = visit()
    page.locator("[data-part=add]").press("Enter")
    for number in (1, 2, 3):
        has_rows(page, number)
        page.wait_for_function("document.activeElement.placeholder === 'What is asked' && document.activeElement.value === ''")
        page.keyboard.type(f"question {number}")
        page.keyboard.press("Tab")
        page.keyboard.type(f"answer {number}")
        if number < 3:
            page.keyboard.press("Control+Enter")
    is_saved(page)
    assert said(drafts, cats) == [(f"question {number}", f"answer {number}") for number in (1, 2, 3)]


def saved_text(asked: dict[str, Any]) -> str:
    """What a page had saved: a first turn, a name or a purpose."""
    if asked["do"] == "edit":
        return asked["record"]["messages"][0]["content"]
    return asked.get("name") or asked.get("guidelines", {}).get("purpose", "")


@pytest.mark.browser
def test_who_types_without_a_pause_is_saved_all_the_while(visit: Visit, drafts: Drafts, cats: Draft, done: list[dict[str, Any]]) -> None:
    drafts.add(cats.id, conversation("", "old"))
    page = visit()
    words = "a b c d e f g h i j k l m n o"
    kept = {
        ".row-turn-user textarea": lambda: said(drafts, cats)[0][0],
        "[data-guideline=purpose]": lambda: drafts.get(cats.id).guidelines.get("purpose", ""),
        "[data-part=name]": lambda: drafts.get(cats.id).name,
    }
    for field, in_the_studio in kept.items():
        page.locator(field).fill("")
        done.clear()
        page.locator(field).press_sequentially(words, delay=80)  # 2.3 seconds
        is_saved(page)
        before_the_last_key = {text for text in map(saved_text, done) if text and len(text) < len(words) and words.startswith(text)}
        assert len(before_the_last_key) >= 2
        assert page.locator(field).input_value() == in_the_studio() == words


@pytest.mark.browser
def test_rows_are_shown_as_text_and_line_ends_stay_as_they_came(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    drafts.add(cats.id, conversation(f"{HOSTILE}\r\nnext", "old"))
    drafts.tag(cats.id, [1], HOSTILE[:50])
    page = visit()
    assert page.locator(".row-turn-user textarea").input_value() == f"{HOSTILE}\nnext"
    page.locator(".row-turn-assistant textarea").fill("new")
    is_saved(page)
    assert said(drafts, cats) == [(f"{HOSTILE}\r\nnext", "new")]


@pytest.mark.browser
def test_a_page_drawn_anew_leaves_caret_and_half_typed_text(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    first, _ = drafts.add_all(cats.id, [conversation("one", ""), conversation("two", "")])
    page = visit()
    page.locator(".row-turn-user textarea").nth(1).click()
    page.keyboard.press("Home")
    page.keyboard.type("half ")
    drafts.move(cats.id, first, to=2)
    page.evaluate("document.querySelector('#again').click()")  # the keyboard stays where it is
    page.keyboard.type("typed ", delay=50)
    page.wait_for_function("document.querySelector('.row-card textarea').value === 'half typed two'")
    is_saved(page)
    assert said(drafts, cats) == [("half typed two", ""), ("one", "")]


@pytest.mark.browser
def test_two_pages_on_one_row_tell_and_keep_both_texts(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    drafts.add(cats.id, conversation("q", "old"))
    mine, theirs = visit(), visit()
    theirs.locator(".row-turn-assistant textarea").fill("theirs")
    is_saved(theirs)
    mine.locator(".row-turn-assistant textarea").fill("mine")
    mine.get_by_text("This row was changed elsewhere").wait_for()
    assert "theirs" in mine.locator(".row-card blockquote").inner_text()
    assert said(drafts, cats) == [("q", "theirs")]
    mine.get_by_role("button", name="Keep mine").click()
    is_saved(mine)
    assert said(drafts, cats) == [("q", "mine")]


@pytest.mark.browser
def test_what_is_typed_while_the_studio_is_away_is_saved_when_it_is_back(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    drafts.add(cats.id, conversation("q", "old"))
    page = visit()
    page.context.set_offline(True)
    page.locator(".row-turn-assistant textarea").fill("typed offline")
    page.get_by_text("not saved yet").wait_for()
    page.context.set_offline(False)
    is_saved(page)
    assert said(drafts, cats) == [("q", "typed offline")]


@pytest.mark.browser
def test_a_page_closed_before_its_text_was_saved_hands_it_to_the_next(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    drafts.add(cats.id, conversation("q", "old"))
    page = visit()
    context = page.context
    context.set_offline(True)
    page.locator(".row-turn-assistant textarea").fill("typed and closed")
    page.get_by_text("not saved yet").wait_for()
    page.evaluate(AGED)  # what was typed a moment ago may be another window's, which will send it itself
    page.close()
    context.set_offline(False)
    later = visit()
    later.wait_for_function("document.querySelector('.row-turn-assistant textarea').value === 'typed and closed'", timeout=10_000)
    assert said(drafts, cats) == [("q", "typed and closed")]


@pytest.mark.browser
def test_cells_pasted_onto_the_list_are_previewed_and_added(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    drafts.add(cats.id, conversation("q", "a"))
    page = visit()
    paste(page, ".row-editor-rows", 'Question\tAnswer\n1\t"one\nand a half"\n2\ttwo\n')
    page.get_by_text(re.compile(r"2 rows will be added: user, assistant\. The first row names the columns")).wait_for()
    page.get_by_role("button", name="Add 2 rows").click()
    has_rows(page, 3)
    assert said(drafts, cats) == [("q", "a"), ("1", "one\nand a half"), ("2", "two")]


@pytest.mark.browser
def test_cells_pasted_into_a_field_can_be_put_there_as_text(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    drafts.add(cats.id, conversation("q", ""))
    page = visit()
    page.locator(".row-turn-assistant textarea").click()
    paste(page, ".row-turn-assistant textarea", "a\tb")
    page.get_by_role("button", name="Put it into the field as text").click()
    page.wait_for_function("document.querySelector('.row-turn-assistant textarea').value === 'a\\tb'")
    is_saved(page)
    assert said(drafts, cats) == [("q", "a\tb")]


@pytest.mark.browser
def test_ticked_rows_are_deleted_and_brought_back_by_keys(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    drafts.add_all(cats.id, [conversation(str(number), "x") for number in range(30)])
    page = visit()
    page.get_by_label("All on this page").check()
    page.get_by_role("button", name="Tick all 30 found").click()
    page.get_by_text("30 rows ticked").wait_for()
    page.locator("[data-part=many-delete]").click()
    has_rows(page, 0)
    page.get_by_text("No rows yet").wait_for()
    page.keyboard.press("Control+z")
    has_rows(page, 25)
    page.keyboard.press("Control+Shift+z")
    has_rows(page, 0)


@pytest.mark.browser
def test_saving_names_unfinished_rows_and_asks_for_consent(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    drafts.add_all(cats.id, [conversation(str(number), "x") for number in range(40)])
    drafts.add(cats.id, conversation("last", ""))
    page = visit()
    page.get_by_role("button", name="Save version").click()
    page.get_by_text("1 row of 41 cannot be learnt from yet").wait_for()
    page.get_by_role("button", name="Row 41", exact=True).click()
    page.wait_for_function("document.activeElement.value === 'last'")
    page.get_by_role("button", name="Leave out 1 row and save").click()
    page.wait_for_function("document.querySelector('#asked-to-save textarea, #asked-to-save input').value === 'leave out: True'")


@pytest.mark.browser
def test_a_row_tagged_on_this_page_can_be_written_on_without_a_clash(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    drafts.add(cats.id, conversation("q", "a"))
    page = visit()
    page.get_by_label("add a tag to row 1").fill("easy")
    page.keyboard.press("Enter")
    page.locator(".row-card-chip", has_text="easy").wait_for()
    page.locator(".row-turn-assistant textarea").fill("b")
    is_saved(page)
    assert said(drafts, cats) == [("q", "b")] and drafts.look(cats.id).tags == {"easy": 1}
    page.locator(".row-card-chip", has_text="easy").click()
    page.locator(".row-card-chip").wait_for(state="detached")
    assert drafts.look(cats.id).tags == {}


@pytest.mark.browser
def test_turns_and_a_system_prompt_come_and_go(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    drafts.add(cats.id, conversation("q", "a"))
    page = visit()
    page.get_by_role("button", name="Add a turn").click()
    page.keyboard.type("more?")
    page.keyboard.press("Tab")
    page.keyboard.type("more.")
    page.get_by_role("button", name="Add a system prompt").click()
    page.keyboard.type("Be brief.")
    is_saved(page)
    assert said(drafts, cats) == [("Be brief.", "q", "a", "more?", "more.")]
    page.get_by_role("button", name="Remove the last turn").click()
    page.get_by_role("button", name="Remove the system prompt").click()
    page.get_by_role("button", name="Add a system prompt").wait_for()
    is_saved(page)
    assert said(drafts, cats) == [("q", "a")]


@pytest.mark.browser
def test_guidelines_are_kept_however_they_are_put_in_and_undone(visit: Visit, drafts: Drafts, cats: Draft) -> None:
    page = visit()
    field = page.locator("[data-guideline=purpose]")
    field.click()
    page.keyboard.insert_text("pasted by mouse")  # no key is pressed
    is_described(page, "write guidelines")
    assert drafts.get(cats.id).guidelines == {"purpose": "pasted by mouse"}
    page.locator("[data-part=name]").fill("Dogs")
    is_described(page, "rename")
    page.locator("[data-part=undo]").click()
    page.locator("[data-part=undo]").click()
    page.wait_for_function("document.querySelector('[data-guideline=purpose]').value === ''")
    assert (page.locator("[data-part=name]").input_value(), drafts.get(cats.id).name, drafts.get(cats.id).guidelines) == ("Cats", "Cats", {})


def is_described(page: "Page", label: str) -> None:
    page.wait_for_function("label => document.querySelector('[data-part=undo]').title === `Undo: ${label}`", arg=label)
