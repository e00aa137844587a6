"""From a labelled table to a run that learns it in a mixture; and a file with faults, mended, undone, taken away, brought back."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.journeys.conftest import engine_is_ready, fill, picture, train

pytestmark = pytest.mark.browser
PRAISE = ("The soup was warm and rich", "We laughed all evening", "A quiet room with a fine view", "The staff knew every answer")
BLAME = ("The soup was cold and thin", "We waited all evening", "A loud room above the bins", "The staff knew no answer")
DAYS = ("on Monday", "on Friday", "on my birthday")
BROKEN, COPY = 5, 9  # rows of the file: the one that is no JSON, and the one that is there twice


def test_a_labelled_table_becomes_instructions_is_mixed_and_learnt(visit) -> None:
    page = visit()
    engine_is_ready(page)
    rows_from_a_table(page)
    mix_with_starter_and_general_rows(page)
    learn_the_mixture(page)


def test_a_file_with_faults_is_imported_mended_undone_taken_away_and_known_again(visit, tmp_path: Path) -> None:
    page = visit()
    engine_is_ready(page)
    import_without_the_broken_row(page)
    mend_the_copy(page)
    see_what_changed(page, before=1, after=2, said="1 row removed.")
    undo_the_mend(page)
    see_what_changed(page, before=2, after=3, said="1 row added.")
    file = take_away(page, tmp_path)
    assert [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] == [
        question(number) for number in range(1, 12) if number != BROKEN
    ]
    import_again(page, file)


# ---- the table, and the mixture --------------------------------------------------------------------------------------


def labelled_table() -> FilePayload:
    """24 rows `text,label`: 1 is praise, 0 is blame."""
    lines = [f"{text} {day}.,{label}" for day in DAYS for pair in zip(PRAISE, BLAME, strict=True) for text, label in zip(pair, "10", strict=True)]
    return FilePayload(name="reviews.csv", mimeType="text/csv", buffer="\n".join(["text,label", *lines]).encode())


def rows_from_a_table(page: Page) -> None:
    """The table's task is found; its labels get names; its first row is shown as it will be saved."""
    page.locator("#data-table").click()
    page.locator("#table-file input[type=file]").set_input_files(labelled_table())
    expect(page.locator("#table-set input")).to_have_value(re.compile("sentiment", re.IGNORECASE), timeout=60_000)
    expect(page.locator("#table-labels input")).to_have_count(2)
    expect(page.get_by_label("name of the label 0")).to_have_value("negative")
    page.get_by_label("name of the label 1").fill("delighted")
    shown = page.locator("#template-preview")
    expect(shown).to_contain_text("The soup was warm and rich on Monday.")
    expect(shown.locator("dd").last).to_have_text("delighted")
    expect(page.locator("#table-counts")).to_contain_text("24 rows will be made of 24 rows of the table")
    expect(page.locator("#table-name textarea, #table-name input")).to_have_value("reviews")
    fill(page, "table-name", "Reviews")
    picture(page, "workshop-table")
    saved(page, "#table-save")
    expect(page.locator("#data-heading")).to_contain_text("Reviews")
    expect(page.locator("#data-heading")).to_contain_text("24 rows")
    expect(page.locator("#data-rows")).to_contain_text("delighted")


def mix_with_starter_and_general_rows(page: Page) -> None:
    """Three parts in one, their shares seen before saving."""
    page.locator("#data-mix").click()
    expect(page.locator("#mix-parts .mix-part")).to_have_count(1)
    page.locator("#mix-add input").click()
    page.get_by_role("option", name=re.compile("^three lines")).click()
    expect(page.locator("#mix-parts .mix-part")).to_have_count(2)
    page.locator("#mix-replay").click()
    expect(page.locator("#mix-parts .mix-part")).to_have_count(3)
    lines = page.locator("#mix-outcome tbody tr")
    expect(lines).to_have_count(3)
    expect(page.locator("#mix-outcome")).to_contain_text("tokens", timeout=60_000)
    expect(lines.locator(".mix-bar")).to_have_count(6, timeout=60_000)  # of rows and of tokens, for each part
    for column in (2, 3):
        assert sum(per_cents(lines, column)) == pytest.approx(100, abs=2)  # each is rounded
    assert per_cents(lines, 2)[2] == pytest.approx(5, abs=0.5)
    fill(page, "mix-name", "Reviews and three lines")
    picture(page, "workshop-mix")
    saved(page, "#mix-save")
    expect(page.locator("#data-heading")).to_contain_text("Reviews and three lines")


def learn_the_mixture(page: Page) -> None:
    """Two short steps; few rows are held out, so that few answers are waited for."""
    page.locator("#data-train").click()
    expect(page.locator("#pick-data input")).to_have_value(re.compile("Reviews and three lines"))
    train(page, "LoRA", steps=2, name="learns a mixture")
    picture(page, "workshop-run")


def per_cents(lines: Locator, column: int) -> list[float]:
    """The shares in a column of the table of what comes of a mixture."""
    return [float(text.removesuffix("%").strip()) for text in lines.locator(f"td:nth-child({column + 1})").all_inner_texts()]


