"""A soak: for some minutes a real studio is used in many ways at once, at random, and nothing may be lost.

    python3 launch.py soak [--minutes 15] [--seed 7]

One run trains, two chats ask base and run and vote, somebody labels and somebody writes rows by keyboard, three tabs
reload: each in a browser session of its own. In the end every vote, row and point is counted. Exit code 1 where
one is missing or doubled, the log has an error, memory grew, or the page was slow.
"""

import argparse
import math
import random
import re
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from gradio_client import Client
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Error as BrowserFault

from backend.data.records import Message
from backend.data.starter import import_starter
from backend.data.versions import Datasets
from backend.labelling.items import Candidate, Item, Labels
from backend.labelling.talking import ChatVotes
from backend.models import STARTER
from backend.runs import Run, Runs
from backend.store import Store
from backend.workspace import Workspace
from tests.conftest import chromium_path, open_chromium
from tests.journeys.conftest import Studio, end, engine_is_ready, fill, start_studio, to_tab, unfold

MOST_GROWTH = 0.05  # of the studio's memory, from a quarter of the time to its end
SLOWEST_SECONDS = 10.0  # the page may take to answer while all of this goes on
QUESTIONS_IN_A_TALK = 4  # then it is cleared: what the model reads stays short
BATCH = "soak"
RUN = "soaked run"
FAULT = re.compile(r"Traceback|\b\w*(Error|Exception)\b|met a fault|died")


def main() -> int:
    options = read_arguments()
    seed = random.randrange(10_000) if options.seed is None else options.seed
    print(f"seed {seed}, {options.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        workspace = make_workspace(Path(folder) / "workspace", starter=options.workspace)
        log = stack.enter_context((Path(folder) / "studio.log").open("w+"))
        studio = start_studio(workspace.root, log=log)
        stack.callback(end, studio)
        run = start_run(studio, workspace)
        with open_chromium() as browser:
            people = gather(browser, studio, random.Random(seed))
            wait_for_steps(run, 3)  # the first ones take the memory that the others use again
            with measuring(studio) as meter:
                use(people, seconds=60 * options.minutes, dice=random.Random(seed))
            faults = leave(people)
        findings = [*count(people, workspace), points(run, studio), *meter.findings(), complaints(log.name, faults)]
    for finding in findings:
        print(finding)
    return 0 if all(finding.good for finding in findings) else 1


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, help="to have the same things happen in the same order (default: drawn)")
    parser.add_argument("--workspace", type=Path, help="where the starter model lies unpacked; the soak works elsewhere")
    if chromium_path() is None:
        sys.exit("The soak drives a browser, and there is no Chromium on the PATH. Install it, for instance: apt install chromium")
    return parser.parse_args()


# ---- what is there to begin with


def make_workspace(folder: Path, *, starter: Path | None) -> Workspace:
    """A fresh workspace with more to label than anybody can; the starter model is borrowed where it lies unpacked."""
    workspace = Workspace(folder).prepare()
    unpacked = starter and starter.absolute() / "models" / STARTER
    if unpacked and unpacked.is_dir():
        (workspace.models / STARTER).symlink_to(unpacked)
    import_starter(Datasets(workspace))
    store = Store.of(workspace)
    Labels(store).begin(BATCH, [pair(number) for number in range(3000)], guidelines="Prefer the shorter one.")
    store.close()
    return workspace


def pair(number: int) -> Item:
    texts = (f"It sleeps, for the {number}. time.", f"For the {number}. time now it looks out of the window.")
    return Item(
        [{"role": "user", "content": f"What does a cat do at {number} o'clock?"}],
        [Candidate([answer(text)], {"speaker": f"column:{name}", "name": name}) for name, text in zip("ab", texts, strict=True)],
    )


def answer(text: str) -> Message:
    return {"role": "assistant", "content": text}


def start_run(studio: Studio, workspace: Workspace) -> Run:
    """A run that lasts longer than the soak, begun by script as soon as the engine is ready."""
    (card,) = Datasets(workspace).list()
    training = {"max_steps": 100_000, "batch_size": 2, "evaluate_every": 25, "validation_share": 0.02, "probes": ["Why does it rain?"]}
    spec = {"name": RUN, "base_model": STARTER, "data": {"id": card.id}, "method": {"name": "lora"}, "training": training}
    return Runs(workspace).get(Client(studio.url, verbose=False).predict(spec=spec, api_name="/start_run"))


def wait_for_steps(run: Run, count: int, *, seconds: float = 600.0) -> None:
    until = time.monotonic() + seconds
    while len(steps_of(run)) < count:
        if time.monotonic() > until or run.status not in ("queued", "running"):
            raise SystemExit(f"The run has not made {count} steps: it is {run.status}.")
        time.sleep(0.5)


def steps_of(run: Run) -> list[int]:
    """The steps it has told of, in their order."""
    return [event["step"] for event in run.events.read()[0] if event["kind"] == "step"]  # type: ignore[typeddict-item]


