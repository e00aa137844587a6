"""Template sets: the wordings in which a labelled table becomes instructions, one file per task.

    found = template_sets(workspace)
    found.sets["sentiment"].templates

A set is a TOML or JSON file in `assets/templates/`, or a user's own in `templates/` of the workspace; a new one is
found by listing the folder. A file that cannot be used is told and passed over.

    v = 1
    title = "Sentiment"
    task = "sentiment"
    cluster = "sentiment"                 tasks of one kind share it, for holding whole kinds of task out
    sentence = "Whether a text sounds pleased or not."

    [columns.text]                        what the task needs of a table, and how such columns are usually called
    help = "What somebody wrote."
    names = ["text", "review"]

    [columns.label]
    help = "The feeling."
    names = ["label"]
    label = true                          its values have names: `{label}` is the name, `{options}` lists them all

    [[label_names]]                       the first naming that knows every value found is used
    0 = "negative"
    1 = "positive"

    [words]                               what else stands in the wordings and is easily changed: `{tone}`
    tone = "tone of voice"

    [[templates]]
    name = "plain question"
    prompt = "Is this {options}?\\n\\n{text}"
    completion = "{label}"

    [[templates]]
    name = "write one"
    turned_around = true                  asks for what the table holds, given its label
    prompt = "Write a review that is {label}."
    completion = "{text}"

A set whose templates have no completion puts prompts into other words and keeps the answers.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from backend.data.templating.language import parse
from backend.errors import UserError
from backend.settings import Settings, sentences
from backend.workspace import Workspace, write_whole

FOLDER = Path(__file__).resolve().parents[3] / "assets" / "templates"
LARGEST_FILE = 2**20  # bytes; a set is text somebody wrote
MOST_COLUMNS, MOST_WORDS = 6, 3  # as many as the page has room for
OPTIONS = ("options", "options_list")  # the names of the labels: in a sentence, and one a line


class Part(Settings):
    """A part that a column of a table can play."""

    help: str = Field(title="Help", description="What stands in such a column.")
    names: tuple[str, ...] = Field((), title="Usual names", description="How such columns are often called.")
    label: bool = Field(False, title="Label", description="Whether it holds one of a few labels.")


class Template(Settings):
    """One wording. Without a completion, the row's own answer is kept."""

    name: str = Field(
        min_length=1, max_length=80, title="Name", description="What to call this wording; rows made by it carry the name."
    )
    prompt: str = Field(
        min_length=1,
        max_length=20_000,
        title="Prompt",
        description="What the model is asked. {column} stands for what is in that column.",
    )
    completion: str = Field("", max_length=20_000, title="Completion", description="The answer the model learns.")
    turned_around: bool = Field(
        False,
        title="Turned around",
        description="Gives the label and asks for the text, so that the task is learnt from both ends.",
    )

    @property
    def texts(self) -> dict[str, str]:
        return {"prompt": self.prompt, "completion": self.completion}


