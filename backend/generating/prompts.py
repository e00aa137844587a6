"""What a writer is asked, and what its answer holds.

Self-Instruct (Wang et al. 2023, arXiv:2212.10560, tables 5 to 8) goes in three steps: new instructions after a list of
others; is it a classification task; an example of it, output first for classification so that the labels come out
balanced. Alpaca (Taori et al. 2023) asks for all at once. The forms are theirs, the wording and the examples are ours.

Every prompt is a text that breaks off where the writer goes on. Tried with the starter model (SmolLM2-135M-Instruct,
temperature 0.7, top-p 0.9), six prompts of each form: going on with the bare list it wrote 34 items, nearly all of them
instructions; asked in a chat turn for new tasks it answered the examples, repeated them or spoke of itself in five of six.
With answers it is the other way round: going on with a list of examples it mostly repeated the input, asked in a chat
turn it did the task. So lists are gone on with, and answers are asked for (which base models need changed). Chat models
behind an endpoint are told to go on with the text.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from backend.generating.tasks import Task

MOST_LISTED = 16  # a list of tasks ends here, as in the paper


class Completion(NamedTuple):
    """How a writer went on."""

    text: str
    is_cut_off: bool  # it reached the longest answer allowed, so its end is half a thought


class Prompt(NamedTuple):
    """A text to go on with, and where to stop."""

    text: str
    stops: tuple[str, ...]


class Instance(NamedTuple):
    """One example of an instruction."""

    input: str
    output: str


# ---- new instructions ------------------------------------------------------------------------------------------------


def ask_for_instructions(shown: Sequence[str]) -> Prompt:
    """A list of tasks, to be gone on with."""
    listed = "".join(f"{number}. {one_line(instruction)}\n" for number, instruction in enumerate(shown, 1))
    return Prompt(f"Come up with a series of tasks:\n\n{listed}{len(shown) + 1}.", (f"\n{MOST_LISTED + 1}.", "\n\n\n"))


def parse_instructions(said: Completion) -> list[str]:
    """The items of a list gone on with. An item that was cut off is dropped; what is no item ends the list."""
    lines = [line.strip() for line in said.text.strip().splitlines() if line.strip()]
    if said.is_cut_off:
        lines = lines[:-1]
    items: list[str] = []
    for number, line in enumerate(lines):
        item = re.match(r"(?:\d{1,3}\s*[.):]|[-*\u2022])\s*(.*)", line)
        if number and not item:
            break  # a remark after the list, or the answer to its last item
        items.append(item[1].strip() if item else line)
    return [item for item in items if item]


# ---- classification or not -------------------------------------------------------------------------------------------

_KINDS = (
    ("Is this restaurant review positive or negative?", "Yes"),
    ("Write a short thank-you note to a neighbour.", "No"),
    ("Decide whether the two sentences mean the same. Answer yes or no.", "Yes"),
    ("Explain why leaves change colour in autumn.", "No"),
    ("Tell which language the sentence is written in: English, French or German.", "Yes"),
    ("Sort the message into one of these folders: bills, family, work.", "Yes"),
    ("Shorten the paragraph to one sentence.", "No"),
    ("Give three tips for sleeping better.", "No"),
)


def ask_for_kind(instruction: str) -> Prompt:
    """Whether an instruction is a classification task: one whose answer is one of a few labels."""
    shown = "".join(f"Task: {task}\nClassification: {answer}\n\n" for task, answer in _KINDS)
    question = "Is the task a classification task, so that its answer is one of a few labels?"
    return Prompt(f"{question}\n\n{shown}Task: {one_line(instruction)}\nClassification:", ("\n",))


def parse_kind(said: Completion) -> bool:
    """Yes, if the answer begins so."""
    return said.text.strip().casefold().startswith("yes")


# ---- instances -------------------------------------------------------------------------------------------------------

NO_INPUT, OUTPUT_MARK = "none", "\nOutput:"
_EXAMPLES = (
    Task("Put the names into alphabetical order.", "Tom, Anna, Zoe, Ben", "Anna, Ben, Tom, Zoe", False),
    Task("Name three uses of baking soda.", "", "Cleaning a sink, making dough rise, and taking smells out of a fridge.", False),
    Task("Turn the sentence into the past tense.", "She walks to school and sings.", "She walked to school and sang.", False),
    Task("Write a wish for somebody's birthday.", "", "Happy birthday! May the new year bring you much to laugh about.", False),
    Task("Explain what a compass is for.", "", "A compass shows where north is, so that one can find one's way.", False),
)
_LABELLED = (
    ("Is this restaurant review positive or negative?", (
        ("Negative", "The soup was cold and nobody came to take our order for half an hour."),
        ("Positive", "Friendly people, fresh bread, and the best lasagne in town."),
    )),
    ("Tell which language the sentence is written in: English, French or German.", (
        ("German", "Wo ist der n\u00e4chste Bahnhof?"), ("English", "The train leaves at nine."), ("French", "Il fait beau ce matin."),
    )),
)  # fmt: skip


def ask_for_instance(instruction: str, seeds: Sequence[Task]) -> Prompt:
    """An example of a task, input first. `seeds` show how the user's own answers are written."""
    shown = "".join(_input_first(task) for task in (*_EXAMPLES, *seeds))
    head = "Write an example of each task: the input it works on, or none, and the output.\n\n"
    return Prompt(f"{head}{shown}Task: {one_line(instruction)}\nInput:", ("\nTask:", "\n\n\n"))