# ---- who uses it


@dataclass
class Person(ABC):
    """Somebody with a browser session of their own, who does one small thing at a time and waits for none that lasts."""

    page: Page
    dice: random.Random
    faults: list[str]
    done: int = 0  # votes cast, rows typed, reloads
    pause: tuple[float, float] = (0.2, 2.0)  # seconds between two things

    @abstractmethod
    def come(self) -> None:
        """To the place where the work is."""

    @abstractmethod
    def act(self) -> None:
        """The next small thing."""

    def next_time(self) -> float:
        return time.monotonic() + self.dice.uniform(*self.pause)


class Labeller(Person):
    """Votes by keyboard, and waits for the next item each time."""

    def come(self) -> None:
        to_tab(self.page, "Label")
        self.page.locator("#label-annotator").get_by_role("textbox").fill("ada")
        self.page.keyboard.press("Enter")
        expect(self.page.locator('#pair-labeller [data-part="who"]')).to_have_text("· as ada")
        self._expect_done()

    def act(self) -> None:
        self.page.keyboard.press(self.dice.choice("123"))
        self.done += 1
        self._expect_done()

    def _expect_done(self) -> None:
        expect(self.page.locator('#pair-labeller [data-part="progress"]')).to_contain_text(f"{self.done} of")


class Writer(Person):
    """Types rows, and presses nothing to save them."""

    pause = (1.0, 6.0)

    def come(self) -> None:
        self.page.locator("#data-write").click()
        fill(self.page, "write-new-name", "soaked rows")
        self.page.locator("#write-begin").click()
        self.page.locator("[data-part=add]").press("Enter")

    def act(self) -> None:
        expect(self.page.locator(".row-turn-user textarea:focus")).to_have_value("")
        self.page.keyboard.type(question(self.done))
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(f"Row {self.done} says so.")
        self.done += 1
        expect(self.page.locator("[data-part=saved]")).to_have_text("saved")
        self.page.keyboard.press("Control+Enter")


@dataclass
class Talker(Person):
    """Asks the base model and the run that trains, and votes on their answers."""

    asked: int = 0

    def come(self) -> None:
        to_tab(self.page, "Chat")
        self.page.locator("#chat-right-model input").fill(RUN)
        self.page.keyboard.press("Enter")
        unfold(self.page, "How answers are made", "chat-left-max_tokens")
        fill(self.page, "chat-left-max_tokens", "16")
        self.page.keyboard.press("Tab")
        self._ask()  # the first answer loads the models, which is no growth of memory
        expect(self.page.locator(".vote-line")).to_contain_text("Which answer is better?", timeout=300_000)

    def act(self) -> None:
        """Ask, or vote where both have answered; while they answer, nothing."""
        votes = self.page.locator(".vote-bar")
        line = votes.locator(".vote-line").inner_text()
        if line.startswith("Which answer is better?"):
            votes.get_by_role("button", name=self.dice.choice(["Left better", "Right better", "Tie"])).click()
            expect(votes.locator(".vote-line")).to_contain_text("Kept")
            self.done += 1
        elif line.startswith(("Kept", "Ask both", "There is no whole answer")):
            self._ask()

    def _ask(self) -> None:
        if self.asked and self.asked % QUESTIONS_IN_A_TALK == 0:
            self.page.locator("#chat-clear").click()
            expect(self.page.locator(".vote-line")).to_contain_text("Ask both something")
        fill(self.page, "chat-prompt", question(self.dice.randrange(10_000)))
        self.page.locator("#chat-send").click()
        expect(self.page.locator(".vote-line")).to_have_text(re.compile("Vote once both|Which answer"))
        self.asked += 1


class Reloader(Person):
    """Goes to any tab and reloads the page, whether it has come or not."""

    pause = (1.0, 15.0)

    def come(self) -> None: ...

    def act(self) -> None:
        self.page.reload(wait_until=self.dice.choice(["commit", "domcontentloaded", "load"]))
        self.done += 1
        if self.dice.random() < 0.7:
            to_tab(self.page, self.dice.choice(["Data", "Train", "Runs", "Label", "Chat"]))


def question(number: int) -> str:
    return f"What does a cat do at {number} o'clock?"


def gather(browser: Browser, studio: Studio, dice: random.Random) -> list[Person]:
    """Everybody at their place, and what they need in memory."""
    people: list[Person] = []
    for kind in (Labeller, Writer, Talker, Talker, Reloader, Reloader, Reloader):
        page = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce").new_page()
        page.set_default_timeout(60_000)
        person = kind(page, random.Random(dice.random()), [])
        page.on("pageerror", lambda error, heard=person.faults: heard.append(str(error)))
        page.goto(studio.url)
        engine_is_ready(page)
        person.come()
        people.append(person)
    return people