def saved(page: Page, button: str) -> None:
    """Press Save, and wait until what was saved is looked at."""
    expect(page.locator(button)).to_be_enabled(timeout=60_000)
    page.locator(button).click()
    expect(page.locator(button)).to_be_hidden(timeout=60_000)


# ---- the file with faults --------------------------------------------------------------------------------------------


def question(number: int) -> dict[str, list[dict[str, str]]]:
    """A row of the file. The one that is there twice stands as the last one again."""
    number = COPY if number == 11 else number
    said = {"user": f"What is {number} times seven?", "assistant": f"{number} times seven is {7 * number}."}
    return {"messages": [{"role": role, "content": content} for role, content in said.items()]}


def file_with_faults() -> FilePayload:
    """Eleven rows; row 5 breaks off, and row 11 says what row 9 said."""
    lines = [json.dumps(question(number)) for number in range(1, 12)]
    lines[BROKEN - 1] = '{"messages": [{"role": "user", "con'
    return FilePayload(name="times_seven.jsonl", mimeType="application/jsonl", buffer="\n".join(lines).encode())


def import_without_the_broken_row(page: Page) -> None:
    """The broken row is listed by its number, and left out only because somebody agreed."""
    page.locator("#data-import").click()
    page.locator("#data-file input[type=file]").set_input_files(file_with_faults())
    bad = page.locator("#data-bad-rows tbody tr")
    expect(bad).to_have_count(1, timeout=60_000)
    expect(bad.locator("th")).to_have_text(str(BROKEN))
    picture(page, "workshop-import")
    page.locator("#data-save").click()
    expect(page.locator(".toast-body").filter(has_text="cannot be used")).to_be_visible()
    page.locator(".toast-close").last.click()
    page.locator("#data-skip input").check()
    saved(page, "#data-save")
    expect(page.locator("#data-heading")).to_contain_text("times seven")
    expect(page.locator("#data-heading")).to_contain_text("version 1 · 10 rows")


def mend_the_copy(page: Page) -> None:
    """The row that is there twice is found; its mend is looked at, then done."""
    page.get_by_role("tab", name="Check", exact=True).click()
    mend = page.get_by_role("button", name="Exact duplicates: Leave the copies out")
    expect(mend).to_be_visible(timeout=60_000)
    picture(page, "workshop-check")
    mend.click()
    expect(page.locator("#check-mend-words")).to_contain_text("1 row goes; 9 rows are in the new version")
    expect(page.locator("#check-mend-rows")).to_contain_text("9 times seven is 63.")
    expect(page.locator("#check-mend")).to_have_text("Make version 2")
    picture(page, "workshop-mend")
    page.locator("#check-mend").click()
    expect(page.locator("#data-heading")).to_contain_text("version 2 · 9 rows", timeout=60_000)


def undo_the_mend(page: Page) -> None:
    page.get_by_role("tab", name="Check", exact=True).click()
    page.locator("button#check-undo").click()
    expect(page.locator("#data-heading")).to_contain_text("version 3 · 10 rows", timeout=60_000)


def see_what_changed(page: Page, *, before: int, after: int, said: str) -> None:
    """The newest version against the one before it."""
    page.get_by_role("tab", name="Versions", exact=True).click()
    expect(page.locator("#versions-older input")).to_have_value(f"v{before}")
    expect(page.locator("#versions-newer input")).to_have_value(f"v{after}")
    expect(page.locator("#versions-summary")).to_contain_text(said)
    expect(page.locator("#versions-rows")).to_contain_text("9 times seven is 63.")
    picture(page, f"workshop-versions-{after}")


def take_away(page: Page, folder: Path) -> Path:
    """The rows as JSON Lines of messages, downloaded."""
    page.get_by_role("tab", name="Take away", exact=True).click()
    expect(page.locator("#take-form input")).to_have_value("Messages (JSON Lines)")
    expect(page.locator("#take-fit")).to_contain_text("10 of 10 rows fit.", timeout=60_000)
    page.locator("#take-make").click()
    link = page.locator("#take-file a")
    expect(link).to_be_visible(timeout=60_000)
    picture(page, "workshop-take-away")
    with page.expect_download() as waiting:
        link.click()
    file = folder / waiting.value.suggested_filename
    waiting.value.save_as(file)
    return file


def import_again(page: Page, file: Path) -> None:
    """What was taken away is known by its rows: no other data set comes of it."""
    sets = page.locator("#data-sets label").count()
    page.locator("#data-import").click()
    page.locator("#data-file input[type=file]").set_input_files(file)
    expect(page.locator("#data-counts")).to_contain_text("10 of 10 rows can be used", timeout=60_000)
    fill(page, "data-name", "times seven")
    page.locator("#data-save").click()
    expect(page.locator(".toast-body")).to_contain_text("These rows are saved already: “times seven”, version", timeout=60_000)
    expect(page.locator("#data-heading")).to_contain_text("times seven")
    expect(page.locator("#data-sets label")).to_have_count(sets)