def parse_instance(said: Completion) -> list[Instance]:
    """The example, if there is an output."""
    given, mark, output = said.text.partition(OUTPUT_MARK)
    if not mark:
        return []
    return [Instance(_without_none(given), output.partition("\nInput:")[0].partition(OUTPUT_MARK)[0].strip())]


def parse_input(said: Completion) -> str:
    """What stands before the output; nothing where it was cut off."""
    return "" if said.is_cut_off else _without_none(said.text.partition(OUTPUT_MARK)[0])


def ask_for_labelled_instances(instruction: str) -> Prompt:
    """Examples of a classification task, the label first."""
    shown = ""
    for task, examples in _LABELLED:
        shown += f"Task: {task}\n" + "".join(f"Label: {label}\nInput: {text}\n" for label, text in examples) + "\n"
    head = "Write examples of each classification task: for every label, an input that deserves it.\n\n"
    return Prompt(f"{head}{shown}Task: {one_line(instruction)}\nLabel:", ("\nTask:", "\n\n\n"))


def parse_labelled_instances(said: Completion) -> list[Instance]:
    """Every whole pair of label and input; one that was cut off is dropped where there are others."""
    found = []
    for part in re.split(r"(?:^|\n)Label:", "Label:" + said.text)[1:]:
        label, mark, text = part.partition("\nInput:")
        if mark:
            found.append(Instance(_without_none(text.partition(OUTPUT_MARK)[0]), label.strip()))
    return found[:-1] if said.is_cut_off and len(found) > 1 else found


# ---- Alpaca's one pass -----------------------------------------------------------------------------------------------


def ask_for_tasks(shown: Sequence[Task]) -> Prompt:
    """Whole tasks, to be gone on with."""
    head = (
        "Come up with a list of diverse tasks for an assistant that reads and writes text. Vary the verbs and the kinds of task; "
        "write the instructions as questions or as commands, in one or two sentences; give a realistic input of at most 100 words "
        f"where the task needs one, and {NO_INPUT} where it does not; answer in at most 100 words.\n\nList of tasks:\n"
    )
    listed = "".join(
        f"###\n{number}. Instruction: {one_line(task.instruction)}\n{number}. Input: {task.input or NO_INPUT}\n{number}. Output: {task.output}\n"
        for number, task in enumerate(shown, 1)
    )
    return Prompt(f"{head}{listed}###\n{len(shown) + 1}. Instruction:", (f"\n{MOST_LISTED + 1}. Instruction:",))


def parse_tasks(said: Completion) -> list[Task]:
    """Every task that has an instruction, an input and an output; the last is dropped if it was cut off."""
    parts = re.split(r"\n\s*#{2,}\s*", "\n###Instruction:" + said.text)
    parts = parts[:-1] if said.is_cut_off else parts
    return [task for part in parts if (task := _parse_task(part))]


def _parse_task(part: str) -> Task | None:
    found = re.search(r"(?:\d+\.\s*)?Instruction:(.*?)\n(?:\d+\.\s*)?Input:(.*?)\n(?:\d+\.\s*)?Output:(.*)", part, re.DOTALL)
    if not found or not found[1].strip():
        return None
    return Task(found[1].strip(), _without_none(found[2]), found[3].strip(), False)


# ---- pieces ----------------------------------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """A text on one line, as a list needs it."""
    return " ".join(text.split())


def _input_first(task: Task) -> str:
    return f"Task: {one_line(task.instruction)}\nInput: {task.input or NO_INPUT}\nOutput: {task.output}\n\n"


def _without_none(text: str) -> str:
    """An input; empty where the writer said that none is needed, in whichever words."""
    text = text.strip()
    bare = re.sub(r"[\W_]+", "", text.casefold())
    return "" if bare in ("", "no", "none", "noinput", "na", "notneeded", "noinputneeded", "noneneeded") else text