def use(people: Sequence[Person], *, seconds: float, dice: random.Random) -> None:
    """Everybody does one thing after the other, each in their own time."""
    until = time.monotonic() + seconds
    turns = {id(person): person.next_time() for person in people}
    while time.monotonic() < until:
        ready = [person for person in people if turns[id(person)] <= time.monotonic()]
        if not ready:
            time.sleep(0.05)
            continue
        person = dice.choice(ready)
        try:
            person.act()
        except (AssertionError, BrowserFault) as error:
            person.faults.append(f"{type(person).__name__}: {error}")
        turns[id(person)] = person.next_time()


def leave(people: Sequence[Person]) -> list[str]:
    """Everybody closes the page; what went wrong on it."""
    for person in people:
        person.page.context.close()
    return [fault for person in people for fault in person.faults]


# ---- what is counted


@dataclass(frozen=True)
class Finding:
    """One line of the result."""

    good: bool
    words: str

    def __str__(self) -> str:
        return f"{'ok    ' if self.good else 'FAILED'} {self.words}"


def count(people: Sequence[Person], workspace: Workspace) -> Iterator[Finding]:
    """Votes, rows and reloads against what the database has."""
    made = {kind: sum(person.done for person in people if isinstance(person, kind)) for kind in (Labeller, Writer, Talker, Reloader)}
    store = Store.of(workspace)
    labels = Labels(store)
    votes = labels.votes(labels.batches()[0].id)
    once = len({(vote.item, vote.repeat) for vote in votes})
    yield Finding(made[Labeller] == len(votes) == once > 0, f"labels: {made[Labeller]} cast, {len(votes)} in the database")
    kept = ChatVotes(store).count()
    yield Finding(made[Talker] == kept, f"votes in chat: {made[Talker]} cast, {kept} in the database")
    with store.reading() as db:
        records = [record for (record,) in db.execute("SELECT record FROM rows")]
    store.close()
    typed = [sum(f'"{question(number)}"' in record for record in records) for number in range(made[Writer])]
    yield Finding(set(typed) == {1}, f"rows of a draft: {made[Writer]} typed, {sum(typed)} in the database")
    yield Finding(made[Reloader] > 0, f"reloads of the page: {made[Reloader]}")


def points(run: Run, studio: Studio) -> Finding:
    """Every step of the run once, once it has been stopped."""
    Client(studio.url, verbose=False).predict(run=run.id, api_name="/stop_run")
    until = time.monotonic() + 120
    while run.status == "running" and time.monotonic() < until:
        time.sleep(0.2)
    steps = steps_of(run)
    whole = steps == list(range(1, len(steps) + 1)) and len(steps) > 0
    return Finding(whole and run.status == "stopped", f"points of the run: 1 to {len(steps)}, {'each once' if whole else 'NOT each once'}; it is {run.status}")


def complaints(log: str, faults: Sequence[str]) -> Finding:
    """What the studio's log and the pages complain of."""
    said = [line for line in Path(log).read_text(encoding="utf-8").splitlines() if FAULT.search(line)]
    all_of_it = "".join(f"\n         {line[:300]}" for line in [*said, *faults][:20])
    return Finding(not said and not faults, f"errors in the log: {len(said)}; on the pages: {len(faults)}{all_of_it}")


@dataclass
class Meter:
    """The studio's memory and how long its page takes, once a second."""

    studio: Studio
    memory_bytes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        process = psutil.Process(self.studio.process.pid)
        while not self.over.wait(1.0) and process.is_running():
            self.seconds.append(seconds_to_answer(self.studio.url))
            self.memory_bytes.append(process.memory_info().rss)

    def findings(self) -> list[Finding]:
        looks = len(self.memory_bytes)
        quarter, last = (statistics.median(part) for part in (self.memory_bytes[looks // 5 : looks // 3 + 1], self.memory_bytes[-(looks // 10) - 1 :]))
        growth, slowest = last / quarter - 1, max(self.seconds)
        on_the_way = ", ".join(f"{self.memory_bytes[looks * tenth // 10] / 1e6:.0f}" for tenth in range(1, 10))
        return [
            Finding(
                growth < MOST_GROWTH,
                f"memory: {quarter / 1e6:.0f} MB at a quarter, {last / 1e6:.0f} MB at the end ({growth:+.1%}); at each tenth {on_the_way}",
            ),
            Finding(slowest < SLOWEST_SECONDS, f"the page answered within {slowest:.1f} s at worst, {statistics.median(self.seconds):.2f} s as a rule"),
        ]


def seconds_to_answer(url: str) -> float:
    """How long the page takes; infinitely long where it does not answer within a minute."""
    begun = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=60) as page:
            page.read()
    except OSError:
        return math.inf
    return time.monotonic() - begun


@contextmanager
def measuring(studio: Studio) -> Iterator[Meter]:
    meter = Meter(studio)
    thread = threading.Thread(target=meter.watch, daemon=True)
    thread.start()
    yield meter
    meter.over.set()
    thread.join(10)


if __name__ == "__main__":
    raise SystemExit(main())