class TemplateSet(Settings):
    """The wordings of one task."""

    v: Literal[1] = 1
    title: str = Field(min_length=1, max_length=80, title="Title", description="What to call the set, to find it again.")
    task: str = Field(min_length=1, max_length=80, title="Task", description="What rows made by it teach.")
    cluster: str = Field(
        min_length=1, max_length=80, title="Cluster", description="The kind of task it is, for holding whole kinds out."
    )
    sentence: str = Field("", max_length=400, title="Sentence", description="What the task is, in one sentence.")
    columns: dict[str, Part] = Field(
        min_length=1, max_length=MOST_COLUMNS, title="Columns", description="What the task needs of a table."
    )
    label_names: tuple[dict[str, str], ...] = Field((), title="Label names", description="What the values of the label mean.")
    words: dict[str, str] = Field({}, max_length=MOST_WORDS, title="Words", description="What else can be put into the wordings.")
    templates: tuple[Template, ...] = Field(
        min_length=1, max_length=200, title="Templates", description="The wordings in which a row is written out."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> "TemplateSet":
        answered = {bool(template.completion.strip()) for template in self.templates}
        if len(answered) > 1:
            raise ValueError("some templates have a completion and some have none; either all have one, or none has")
        if sum(part.label for part in self.columns.values()) > 1:
            raise ValueError("two columns are marked as the label; mark one")
        name, count = Counter(template.name for template in self.templates).most_common(1)[0]
        if count > 1:
            raise ValueError(f"two templates are called {name!r}; give each a name of its own")
        return self

    @property
    def keeps_answers(self) -> bool:
        """Whether it puts prompts into other words and leaves the answers as they are."""
        return not self.templates[0].completion.strip()

    @property
    def label_part(self) -> str | None:
        """The part whose values have names."""
        return next((name for name, part in self.columns.items() if part.label), None)

    @property
    def names(self) -> list[str]:
        """What its templates can ask for in any table."""
        return [*self.columns, *self.words, *(OPTIONS if self.label_part else ())]


@dataclass(frozen=True)
class Found:
    """The sets there are, by id, and what is wrong with the files that are none."""

    sets: dict[str, TemplateSet]
    problems: list[str] = field(default_factory=list)


def template_sets(workspace: Workspace | None = None, *, folder: Path = FOLDER) -> Found:
    """The sets that come along, then the user's own, each by title."""
    found, problems = {}, []
    places = [("", folder), *([("own-", workspace.templates)] if workspace else [])]
    for mark, path in ((mark, path) for mark, place in places for path in _files(place)):
        try:
            found[f"{mark}{path.stem}"] = read_set(path)
        except UserError as error:
            problems += error.problems
    return Found(found, problems)


def read_set(path: Path) -> TemplateSet:
    """One set from its file. Raises `UserError` naming the file and all that is wrong with it."""
    try:
        templates = TemplateSet.model_validate(_values(path))
    except ValidationError as error:
        raise UserError(*sentences(error, within=path.name)) from error
    problems = list(_unreadable(templates, path.name))
    if problems:
        raise UserError(*problems)
    return templates


def save_set(workspace: Workspace, templates: TemplateSet) -> Path:
    """Keep a set in the workspace; one of the same title is replaced. Raises `UserError` where it cannot be written."""
    stem = re.sub(r"[^a-z0-9]+", "-", templates.title.casefold()).strip("-")[:60] or "templates"
    same = (path for path in _files(workspace.templates) if _title(path) == templates.title)
    path = next(same, None) or _unused(workspace.templates / f"{stem}.json")
    try:
        workspace.templates.mkdir(parents=True, exist_ok=True)
        written = json.dumps(templates.model_dump(exclude_defaults=True) | {"v": 1}, indent=2, ensure_ascii=False)
        write_whole(path.with_suffix(".json"), written + "\n")
        if path.suffix != ".json":
            path.unlink()
    except OSError as error:
        raise UserError(
            f'The templates "{templates.title}" cannot be saved ({error.strerror}). Is the workspace writable?'
        ) from error
    return path.with_suffix(".json")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.*") if path.suffix in (".toml", ".json") and not path.name.startswith("."))


def _title(path: Path) -> str | None:
    try:
        return read_set(path).title
    except UserError:
        return None


def _unused(path: Path) -> Path:
    """The path, or one beside it where another set lies already."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in range(2, 10_000))
    return path if not path.exists() else next(other for other in numbered if not other.exists())


def _values(path: Path) -> Any:
    """What is written in the file, as plain values."""
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST_FILE:
            raise UserError(
                f"The templates in {path.name} cannot be used: it is a link, or larger than 1 MB. Put a small file there."
            )
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"The templates in {path.name} cannot be read ({error}). Mend the file, or remove it.") from error


def _unreadable(templates: TemplateSet, file: str) -> Iterator[str]:
    """What is wrong with the wordings of a set. Which columns there are is known only once there is a table."""
    for template in templates.templates:
        for part, text in template.texts.items():
            try:
                parse(text, where=f'The {part} of template "{template.name}" in {file}')
            except UserError as error:
                yield from error.problems
