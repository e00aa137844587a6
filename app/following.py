"""Following runs on the live chart: which runs, how far each was read, and what to send next.

The state lives in the browser's session and is thrown away at a reload; the events are files, so the whole curve is
simply read again.
"""

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from app.studio import Studio
from backend.errors import UserError
from backend.events import ENDED
from backend.progress import Progress
from backend.runs import true_events
from components.live_plot import Payload, Series, more, whole
from components.run_curves import series_of

PARTINGS = 3  # times the end of what was followed is told
IN_FULL = 10  # of so many answers one says everything: another may have got lost
# Seconds between two questions of a page: while something is waited for; once the curve has begun, less and less often until a
# minute of it is there, and again until ten are; and where nothing can be new. It never stops asking: an answer on its way that
# said so could arrive after a run was opened.
BEAT, BEGINNING, STEADY, SLOWEST, REST = 1.0, 3.0, 5.0, 10.0, 5.0
BEGUN = 5  # steps after which a curve has begun


@dataclass
class Followed:
    """One run on the chart."""

    label: str
    cursor: int  # byte in its events up to which it was read
    progress: Progress


@dataclass
class Following:
    """The runs on a chart, and the serial of the last payload it was sent."""

    runs: dict[str, Followed] = field(default_factory=dict)
    serial: int | None = None
    stopping: bool = False  # what the page was last told
    told: tuple[Any, ...] = ()  # what stands beside the chart, as the page was last told
    answers: int = 0
    partings: int = PARTINGS  # still to come: an answer on its way may arrive after the end was told, and is older

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come, and the page has been told so."""
        return self.partings == 0

    @property
    def beat(self) -> float:
        """Seconds until the page asks again. Each question takes from the run what the browser needs for the answer."""
        going_on = [followed.progress for followed in self.runs.values() if followed.progress.status not in ENDED]
        if self.stopping or self.partings < PARTINGS or any(progress.step < BEGUN for progress in going_on):
            return BEAT
        youngest = min((progress.seconds for progress in going_on), default=0)
        return max(BEGINNING, min(youngest // 10, STEADY), min(youngest // 60, SLOWEST))  # a sixtieth of the curve's width

    def only_new(self, *shown: Any) -> tuple[Any, ...]:
        """What stands beside the chart, without what the page shows already: each part costs the browser a search through the page."""
        told, self.told = self.told, shown
        self.answers += 1
        if not told or self.partings < PARTINGS or self.answers % IN_FULL == 0:
            return shown
        return tuple(gr.skip() if now == before else now for now, before in zip(shown, told, strict=True))

    def take_leave(self) -> bool:
        """Whether all runs have ended, so that it is said once more."""
        ended = all(run.progress.status in ENDED for run in self.runs.values())
        self.partings -= ended
        return ended


def follow(studio: Studio, run_ids: list[str]) -> tuple[Payload, Following]:
    """Begin to follow runs: their whole curves, and the state to catch up from. A run that is gone is passed over."""
    following, series = Following(), []
    for run_id in run_ids:
        try:
            run = studio.runs.get(run_id)
        except UserError:
            continue
        events, cursor = run.events.read()
        standing = true_events(events)
        label = run.label["name"]
        following.runs[run_id] = Followed(label, cursor, Progress.of(standing))
        series += series_of(run_id, label, standing)
    payload = whole(series)
    following.serial = payload["serial"]
    return payload, following


def catch_up(studio: Studio, following: Following) -> tuple[Payload | Any, bool]:
    """(what the chart is to be sent, whether the page is to be told where things stand) since the last time; `following` moves on."""
    series: list[Series] = []
    news = False
    for run_id, followed in following.runs.items():
        events, followed.cursor = studio.runs.get(run_id).events.read(followed.cursor)
        if any(event["kind"] == "started" for event in events):  # resumed, or begun again: the old points may be void
            payload, fresh = follow(studio, list(following.runs))
            following.runs, following.serial, following.partings, following.told = fresh.runs, fresh.serial, PARTINGS, ()
            return payload, True
        followed.progress.fold(events)
        series += series_of(run_id, followed.label, events)
        news = news or bool(events)
    news = following.take_leave() or news
    if not series:
        return gr.skip(), news
    payload = more(series, after=following.serial)
    following.serial = payload["serial"]
    return payload, True
