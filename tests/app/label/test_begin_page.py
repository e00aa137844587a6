"""The page that begins a batch, without a page: what a form becomes, what is shown on the way, and the batch at the end."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from app.label.answering_part import (
    NEW,
    first_answerers,
    moving,
    on_estimate,
    on_gather,
    on_kind,
    on_pairing,
    on_pick,
    on_resume,
    on_start,
    on_stop,
    on_tick,
    opening,
    spec_of,
)
from app.label.begin_page import on_open, on_way
from app.label.bringing_part import on_file, on_saved
from app.label.gathering_part import on_begin, on_gathered, on_sieve
from app.studio import Studio
from backend.answering.answering import Answer, Answering, Answerings
from backend.answering.beginning import BatchSettings, Gathered
from backend.answering.pairing import PairingSettings
from backend.answering.settings import Answerer
from backend.data.versions import Card, Datasets
from backend.engine import Engine
from backend.errors import UserError
from backend.jobs import Means
from backend.labelling.filters import FilterSettings
from backend.runs import Runs
from backend.workspace import Workspace
from components.answerer_table import answerers
from components.candidates_view import answers_html, sieved_html
from components.settings_form import form_values
from tests.conftest import save_texts

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"
REAL_PAIRS = Path(__file__).parents[4] / "shared" / "data" / "dpo_en_demo.json"


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    """A studio whose engine says it is ready and does nothing."""
    engine = Engine(workspace)
    engine.ready.set()
    return Studio(workspace, engine, Datasets(workspace), Runs(workspace))


def form(card: Card | None, *chosen: Answerer, **changed: Any) -> dict[str, Any]:
    """What the form holds, with some of it changed."""
    table = answerers(chosen or (Answerer(draws=2, max_tokens=8),), [("Base · starter", "base:starter")])
    values = {
        "kind": "data", "data": card and card.id, "number": 5, "prompts_seed": 0, "parted_by": "lines", "pasted": "", "name": "",
        "answerers": table, "at_once": 8,
    }  # fmt: skip
    return values | changed


def opened(studio: Studio, updates: Any) -> Answering:
    return Answerings(studio.workspace).get(updates[0])


@pytest.fixture
def answering(studio: Studio, dataset: Card) -> Answering:
    """Five prompts, two answers each, made up: the answers to the first are cut off."""
    answering = opened(studio, on_start(studio, **form(dataset)))
    answering.keep(
        Answer(prompt, 0, draw, f"{HOSTILE} answer number {draw} to it", {"speaker": "base:secret", "end": "finished" if prompt else "cut off"})
        for prompt in range(5) for draw in range(2)
    )
    return answering


def done(answering: Answering) -> Answering:
    answering.events.append("finished", status="done", message="")
    return answering


def gathered_of(studio: Studio, answering: Answering, **pairing: Any) -> Any:
    seen = moving(studio, answering.id)[-2]
    return on_gather(studio, seen, **(PairingSettings().model_dump() | pairing))


def fields(gathered: Gathered | None, **changed: Any) -> dict[str, Any]:
    """What the part that begins holds, with some of it changed."""
    filters = {f"filter_{name}": value for name, value in form_values(FilterSettings()).items()}
    batch = {f"batch_{name}": value for name, value in BatchSettings(name="first").model_dump().items()}
    return {"gathered": gathered, "consent": False, "with_votes": False, "held_out": "", **filters, **batch, **changed}


def test_a_form_left_as_it_is_becomes_a_spec(studio: Studio, dataset: Card) -> None:
    spec = spec_of(studio, form(dataset))
    assert (spec.name, spec.prompts.data.id, spec.prompts.number) == ("Answers to questions", dataset.id, 5)  # type: ignore[union-attr]
    assert spec.answerers == (Answerer(draws=2, max_tokens=8),)
    assert [line["speaker"] for line in first_answerers(studio)["lines"]] == ["base:starter"]


def test_what_is_wrong_on_the_form_is_told_all_at_once_and_in_place(studio: Studio, dataset: Card) -> None:
    wrong = form(dataset, number=0)
    wrong["answerers"]["lines"][0]["temperature"] = "hot"
    with pytest.raises(UserError) as raised:
        spec_of(studio, wrong)
    assert [problem.partition(" should")[0] for problem in raised.value.problems] == ["prompts.number", "answerer 1, temperature"]
    assert on_estimate(studio, **wrong).count("<li>") == 2
    with pytest.raises(UserError, match="leaves nothing to compare"):
        spec_of(studio, form(dataset, answerers={"lines": [], "speakers": []}))


def test_the_time_it_takes_is_told_before_the_start(studio: Studio, dataset: Card) -> None:
    said = on_estimate(studio, **form(dataset))
    assert "10 answers to 5 prompts, at most 80 tokens" in said and "at most about" in said and "roughly" in said and "guessed" in said
    assert "4 answers to 2 prompts" in on_estimate(studio, **form(None, kind="pasted", pasted="Why?\nHow?\nWhy?"))


def test_only_what_a_source_or_a_choice_needs_is_asked_for() -> None:
    assert [each.visible for each in on_kind("data")] == [True, False, False, True, True]
    assert [each.visible for each in on_kind("pasted")] == [False, True, True, False, False]
    assert [each["visible"] for each in on_pairing("pairs", "all")] == [True, False, False, False, False, False]
    assert [each["visible"] for each in on_pairing("pairs", "one against another")] == [True, False, True, True, False, False]
    assert [each["visible"] for each in on_pairing("rankings", "all")] == [False, False, False, False, True, True]


def test_an_answering_is_watched_stopped_and_resumed(studio: Studio, answering: Answering) -> None:
    progress, stop, resume, said, pairs, *_, seen, timer = moving(studio, answering.id)
    assert "waiting for its turn" in progress and "10 of 10 answers" in progress and "2 cut off" in progress
    assert (stop.visible, resume.visible, pairs.visible, timer.active) == (True, False, False, True)
    assert all(update == on_tick(studio, answering.id, seen)[0] for update in on_tick(studio, answering.id, seen))
    progress, stop, resume, *_, timer = on_stop(studio, answering.id)
    assert "stopped" in progress and (stop.visible, resume.visible, timer.active) == (False, True, False)
    assert "waiting for its turn" in on_resume(studio, answering.id)[0]


def test_the_page_opens_on_answers_nothing_was_begun_with(studio: Studio, answering: Answering) -> None:
    assert opening(studio) == answering.id
    gathered = gathered_of(studio, done(answering))
    assert opening(studio) == answering.id and on_open(studio, "begin")[5] == answering.id
    on_begin(studio, 0, **fields(gathered))
    assert opening(studio) is None
    assert on_pick(studio, answering.id)[0] == answering.id and on_pick(studio, NEW)[0] is None
    assert on_open(studio, "work") == on_tick(studio, None, (1,))[1]


def test_nothing_is_compared_before_the_answers_have_ended(studio: Studio, answering: Answering) -> None:
    assert gathered_of(studio, answering) is None
    assert len(gathered_of(studio, done(answering)).items) == 5
    columns, way = on_way(studio, "file", answering.id), on_way(studio, "answers", answering.id)
    assert [each.visible for each in columns[:3]] == [False, True, False] and columns[-2] is None
    assert [each.visible for each in way[:3]] == [True, False, False] and way[-2][0] == answering.id


def test_filters_are_counted_before_it_begins(studio: Studio, answering: Answering, dataset: Card) -> None:
    gathered = gathered_of(studio, done(answering))
    html, begin = on_sieve(studio, **fields(gathered))
    assert "Item 1 has an answer that was cut off" in html and answering.prompts()[0].messages[-1]["content"][:20] in html
    assert "4 items to label" in html and "1 of 5 left out" in html and "an answer was cut off" in html and begin.interactive
    html, _ = on_sieve(studio, **fields(gathered, filter_cut_off=False, batch_overlap=2))
    assert "5 items to label" in html and "10 votes" in html
    html, begin = on_sieve(studio, **fields(gathered, held_out=dataset.id))
    assert "None of the 5 items passed the filters" in html and "the prompt is kept for evaluation" in html and not begin.interactive
    html, begin = on_sieve(studio, **fields(gathered, filter_shortest_words=0))
    assert 'class="problems"' in html and not begin.interactive


def test_a_batch_is_begun_and_put_before_whoever_works(studio: Studio, answering: Answering) -> None:
    gathered = gathered_of(studio, done(answering))
    id, changed, place, left = on_begin(studio, 4, **fields(gathered, batch_guidelines="Be kind.", batch_overlap=2))
    batch = studio.labels.batch(id)
    assert (changed, place, left, batch.items, batch.overlap, batch.guidelines) == (5, "work", None, 4, 2, "Be kind.")
    assert batch.source == {"from": "candidates", "id": answering.id, "pairing": PairingSettings().model_dump()}
    assert all(candidate.made["speaker"] == "base:secret" for candidate in studio.labels.item(id, 0).candidates)


def test_nobody_is_named_beside_an_answer_and_texts_are_text(studio: Studio, answering: Answering) -> None:
    gathered = gathered_of(studio, done(answering))
    shown = answers_html(answering.prompts(), answering.answers()) + on_sieve(studio, **fields(gathered))[0]
    assert "secret" not in shown and "<script>" not in shown and "${" not in shown and "{{" not in shown and "&lt;script&gt;" in shown


def test_bad_rows_of_a_file_are_left_out_on_consent_alone(studio: Studio, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Question {n}?", "chosen": f"This is the better answer {n}.", "rejected": f"And this is the worse one {n}."} for n in range(3)]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": HOSTILE, "chosen": "alone"}]))
    gathered = on_file(studio, str(file))
    column, found, consent, votes, name, _, _, begin = on_gathered(studio, **fields(gathered))
    assert column.visible and consent.visible and consent.label == "Leave out the 1 row that cannot be used" and not begin.interactive
    assert (votes.visible, votes.value, votes.label, name) == (True, True, "Keep the 3 votes that came along", "pairs")
    assert ">4</th>" in found and "<script>" not in found
    with pytest.raises(UserError, match="cannot be used. Tick that they are left out"):
        on_begin(studio, 0, **fields(gathered))
    batch = studio.labels.batch(on_begin(studio, 0, **fields(gathered, consent=True, with_votes=True))[0])
    assert (batch.items, batch.overlap, len(studio.labels.votes(batch.id))) == (3, 2, 3)
    assert studio.labels.next(batch.id, "ada") is not None


def test_a_saved_data_set_is_labelled_again(studio: Studio) -> None:
    assert on_saved(studio, None, 10, 0) is None
    row: Any = {"prompt": [{"role": "user", "content": "Why?"}], "ranks": [1, 2],
                "answers": [[{"role": "assistant", "content": f"because of so many things {n}"}] for n in range(2)]}  # fmt: skip
    card = studio.datasets.save([row], name="pairs", record="preferences", source={})
    gathered = on_saved(studio, card.id, 10, 0)
    _, _, consent, votes, name, *_ = on_gathered(studio, **fields(gathered))
    assert (consent.visible, votes.visible, votes.value, name) == (False, True, False, "pairs, again")
    with pytest.raises(UserError, match="Rows is a number"):
        on_saved(studio, card.id, None, 0)


def test_plain_text_is_not_offered(studio: Studio, workspace: Workspace) -> None:
    save_texts(workspace, ["a"], name="plain")
    picker, *_ = on_open(studio, "begin")
    assert picker.choices == []
    with pytest.raises(UserError, match="no data set is chosen"):
        spec_of(studio, form(None))


def test_from_prompts_to_a_batch_with_a_real_model(studio: Studio, dataset: Card) -> None:
    from backend.inference import Shelf

    answering = opened(studio, on_start(studio, **form(dataset, Answerer(draws=4, temperature=2, max_tokens=6), number=2)))
    turns: Any = type("Turns", (), {"take": staticmethod(nullcontext)})
    answering.perform(Means(lambda: False, turns, Shelf(studio.workspace)))
    gathered = gathered_of(studio, answering, form="rankings")
    loose = {f"filter_{name}": False for name in ("short", "cut_off", "empty", "identical")}
    batch = studio.labels.batch(on_begin(studio, 0, **fields(gathered, **loose))[0])
    shown = studio.labels.next(batch.id, "me")
    assert batch.items == 2 and shown is not None and len(shown.answers) == 4


@pytest.mark.skipif(not REAL_PAIRS.exists(), reason="the real pairs are not here")
def test_a_real_file_of_pairs_is_filtered_and_begun(studio: Studio) -> None:
    gathered = on_file(studio, str(REAL_PAIRS))
    html, begin = on_sieve(studio, **fields(gathered))
    batch = studio.labels.batch(on_begin(studio, 0, **fields(gathered, with_votes=True))[0])
    assert begin.interactive and f"{batch.items:,} items to label" in html and 250 < batch.items < len(gathered.items) == 300
    assert len(studio.labels.votes(batch.id)) == batch.items


def test_an_empty_sieve_says_what_to_do() -> None:
    from backend.labelling.filters import Sieved

    assert "Untick one, or bring other answers" in sieved_html(Sieved([], [], []), [], 1)


