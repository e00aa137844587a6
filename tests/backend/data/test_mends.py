"""A mend changes exactly what it says, makes a version, and can be undone."""

from pathlib import Path
from typing import Any

import pytest

from backend.data.checks import Check, Finding, parse
from backend.data.mends import CHANGES_SHOWN, mend, preview, undo
from backend.data.records import Record
from backend.data.report import Report, report, usual_checks
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.workspace import Workspace
from tests.conftest import starter_rows


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(Workspace(tmp_path / "workspace").prepare())


def ask(prompt: str, answer: str, **about: Any) -> Record:
    row: Record = {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}
    return {**row, "about": about} if about else row  # type: ignore[return-value,typeddict-item]


PLANTED = {  # check: a row it finds behind 40 clean ones, and what becomes of it
    "exact_duplicates": (starter_rows(3)[2], None),
    "personal_data": (ask("Who?", "Ask a.b@mail.de or call +49 171 2345678", author="Ada"), ask("Who?", "Ask [e-mail] or call [phone]", author="Ada")),
    "encoding": (ask("Where is the cafÃ©?", "In the â€œMÃ¼nsterâ€\x9d.", tags=["a"]), ask("Where is the café?", "In the “Münster”.", tags=["a"])),
    "echoes": (ask("What is the sea?", "What is the sea? It is salt and deep."), ask("What is the sea?", "It is salt and deep.")),
    "empty_answers": (ask("What?", " "), None),
    "role_order": ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}, None),
    "one_word_answers": (ask("What?", "That."), None),
}  # fmt: skip


def save(datasets: Datasets, records: list[Any]) -> Card:
    return datasets.save(records, name="rows", record="messages", source={"made": "by hand"}, guidelines={"purpose": "to be kept"})


def found(made: Report, name: str) -> tuple[Finding, Check]:
    (finding,) = [finding for finding in made.findings if finding.check == name]
    return finding, parse(made.checks[name])


@pytest.mark.parametrize("name", PLANTED)
def test_a_mend_changes_its_rows_and_no_others(datasets: Datasets, name: str) -> None:
    planted, becomes = PLANTED[name]
    rows = starter_rows(40)
    card = save(datasets, [*rows[:20], *rows[20:], planted])
    finding, check = found(report(datasets, card, usual_checks()), name)
    seen = preview(datasets, card, finding, check)
    assert (seen.changed, seen.gone, seen.untouched, seen.left) == (int(becomes is not None), int(becomes is None), 0, 41 - (becomes is None))
    assert [(change.number, change.before, change.after) for change in seen.first] == [(41, planted, becomes)]

    made = mend(datasets, card, finding, check)
    assert list(datasets.iterate(made.id, made.version)) == [*rows, *([becomes] if becomes else [])]
    assert (made.id, made.version, made.guidelines) == (card.id, 2, {"purpose": "to be kept"})
    assert (made.source["made"], made.source["mend"], made.source["from_version"]) == ("mended", name, 1)
    assert name not in {each.check for each in report(datasets, made, usual_checks()).findings}


@pytest.mark.parametrize("name", ["exact_duplicates", "personal_data"])
def test_a_mend_is_undone_by_a_version_with_the_rows_of_before(datasets: Datasets, name: str) -> None:
    card = save(datasets, [*starter_rows(40), PLANTED[name][0]])
    made = mend(datasets, card, *found(report(datasets, card, usual_checks()), name))
    back = undo(datasets, made)
    assert (back.version, back.sha256, back.about_sha256, back.guidelines) == (3, card.sha256, card.about_sha256, card.guidelines)
    assert datasets.versions(card.id) == [1, 2, 3]  # nothing is lost
    with pytest.raises(UserError, match="was not made by a mend"):
        undo(datasets, back)


def test_near_duplicates_and_contradictions_keep_the_first(datasets: Datasets) -> None:
    rows: list[Any] = starter_rows(30)
    answer = " ".join(f"word{number}" for number in range(60))
    rows += [ask("How?", answer), ask("How?", f"{answer} more"), ask("When?", "At noon, I think."), ask("When?", "Not at all, I hope.")]
    card = save(datasets, rows)
    made = report(datasets, card, usual_checks())
    near = mend(datasets, card, *found(made, "near_duplicates"))
    assert list(datasets.iterate(near.id, near.version)) == [*rows[:31], *rows[32:]]
    first = mend(datasets, card, *found(made, "contradictions"))
    assert list(datasets.iterate(first.id, first.version)) == [*rows[:31], rows[32]]


def test_of_pairs_judged_both_ways_the_first_judgement_stays(datasets: Datasets) -> None:
    answers = [[{"role": "assistant", "content": text}] for text in ("Yes, of course.", "No, never.")]
    pairs: list[Any] = [{"prompt": [{"role": "user", "content": "May I?"}], "answers": answers, "ranks": ranks} for ranks in ([1, 2], [2, 1])]
    card = datasets.save(pairs, name="pairs", record="preferences", source={"made": "by hand"})
    made = mend(datasets, card, *found(report(datasets, card, usual_checks()), "reversed_pairs"))
    assert [row["ranks"] for row in datasets.iterate(made.id, made.version)] == [[1, 2]]  # type: ignore[typeddict-item]
    assert undo(datasets, made).sha256 == card.sha256


def test_frequent_labels_are_thinned_evenly(datasets: Datasets) -> None:
    rows = [ask(f"sentence number {n}", "negative" if n % 20 == 0 else "positive") for n in range(200)]
    card = save(datasets, rows)
    made = mend(datasets, card, *found(report(datasets, card, usual_checks()), "labels"))
    kept = [int(row["messages"][0]["content"].split()[-1]) for row in datasets.iterate(made.id, 2) if row["messages"][1]["content"] == "positive"]  # type: ignore[typeddict-item]
    assert made.rows == 10 + 30 and max(b - a for a, b in zip(kept, kept[1:], strict=False)) < 10 and kept[-1] > 180


def test_the_first_changes_are_shown_and_all_are_counted(datasets: Datasets) -> None:
    card = save(datasets, [*starter_rows(5), *(ask(f"q {n}", "") for n in range(50))])
    seen = preview(datasets, card, *found(report(datasets, card, usual_checks()), "empty_answers"))
    assert (seen.gone, len(seen.first), seen.left) == (50, CHANGES_SHOWN, 5)


def test_letters_that_are_lost_cannot_be_put_right_and_that_is_said(datasets: Datasets) -> None:
    card = save(datasets, [*starter_rows(5), ask("a", "lost \ufffd letter")])
    finding, check = found(report(datasets, card, usual_checks()), "encoding")
    assert preview(datasets, card, finding, check).untouched == 1
    with pytest.raises(UserError, match="nothing here that this mend can put right"):
        mend(datasets, card, finding, check)
    assert datasets.versions(card.id) == [1]


def test_a_mend_that_would_leave_nothing_is_refused(datasets: Datasets) -> None:
    card = save(datasets, [ask("a", ""), ask("b", " ")])
    with pytest.raises(UserError, match="would leave no row"):
        mend(datasets, card, *found(report(datasets, card, usual_checks()), "empty_answers"))
    assert datasets.versions(card.id) == [1]
