"""The data sets that come along, each with a habit that can be told at a glance, and by a rule.

Three lines: 176 everyday questions whose answers all keep one visible form, and 24 held out.
In short: ... / Why: ... / Try this: ...
Short answers: 149 questions with a short answer that is preferred to a long-winded one, and 24 held out, in the explicit
form of TRL (prompt, chosen, rejected). The habit is that of the rule "at most 25 words".
"""

import re
from pathlib import Path

from backend.data.importing import import_file
from backend.data.readers import inspect, sample_rows
from backend.data.shapes import guess_mapping
from backend.data.versions import Card, Datasets

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "data"
THREE_LINES = FOLDER / "three_lines.jsonl"
HELD_OUT = FOLDER / "three_lines_heldout.jsonl"
SHORT_ANSWERS = FOLDER / "short_answers_preferences.jsonl"
SHORT_ANSWERS_HELD_OUT = FOLDER / "short_answers_heldout.jsonl"
MOST_WORDS = 25  # of a preferred answer; a rejected one has 45 to 80
FORM = re.compile(r"In short: \S.*\nWhy: \S.*\nTry this: \S.*")


def keeps_three_lines(answer: str) -> bool:
    """Whether an answer has the habit: exactly the three lines, in their order."""
    return FORM.fullmatch(answer.strip()) is not None


def import_starter(datasets: Datasets) -> Card:
    """The starter data as a data set of the workspace; the one there is if it was imported before."""
    source = inspect(THREE_LINES)
    mapping = guess_mapping(sample_rows(source))
    assert mapping is not None
    return import_file(datasets, source, mapping, name="three lines")
