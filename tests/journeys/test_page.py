"""The page itself: wrong files get their sentence, text is text, nothing is out of reach, nobody else gets in."""

import json
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import engine_is_ready, picture, to_tab

pytestmark = pytest.mark.browser
TABS = ("Data", "Train", "Runs", "Chat")
HOSTILE = "<img src=x onerror=alert(1)> ${alert(2)} {{alert(3)}} <script>alert(4)</script> </textarea>"


def upload(page: Page, name: str, content: bytes) -> None:
    to_tab(page, "Data")
    page.locator("#data-import").click()
    page.locator("#data-file input[type=file]").set_input_files({"name": name, "mimeType": "text/plain", "buffer": content})


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.jsonl", b"", "empty"),
        ("rows.zip", b"PK\x03\x04" + bytes(40), "archive"),
        ("model.pkl", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x04test\x94.", "pickle"),
    ],
)
def test_a_wrong_file_gets_its_sentence(visit, name, content, sentence):
    page = visit()
    upload(page, name, content)
    toast = page.locator(".toast-body").first
    expect(toast).to_contain_text(sentence, ignore_case=True)
    expect(toast).not_to_contain_text("Traceback")


def test_a_broken_row_is_named_and_skipped_on_consent(visit):
    page = visit()
    rows = [json.dumps({"instruction": f"Say {n}", "output": f"It is {n}."}) for n in range(5)]
    upload(page, "cats.jsonl", "\n".join([*rows[:3], '{"instruction": "Say', *rows[3:]]).encode())
    expect(page.locator("#data-counts")).to_contain_text("1 row")
    expect(page.locator("#data-bad-rows")).to_contain_text("4", timeout=60_000)
    picture(page, "import")
    page.locator("#data-skip input").check()
    page.locator("#data-save").click()
    expect(page.locator("#data-heading")).to_contain_text("5 rows")


@pytest.mark.fault("markup and scripts in what users write")
def test_what_users_write_is_shown_as_text(visit):
    page = visit()
    engine_is_ready(page)
    row = {"messages": [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE}]}
    upload(page, f"{HOSTILE[:20]}.jsonl", json.dumps(row).encode() * 1)
    page.locator("#data-name input, #data-name textarea").first.fill(HOSTILE)
    page.locator("#data-save").click()
    expect(page.locator("#data-heading")).to_contain_text("${alert(2)} {{alert(3)}}")
    expect(page.locator("#data-rows")).to_contain_text("<script>alert(4)</script>")
    page.get_by_role("tab", name="As the model sees it").click()
    expect(page.locator("#data-row-words")).to_contain_text("trained", timeout=60_000)
    to_tab(page, "Chat")
    page.locator("#chat-prompt textarea").fill(HOSTILE)
    page.locator("#chat-send").click()
    expect(page.locator("#chat-left")).to_contain_text("<img src=x onerror=alert(1)>")
    page.locator("#chat-stop").click()
    to_tab(page, "Data")
    page.locator("#data-delete").click()
    page.locator("#data-really-delete").click()
    expect(page.locator("#data-sets")).not_to_contain_text("alert")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_serious_stands_in_the_way_of_anybody(visit, dark):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(dark=dark)
    engine_is_ready(page)
    for tab in TABS:
        to_tab(page, tab)
        page.wait_for_timeout(500)  # a tab's first content comes after the click; axe judges what is there
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [
            (one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == [], f"{tab}: {serious}"
        picture(page, f"{tab.lower()}-{'dark' if dark else 'light'}")


def test_at_800_pixels_nothing_is_cut_off(visit):
    page = visit(width=800)
    engine_is_ready(page)
    for tab in TABS:
        to_tab(page, tab)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, tab
        picture(page, f"{tab.lower()}-800")


def test_the_keyboard_reaches_start(visit):
    page = visit()
    engine_is_ready(page)
    to_tab(page, "Train")
    expect(page.locator("#start-run")).to_be_enabled(timeout=60_000)
    page.locator("#pick-model input").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement?.id") == "start-run":
            return
    pytest.fail("forty presses of Tab did not reach Start")


def status_of(url: str, *, data: bytes | None = None, **headers: str) -> int:
    request = urllib.request.Request(url, data=data, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_foreign_hosts_and_origins_are_refused(studio):
    assert status_of(studio.url) == 200
    assert status_of(studio.url, Host="evil.example") == 400
    upload_url = f"{studio.url}gradio_api/upload"
    assert status_of(upload_url, data=b"x", Origin="http://evil.example", Content_Type="multipart/form-data; boundary=x") == 403


def test_files_of_the_workspace_are_not_served(studio):
    for path in (studio.workspace / "workspace.json", studio.workspace / "studio.lock"):
        assert status_of(f"{studio.url}gradio_api/file={path}") == 403
