"""Prompts break off where the writer goes on, and whatever it says is read without falling over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.generating import prompts
from backend.generating.prompts import Completion, Instance
from backend.generating.tasks import Task

SORT = Task("Put the numbers in order.", "3 1 2", "1 2 3", False)
FRUIT = Task("Name a\nfruit.", "", "An apple.", False)


def whole(text: str) -> Completion:
    return Completion(text, is_cut_off=False)


def cut(text: str) -> Completion:
    return Completion(text, is_cut_off=True)


def test_a_list_of_tasks_ends_with_the_next_number() -> None:
    prompt = prompts.ask_for_instructions(["Name a\n fruit.", "Sing."])
    assert prompt.text.endswith("1. Name a fruit.\n2. Sing.\n3.")
    assert "\n17." in prompt.stops


@pytest.mark.parametrize(
    ("said", "items"),
    [
        (" Name a bird.\n10. Sing a song.\n11. Tell a joke.", ["Name a bird.", "Sing a song.", "Tell a joke."]),
        ("9. Name a bird.\n10) Sing.\n- Tell a joke.\n\n• Wait.", ["Name a bird.", "Sing.", "Tell a joke.", "Wait."]),
        ("Name a bird.\nAnswer: a wren.\n10. Sing.", ["Name a bird."]),  # what is no item ends the list
        ("Name a bird.\n10.\n11. ", ["Name a bird."]),
        ("", []),
    ],
)
def test_the_items_of_a_list_are_found(said: str, items: list[str]) -> None:
    assert prompts.parse_instructions(whole(said)) == items


def test_the_last_item_of_a_list_that_was_cut_off_is_dropped() -> None:
    assert prompts.parse_instructions(cut("Name a bird.\n10. Sing a")) == ["Name a bird."]
    assert prompts.parse_instructions(cut("Name a")) == []


def test_only_an_answer_that_begins_with_yes_makes_a_classification_task() -> None:
    assert prompts.ask_for_kind("Is it\nspam?").text.endswith("Task: Is it spam?\nClassification:")
    assert [prompts.parse_kind(whole(said)) for said in (" Yes", "yes.", " No", "", "Maybe yes")] == [True, True, False, False, False]


def test_an_example_has_its_input_first() -> None:
    prompt = prompts.ask_for_instance("Name a bird.", [SORT])
    assert "Task: Put the numbers in order.\nInput: 3 1 2\nOutput: 1 2 3\n\n" in prompt.text
    assert prompt.text.endswith("Task: Name a bird.\nInput:")
    assert prompts.parse_instance(whole(" 3 1\nOutput: 1 3\nInput: 4")) == [Instance("3 1", "1 3")]
    assert prompts.parse_instance(whole(" (None needed.)\nOutput: A wren.\nOutput: A wren.")) == [Instance("", "A wren.")]
    assert prompts.parse_instance(whole("A wren.")) == []


def test_an_input_that_was_cut_off_is_none() -> None:
    assert prompts.parse_input(whole(" a b\nOutput:")) == "a b"
    assert prompts.parse_input(whole(" none")) == prompts.parse_input(cut(" a b c")) == ""


def test_examples_of_a_classification_have_their_label_first() -> None:
    assert prompts.ask_for_labelled_instances("Spam or not?").text.endswith("Task: Spam or not?\nLabel:")
    said = " Spam\nInput: Win a car!\nLabel: Not spam\nInput: See you at six.\nLabel: Sp"
    assert prompts.parse_labelled_instances(whole(said)) == [Instance("Win a car!", "Spam"), Instance("See you at six.", "Not spam")]
    assert prompts.parse_labelled_instances(cut(" Spam\nInput: Win\nLabel: Not spam\nInput: See")) == [Instance("Win", "Spam")]
    assert prompts.parse_labelled_instances(cut(" Spam\nInput: Win a")) == [Instance("Win a", "Spam")]
    assert prompts.parse_labelled_instances(whole("neither")) == []


def test_whole_tasks_stand_between_hashes() -> None:
    prompt = prompts.ask_for_tasks([SORT, FRUIT])
    assert "###\n2. Instruction: Name a fruit.\n2. Input: none\n2. Output: An apple.\n###\n3. Instruction:" in prompt.text
    said = " Name a bird.\n3. Input: <noinput>\n3. Output: A wren.\nIt sings.\n###\n4. Instruction: Sort.\nInput: 2 1\nOutput: 1 2\n###\n5. Instruction: Half"
    assert prompts.parse_tasks(whole(said)) == [Task("Name a bird.", "", "A wren.\nIt sings.", False), Task("Sort.", "2 1", "1 2", False)]


def test_a_whole_task_that_was_cut_off_is_dropped() -> None:
    said = " Name a bird.\n3. Input: none\n3. Output: A wren.\n###\n4. Instruction: Sort.\n4. Input: 2 1\n4. Output: 1"
    assert prompts.parse_tasks(cut(said)) == [Task("Name a bird.", "", "A wren.", False)]


@given(text=st.text() | st.lists(st.sampled_from(["\n", "Input:", "Output:", "Label:", "###", "1.", " a", "Instruction:"])).map("".join), is_cut_off=st.booleans())
def test_nothing_a_writer_says_is_a_fault(text: str, is_cut_off: bool) -> None:
    said = Completion(text, is_cut_off)
    assert all(item and "\n" not in item for item in prompts.parse_instructions(said))
    assert prompts.parse_kind(said) in (True, False)
    assert all(task.instruction for task in prompts.parse_tasks(said))
    assert len(prompts.parse_instance(said)) <= 1 and prompts.parse_labelled_instances(said) is not None
    assert isinstance(prompts.parse_input(said), str)
