"""Faults planted in real rows are found where they were planted, and nowhere else."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.data.checks import Check, Finding, Passing, Row, all_checks
from backend.data.checks.encoding import is_damaged, reread
from backend.data.checks.leaks import _Families, _Sides
from backend.data.checks.personal_data import passes_luhn, passes_mod_97, personal_data, without_personal_data
from backend.data.checks.role_order import RoleOrder
from backend.data.records import Record, family_of
from backend.examples import hold_out
from backend.plan import _split
from backend.specs import TrainingSettings

REAL_DATA = Path(__file__).parents[4] / "shared" / "data"


def ask(prompt: str, answer: str, **about: Any) -> Record:
    row: Record = {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}
    return {**row, "about": about} if about else row  # type: ignore[return-value,typeddict-item]


def alpaca(count: int, *, begin: int = 0) -> list[Record]:
    """Real rows; none of the first 270 stands twice among them."""
    file = REAL_DATA / "alpaca_en_demo.json"
    if not file.exists():
        pytest.skip("the real rows are not on this machine")
    rows = json.loads(file.read_text(encoding="utf-8"))[begin : begin + count]
    return [ask(f"{row['instruction']}\n{row['input']}".strip(), row["output"]) for row in rows]


def checked(name: str, records: Sequence[Record], **settings: Any) -> list[Finding]:
    """What one check finds."""
    check = all_checks()[name](name=name, **settings)
    passing = Passing(len(records), lambda numbers: [records[number] for number in numbers])
    watch = check.begin(passing)
    for number, record in enumerate(records, 1):
        row = Row(number, record)
        passing.see(row)
        watch.see(row)
    return watch.findings()


def rows(name: str, records: Sequence[Record], **settings: Any) -> list[int]:
    return [number for finding in checked(name, records, **settings) for number in finding.rows]


def marked(name: str, record: Record) -> list[str]:
    """The texts a check highlights in a row."""
    row = Row(1, record)
    return [row.texts[mark.turn][mark.begin : mark.end] for mark in all_checks()[name](name=name).marks(row)]


@pytest.mark.parametrize("kind", all_checks().values(), ids=list(all_checks()))
def test_every_check_introduces_itself_and_finds_nothing_where_there_is_nothing(kind: type[Check]) -> None:
    assert kind.title and kind.looks_for[0].islower()
    assert checked(kind.model_fields["name"].default, []) == []
    assert checked(kind.model_fields["name"].default, [{"text": "One text."}]) == []


# ---- duplicates and contradictions


@pytest.mark.fault("empty completion; duplicates; the same prompt twice")
def test_exact_duplicates_are_found_with_the_row_they_repeat() -> None:
    records = alpaca(250)
    planted = [*records, records[3], records[249], {**records[3], "about": {"task": "another"}}]
    (found,) = checked("exact_duplicates", planted)
    assert (found.rows, found.others, found.count, found.of) == ([251, 252, 253], [4, 250, 4], 3, 253)
    assert checked("exact_duplicates", records) == []


def test_a_letter_more_is_no_exact_duplicate() -> None:
    assert rows("exact_duplicates", [ask("a", "b"), ask("a", "b "), ask("a", "b")]) == [3]


def test_near_duplicates_are_found_and_exact_ones_are_left_to_their_own_check() -> None:
    records = alpaca(250)
    prompt, answer = (turn["content"] for turn in records[20]["messages"])  # type: ignore[typeddict-item]
    one_word_changed = answer.replace("magical", "changed", 1)
    assert one_word_changed != answer
    planted = [*records, ask(prompt, one_word_changed), records[20], ask(prompt.upper(), answer)]
    (found,) = checked("near_duplicates", planted)
    assert (found.rows, found.others) == ([251, 253], [21, 21])
    assert checked("near_duplicates", records) == []


def test_the_threshold_decides_what_is_near() -> None:
    pair = [ask("one two three four five six", "seven eight nine ten"), ask("one two three four five six", "seven eight nine eleven")]
    assert rows("near_duplicates", pair) == []  # 7 of 9 word triples
    assert rows("near_duplicates", pair, threshold=0.75) == [2]


def test_a_shared_system_turn_makes_rows_no_duplicates() -> None:
    system = {"role": "system", "content": " ".join(f"rule {number}" for number in range(200))}
    records = [{"messages": [system, *ask(f"question {n}?", f"the answer to that is {n}")["messages"]]} for n in range(5)]  # type: ignore[typeddict-item]
    assert checked("near_duplicates", records) == []  # type: ignore[arg-type]


def test_the_same_prompt_with_another_answer_is_found() -> None:
    records = [ask("How far?", "A mile."), ask("How  FAR?", "Two miles."), ask("How far?", "a mile. "), ask("How near?", "A mile."), ask("How far?", "Three.")]
    (found,) = checked("contradictions", records)
    assert (found.rows, found.others) == ([2, 5], [1, 1])


def test_earlier_turns_belong_to_the_prompt() -> None:
    def talk(first: str, last: str) -> Record:
        turns = [("user", first), ("assistant", "Well."), ("user", "And?"), ("assistant", last)]
        return {"messages": [{"role": role, "content": text} for role, text in turns]}  # type: ignore[typeddict-item]

    assert checked("contradictions", [talk("a", "x"), talk("b", "y")]) == []
    assert rows("contradictions", [talk("a", "x"), talk("a", "y")]) == [2]


# ---- rows by themselves


@pytest.mark.fault("empty completion; duplicates; the same prompt twice")
def test_empty_answers_are_found_whatever_white_space_they_are_of() -> None:
    planted = [*alpaca(50), ask("a", ""), ask("b", " \n\u00a0"), ask("c", "\u200b"), ask("d", "."), ask("", "e")]
    assert rows("empty_answers", planted) == [51, 52, 53]
    assert rows("empty_answers", [{"text": "a"}, {"text": " "}]) == [2]


def test_one_word_answers_that_are_labels_are_not_reported() -> None:
    labels = [ask(f"Is {number} good?", "Positive.") for number in range(5)]
    assert rows("one_word_answers", [*labels, ask("Where?", "Paris."), ask("Where?", "In Paris.")]) == [6]
    assert rows("one_word_answers", labels, label_from=6) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("roles", "wrong"), [
    ("sua", None), ("ua", None), ("uaua", None), ("suaua", None), ("u", 0), ("a", 0), ("s", 0), ("", 0), ("uua", 1), ("uaa", 2), ("usa", 1),
    ("uau", 2), ("ssua", 1), ("aua", 0),
])  # fmt: skip
def test_wrong_order_of_roles_is_found_with_its_turn(roles: str, wrong: int | None) -> None:
    names = {"s": "system", "u": "user", "a": "assistant"}
    record: Any = {"messages": [{"role": names[role], "content": f"turn {place}"} for place, role in enumerate(roles)]}
    assert rows("role_order", [record]) == ([] if wrong is None else [1])
    assert [mark.turn for mark in RoleOrder().marks(Row(1, record))] == ([] if wrong is None or not roles else [wrong])


def test_the_shapes_of_an_import_take_only_orders_that_this_check_takes() -> None:
    assert checked("role_order", alpaca(250)) == []


def test_an_answer_that_begins_with_its_question_is_found_and_freed_of_it() -> None:
    echo = ask("What is the deep sea?", "What is the deep sea? It is cold.")
    planted = [*alpaca(250), echo, ask("Say it again, word by word", "say it again word by word."), ask("Who is?", "Who is? I am.")]
    assert rows("echoes", planted) == [251, 252]
    assert marked("echoes", echo) == ["What is the deep sea"]
    (found,) = checked("echoes", planted)
    put_right = all_checks()["echoes"](name="echoes").mender(found)
    assert put_right(Row(251, echo)) == ask("What is the deep sea?", "It is cold.")
    assert put_right(Row(252, planted[251])) is None


# ---- letters


@pytest.mark.parametrize(("damaged", "whole"), [
    ("CafÃ©", "Café"), ("donâ€™t", "don’t"), ("â€œsoâ€\x9d", "“so”"), ("Ã\xa0 la carte", "à la carte"), ("Ã la carte", "à la carte"), ("ÃƒÂ©tÃ©", "été"),
    ("Ð\x9fÑ\x80Ð¸Ð²ÐµÑ\x82", "Привет"), ("\x93so\x94", "“so”"),
])  # fmt: skip
def test_letters_read_in_the_wrong_encoding_are_read_anew(damaged: str, whole: str) -> None:
    assert is_damaged(damaged) and reread(damaged) == whole


@pytest.mark.parametrize("text", ["Größe ½ “x” – naïve café, £5 · 3 × 4 °C …", "Привет, мир", "日本語", "à côté d’où «ça»", "“‘so’”", "ελληνικά", "ÅÄÖ", "═══"])
def test_whole_letters_are_left_alone(text: str) -> None:
    assert not is_damaged(text) and reread(text) == text


def test_lost_letters_are_reported_and_stay_as_they_are() -> None:
    lost = "It was \ufffd\ufffd in the CafÃ©"
    assert is_damaged(lost) and reread(lost) == "It was \ufffd\ufffd in the Café"
    assert rows("encoding", [*alpaca(250), ask("a", lost), ask("CafÃ©", "b")]) == [251, 252]


# ---- personal data


@pytest.mark.parametrize(("text", "kind", "rest"), [
    ("Write to anna.meier+x@mail.co.uk, please", "e-mail", "Write to [e-mail], please"),
    ("Call +49 171 2345678 now", "phone", "Call [phone] now"),
    ("Call +1 (415) 867-5309.", "phone", "Call [phone]."),
    ("(415) 867-5309", "phone", "[phone]"),
    ("(123) 456-7891", "phone", "[phone]"),
    ("415-867-5309", "phone", "[phone]"),
    ("0171 2345678", "phone", "[phone]"),
    ("OPENAI=sk-proj-Ab3dEfGh1jKlMn0pQrStUv", "key", "OPENAI=[key]"),
    ("AKIAIOSFODNN7EXAMPLE", "key", "[key]"),
    ("hf_abcdEFGH1234ijklMNOP5678qrstUVWX90", "key", "[key]"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "private key", "[private key]"),
    ("Pay to DE89 3704 0044 0532 0130 00 soon", "account number", "Pay to [account number] soon"),
    ("GB82WEST12345698765432", "account number", "[account number]"),
    ("Card 4111 1111 1111 1111?", "card number", "Card [card number]?"),
    ("5500-0055-5555-5559", "card number", "[card number]"),
])  # fmt: skip
def test_personal_data_is_found_whole_and_replaced(text: str, kind: str, rest: str) -> None:
    assert [found.kind for found in personal_data(text)] == [kind]
    assert without_personal_data(text) == rest


@pytest.mark.parametrize("text", [
    "3.14159265358979", "1990-2000", "2023-11-21 06:33:45", "10.0.0.1", "192.168.100.200", "ISBN 978-3-16-148410-0", "1,000,000,000",
    "4111 1111 1111 1112", "DE89 3704 0044 0532 0130 01", "user@localhost", "someone@example.com", "@handle", "sk-your-api-key-goes-here-please",
    "555-0123", "(212) 555-0142", "$1234567890", "12345678901234567890", "+1", "6.02214076e23", "0.1234 5678 9012", "task-and-risk-management-of-things",
    "12 34 56 78 90", "2 3 5 7 11 13 17 19 23", "https://a.org/1234567", "[e-mail]", "+ 5 = 10", "0123456789",
])  # fmt: skip
def test_numbers_that_are_nobodys_are_left_alone(text: str) -> None:
    assert personal_data(text) == []


def test_checksums_are_those_of_the_standards() -> None:
    assert passes_luhn("79927398713") and not passes_luhn("79927398710")  # the example of the Luhn algorithm
    assert passes_mod_97("GB82WEST12345698765432") and not passes_mod_97("GB82WEST12345698765431")  # the example of ISO 13616


def test_in_a_thousand_real_rows_nothing_is_taken_for_personal_that_is_not() -> None:
    """Looked at one by one: two rows of the set hold addresses, one a phone number; none of its other numbers is taken for one."""
    found = [(number, each.kind) for number, record in enumerate(alpaca(999), 1) for text in Row(number, record).texts for each in personal_data(text)]
    assert set(found) == {(92, "phone"), (358, "e-mail"), (435, "e-mail")}


# ---- labels and hold-outs


def test_labels_out_of_balance_are_counted_by_task() -> None:
    sentiment = [ask(f"s {n}", "positive" if n % 10 else "negative", task="sentiment") for n in range(40)]
    topic = [ask(f"t {n}", ("sports", "art")[n % 2], task="topic") for n in range(20)]
    (found,) = checked("labels", [*alpaca(100), *sentiment, *topic])
    assert found.count == 36 - 3 * 4 and set(found.rows) <= set(range(101, 141))
    assert "sentiment: “positive” 36, “negative” 4" in found.sentence and "topic" not in found.sentence
    assert checked("labels", [*sentiment, *topic], ratio=9) == []


def test_one_answer_for_everything_is_said() -> None:
    (found,) = checked("labels", [ask(f"q {n}", "Yes.") for n in range(12)])
    assert (found.title, found.count, found.mend) == ("One answer for everything", 12, "")


def test_free_answers_are_no_labels() -> None:
    assert checked("labels", alpaca(250)) == []


def held_out(records: Sequence[Record]) -> list[int]:
    """Numbers of the rows that training holds out by default."""
    return [row + 1 for row in hold_out([family_of(record) for record in records], 0.1, seed=0)[1]]


@pytest.mark.fault("empty completion; duplicates; the same prompt twice")
def test_held_out_rows_with_a_twin_in_training_are_found() -> None:
    records = alpaca(200)
    shouted = [ask(row["messages"][0]["content"].upper(), row["messages"][1]["content"]) for row in records[:60]]  # type: ignore[typeddict-item]
    planted = [*records, *shouted]
    held = set(held_out(planted))
    twins = {**{n: n + 200 for n in range(1, 61)}, **{n + 200: n for n in range(1, 61)}}
    expected = [number for number in sorted(held) if number in twins and twins[number] not in held]
    (found,) = checked("leaks", planted)
    assert expected and found.rows == expected
    assert found.others == [twins[number] for number in expected]
    assert checked("leaks", records) == []


def test_a_long_answer_on_both_sides_is_a_leak_and_a_short_one_is_none() -> None:
    def many(answer: str) -> list[Record]:
        return [ask(f"question number {number} about something quite different {number * 7}", answer) for number in range(30)]

    assert checked("leaks", many("positive")) == []
    (found,) = checked("leaks", many("This is one and the same long answer given to all of them."))
    assert found.rows == held_out(many(""))


def test_the_mend_of_leaks_keeps_twins_on_one_side_whatever_the_seed() -> None:
    records = alpaca(100)
    planted = [*records, *(ask(row["messages"][0]["content"].upper(), row["messages"][1]["content"]) for row in records)]  # type: ignore[typeddict-item]
    (found,) = checked("leaks", planted)
    put_right = all_checks()["leaks"](name="leaks").mender(found)
    mended = [put_right(Row(n, row)) if n in set(found.to_mend) else row for n, row in enumerate(planted, 1)]
    assert [row["messages"] for row in mended] == [row["messages"] for row in planted]  # type: ignore[index,typeddict-item]
    assert all(checked("leaks", mended, seed=seed) == [] for seed in range(4))  # type: ignore[arg-type]


def test_the_mend_of_leaks_takes_along_who_was_kept_together_before() -> None:
    """Rows are alike by their prompts alone; each second one has a family already, with a row like no other in it."""
    asked = [ask(f"What about number {n}?", f"yes {n}", family=f"f{n}") for n in range(30)]
    shouted = [ask(f"WHAT ABOUT NUMBER {n}?", f"no {n}") for n in range(30)]
    kin = [ask(f"something else entirely {n * 31}", f"so {n}", family=f"f{n}") for n in range(30)]
    planted = [*asked, *shouted, *kin]
    (found,) = checked("leaks", planted)
    put_right = all_checks()["leaks"](name="leaks").mender(found)
    mended: list[Any] = [put_right(Row(n, row)) for n, row in enumerate(planted, 1)]
    for n in range(30):
        assert len({mended[n + side]["about"]["family"] for side in (0, 30, 60)}) == 1


def test_the_hold_out_is_that_of_training() -> None:
    """Rows that are held out, by the very split of a run: with augmented rows, and families, in any script."""
    records = [ask(f"{'éaZ日'[n % 4]}question {n % 150}", f"answer {n}", how="augmented" if n % 3 == 2 else "hand") for n in range(400)]
    learnt, held, _ = _split(TrainingSettings(seed=3, validation_share=0.2), records)
    families = _Families(whole=True)
    for record in records:
        families.add(family_of(record))
    sides = _Sides.of(families.ranks(), np.array([n % 3 == 2 for n in range(400)]), all_checks()["leaks"](name="leaks", seed=3, validation_share=0.2))
    assert held and np.flatnonzero(sides.held).tolist() == sorted(held)
    assert np.flatnonzero(sides.learnt).tolist() == sorted(learnt)


def test_what_was_augmented_on_purpose_is_no_near_duplicate_and_no_leak() -> None:
    records = alpaca(100)
    copies = [{**row, "about": {"how": "augmented", "family": family_of(row)}} for row in records]
    for row in copies:
        row["messages"] = [{**row["messages"][0], "content": row["messages"][0]["content"] + " Please."}, row["messages"][1]]  # type: ignore[typeddict-item]
    assert checked("near_duplicates", [*records, *copies]) == checked("leaks", [*records, *copies]) == []  # type: ignore[list-item]


def test_families_that_training_keeps_together_are_no_leak() -> None:
    records = [ask(f"{how} question {n}?", f"This is the long answer to question number {n}.", family=f"f{n}") for n in range(40) for how in ("a", "another")]
    assert checked("leaks", records) == []


# ---- preferences


def ranked(*ranks: int, prompt: str = "Which?") -> Record:
    """A ranking of as many answers, always the same ones."""
    answers: Any = [[{"role": "assistant", "content": f"answer {number}"}] for number in range(len(ranks))]
    return {"prompt": [{"role": "user", "content": prompt}], "answers": answers, "ranks": list(ranks)}


def test_a_judgement_the_other_way_round_is_found_and_ties_and_other_prompts_are_none() -> None:
    assert rows("reversed_pairs", [ranked(1, 2), ranked(1, 1), ranked(2, 1, prompt="Which else?"), ranked(1, 2), ranked(2, 1)]) == [5]
    assert rows("reversed_pairs", [ranked(1, 2, 3), ranked(1, 2), ranked(1, 3, 2), ranked(2, 1)]) == [3, 4]


# ---- what a finding keeps


def test_row_numbers_are_short_in_the_file_and_come_back() -> None:
    found = Finding(check="x", gravity="wrong", title="X", sentence="X.", count=6, of=9, rows=[1, 2, 3, 5, 8, 9])
    assert json.loads(found.model_dump_json())["rows"] == "1-3,5,8-9"
    assert Finding.model_validate_json(found.model_dump_json()) == found


def test_beyond_a_bound_only_the_first_row_numbers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.data.checks.ROWS_KEPT", 3)
    for name, records in (("empty_answers", [ask(str(n), "") for n in range(9)]), ("exact_duplicates", [ask("a", "b")] * 10)):
        (found,) = checked(name, records)
        assert (found.count, len(found.rows), found.rows_are_whole) == (9, 3, False)
        assert len(found.others) in (0, 3)


def test_answers_to_be_compared_are_read_too() -> None:
    turns = [[{"role": "assistant", "content": text}] for text in ("Write to a.b@mail.de", "")]
    record: Any = {"prompt": [{"role": "user", "content": "Who?"}], "answers": turns, "ranks": [1, 2]}
    assert rows("personal_data", [record]) == rows("empty_answers", [record]) == [1]
    assert checked("role_order", [record]) == checked("contradictions", [record] * 2) == []
    mended = all_checks()["personal_data"](name="personal_data").mender(checked("personal_data", [record])[0])(Row(1, record))
    assert mended["answers"][0][0]["content"] == "Write to [e-mail]"  # type: ignore[index,typeddict-item]
