"""What the columns of a data set mean.

    mapping = guess_mapping(sample_rows(source))     which column plays which part; the user may correct it
    record = to_record(row.values, mapping)          what is learnt from: a conversation or a text

Every shape ends in one of two records, {"messages": [{"role", "content"}, ...]} or {"text": ...}. Texts are kept
character for character; a row that does not fit is a `RowProblem`, never quietly mended.
"""

import math
import re
from collections.abc import Callable, Iterator
from itertools import takewhile
from os.path import commonprefix
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator, model_validator

from backend.data.records import Message, Record, RecordKind
from backend.errors import UserError
from backend.settings import Settings

Shape = Literal["alpaca", "prompt_completion", "messages", "sharegpt", "preferences", "unpaired", "text"]


class Role(NamedTuple):
    """A part that a column can play in a shape."""

    required: bool
    help: str


ROLES: dict[Shape, dict[str, Role]] = {
    "alpaca": {
        "instruction": Role(True, "What is asked for."),
        "input": Role(False, "What the instruction is about; follows it on a new line where there is one."),
        "output": Role(True, "The answer to learn."),
        "system": Role(False, "How the assistant should behave."),
        "history": Role(False, "Earlier turns: a list of [question, answer] pairs."),
    },
    "prompt_completion": {
        "prompt": Role(True, "What the model is given: a text, or a list of messages."),
        "completion": Role(True, "The answer to learn: a text, or a list of messages."),
        "system": Role(False, "How the assistant should behave."),
    },
    "messages": {"messages": Role(True, "A list of turns, each with a role and a content.")},
    "sharegpt": {
        "conversations": Role(True, "A list of turns, each with from and value."),
        "system": Role(False, "How the assistant should behave."),
    },
    "preferences": {
        "prompt": Role(False, "What was asked: a text, or a list of turns. None: it is what both answers begin with."),
        "chosen": Role(True, "The better answer: a text, a turn, or a list of turns."),
        "rejected": Role(True, "The worse answer, likewise."),
        "margin": Role(False, "How much better it is: a number."),
        "system": Role(False, "How the assistant should behave."),
    },
    "unpaired": {
        "prompt": Role(True, "What was asked: a text, or a list of turns."),
        "completion": Role(True, "An answer to it: a text, a turn, or a list of turns."),
        "label": Role(True, "Whether the answer is good: true or false."),
        "system": Role(False, "How the assistant should behave."),
    },
    "text": {"text": Role(True, "A text to go on from, as it is.")},
}


class Mapping(Settings):
    """Which column plays which part. `columns` goes from role to column name; roles without a column are left out."""

    shape: Shape = Field(title="Shape", description="How the rows are written: decides which columns are needed.")
    columns: dict[str, str] = Field(title="Columns", description="Which column plays which part.")

    @field_validator("columns", mode="before")
    @classmethod
    def _leave_out_unused(cls, columns: Any) -> Any:
        return {role: column for role, column in columns.items() if column} if isinstance(columns, dict) else columns

    @model_validator(mode="after")
    def _fits_the_shape(self) -> "Mapping":
        roles = ROLES[self.shape]
        missing = [role for role, (required, _) in roles.items() if required and role not in self.columns]
        unknown = [role for role in self.columns if role not in roles]
        if missing:
            raise ValueError(f"The shape {self.shape} needs a column for {' and for '.join(missing)}. Choose one.")
        if unknown:
            raise ValueError(f"The shape {self.shape} has no {' or '.join(unknown)}. Choose from: {', '.join(roles)}.")
        return self

    @property
    def record(self) -> RecordKind:
        """The kind of record its rows become."""
        kinds: dict[str, RecordKind] = {"text": "text", "preferences": "preferences", "unpaired": "preferences"}
        return kinds.get(self.shape, "messages")


class RowProblem(Exception):
    """Why a row cannot be learnt from. `reason` goes on after "Row 14 of cats.csv ..."."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_mapping(shape: str, columns: dict[str, str | None]) -> Mapping:
    """A mapping from the choices on a form. Raises `UserError` naming what is missing."""
    try:
        return Mapping.model_validate({"shape": shape, "columns": columns})
    except ValidationError as error:
        raise UserError(*(problem["msg"].removeprefix("Value error, ") for problem in error.errors())) from error


def guess_mapping(rows: list[dict[str, Any]]) -> Mapping | None:
    """The likeliest mapping, from the names of the columns and what is in them; None where nothing is likely.

    Up to 200 rows are looked at.
    """
    columns = _Columns(rows[:200])
    for guess in (_guess_preferences, _guess_unpaired, _guess_turns, _guess_alpaca, _guess_prompt_completion, _guess_text):
        if mapping := guess(columns):
            return mapping
    return None


def to_record(values: dict[str, Any], mapping: Mapping) -> Record:
    """The record a row becomes. Raises `RowProblem` where it cannot become one."""
    return _RECORDS[mapping.shape](values, mapping.columns)


# ---- guessing --------------------------------------------------------------------------------------------------------

_NAMES: dict[str, tuple[str, ...]] = {
    "instruction": ("instruction", "instructions", "instruct"),
    "input": ("input", "context"),
    "output": ("output", "response", "answer", "completion", "target", "outputs", "expected_output"),
    "prompt": ("prompt", "question", "query", "input", "inputs", "user", "human", "source", "problem", "request"),
    "completion": (
        "completion", "response", "answer", "output", "outputs", "target", "targets", "assistant", "reply", "solution",
        "answers", "responses", "completions", "gpt", "bot",
    ),
    "system": ("system", "system_prompt", "system_message"),
    "history": ("history",),
    "text": ("text", "content", "document", "body", "passage"),
}  # fmt: skip


class _Columns:
    """The columns of some rows: their names, and what kind of thing is mostly in them."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._values: dict[str, list[Any]] = {}
        for row in rows:
            for name, value in row.items():
                if value is not None:
                    self._values.setdefault(name, []).append(value)

    def named(self, name: str) -> str | None:
        """The column of that name, as it is written: `System Prompt` for `system_prompt`."""
        for column in self._values:
            if column.strip().casefold().replace(" ", "_").replace("-", "_") == name:
                return column
        return None

    def playing(self, role: str, *, turns: bool = False) -> str | None:
        """The column whose name suits the role and that mostly holds texts (or lists of turns)."""
        candidates = map(self.named, _NAMES[role])
        suits = self.speaker_key if turns else self.is_text
        return next((column for column in candidates if column and suits(column)), None)

    def texts(self) -> list[str]:
        return [column for column in self._values if self.is_text(column)]

    def is_text(self, column: str) -> bool:
        values = self._values[column]
        return sum(isinstance(value, str) for value in values) >= len(values) / 2

    def is_true_or_false(self, column: str) -> bool:
        return all(_plain(value) in ("true", "false") for value in self._values[column])

    def turns(self) -> Iterator[tuple[str, str]]:
        """Each column of turns, with the key that says who speaks: `role` or `from`."""
        for column in self._values:
            if key := self.speaker_key(column):
                yield column, key

    def speaker_key(self, column: str) -> Literal["role", "from"] | None:
        for value in self._values[column]:
            if isinstance(value, list) and value and isinstance(value[0], dict):
                if {"role", "content"} <= value[0].keys():
                    return "role"
                if {"from", "value"} <= value[0].keys():
                    return "from"
        return None


def _guess_preferences(columns: _Columns) -> Mapping | None:
    chosen, rejected = columns.named("chosen"), columns.named("rejected")
    if not (chosen and rejected):
        return None
    prompt = columns.named("conversations") or columns.playing("prompt", turns=True) or columns.playing("prompt") or columns.playing("instruction")
    return _mapping(columns, "preferences", prompt=prompt, chosen=chosen, rejected=rejected, margin=columns.named("margin"))


def _guess_unpaired(columns: _Columns) -> Mapping | None:
    """As TRL calls it: one answer, and whether it is good."""
    prompt, completion = (columns.playing(role, turns=True) or columns.playing(role) for role in ("prompt", "completion"))
    label = columns.named("label")
    if not (prompt and completion and label and columns.is_true_or_false(label)):
        return None
    return _mapping(columns, "unpaired", prompt=prompt, completion=completion, label=label)


def _guess_turns(columns: _Columns) -> Mapping | None:
    prompt, completion = columns.playing("prompt", turns=True), columns.playing("completion", turns=True)
    if prompt and completion:
        return Mapping(shape="prompt_completion", columns={"prompt": prompt, "completion": completion})
    for column, speaker in columns.turns():
        if speaker == "from":
            return _mapping(columns, "sharegpt", conversations=column)
        return Mapping(shape="messages", columns={"messages": column})
    return None


def _guess_alpaca(columns: _Columns) -> Mapping | None:
    instruction, output = columns.playing("instruction"), columns.playing("output")
    if not (instruction and output):
        return None
    history = columns.named("history")
    return _mapping(
        columns, "alpaca", instruction=instruction, input=columns.playing("input"), output=output, history=history
    )


def _guess_prompt_completion(columns: _Columns) -> Mapping | None:
    prompt = columns.playing("prompt") or columns.playing("instruction")
    completion = columns.playing("completion")
    if not (prompt and completion):
        return None
    return _mapping(columns, "prompt_completion", prompt=prompt, completion=completion)


def _guess_text(columns: _Columns) -> Mapping | None:
    texts = columns.texts()
    text = columns.playing("text") or (texts[0] if len(texts) == 1 else None)
    return Mapping(shape="text", columns={"text": text}) if text else None


def _mapping(columns: _Columns, shape: Shape, **chosen: str | None) -> Mapping:
    return Mapping.model_validate({"shape": shape, "columns": {**chosen, "system": columns.playing("system")}})


# ---- records ---------------------------------------------------------------------------------------------------------

_SPEAKERS: dict[str, Literal["system", "user", "assistant"]] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "chatgpt", "bing"), "assistant"),
}
_KINDS = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


def _alpaca(values: dict[str, Any], columns: dict[str, str]) -> Record:
    """Alpaca as LLaMA-Factory reads it: the input follows the instruction on a new line."""
    instruction = _text(values, columns["instruction"])
    about = _optional_text(values, columns.get("input"))
    turns = _history(values, columns.get("history"))
    turns.append(_user(f"{instruction}\n{about}" if about else instruction))
    turns.append(_assistant(_text(values, columns["output"])))
    return conversation(_system(values, columns) + turns)


def _prompt_completion(values: dict[str, Any], columns: dict[str, str]) -> Record:
    prompt = _said(values, columns["prompt"], by="user")
    completion = _said(values, columns["completion"], by="assistant")
    return conversation(_system(values, columns) + prompt + completion)


def _messages(values: dict[str, Any], columns: dict[str, str]) -> Record:
    return conversation(_turns(values, columns["messages"]))


def _sharegpt(values: dict[str, Any], columns: dict[str, str]) -> Record:
    turns = _turns(values, columns["conversations"], speaker="from", content="value")
    return conversation(_system(values, columns) + turns)


def _plain_text(values: dict[str, Any], columns: dict[str, str]) -> Record:
    return {"text": _text(values, columns["text"])}


def _preference(values: dict[str, Any], columns: dict[str, str]) -> Record:
    prompt, chosen, rejected = pair_of(values, columns)
    if chosen == rejected:
        raise RowProblem("has two answers that are the same")
    record: Record = {"prompt": prompt, "answers": [chosen, rejected], "ranks": [1, 2]}
    margin = values.get(columns.get("margin", ""))
    return record if margin in (None, "") else {**record, "margin": _number(margin)}  # type: ignore[typeddict-item,return-value]


def _unpaired(values: dict[str, Any], columns: dict[str, str]) -> Record:
    """A ranking of one answer: a bad one stands second, behind one that nobody gave."""
    prompt = _system(values, columns) + turns_in(values, columns["prompt"], by="user")
    answer = turns_in(values, columns["completion"], by="assistant")
    conversation(prompt + answer)
    return {"prompt": prompt, "answers": [answer], "ranks": [1 if _is_good(values.get(columns["label"])) else 2]}


def pair_of(values: dict[str, Any], columns: dict[str, str]) -> tuple[list[Message], list[Message], list[Message]]:
    """(prompt, chosen, rejected) as TRL and LLaMA-Factory write them, the prompt apart or as what both conversations begin with.

    `columns` are those of the shape "preferences". Raises `RowProblem`.
    """
    chosen, rejected = (turns_in(values, columns[side], by="assistant") for side in ("chosen", "rejected"))
    if "prompt" in columns:
        prompt = turns_in(values, columns["prompt"], by="user")
    else:
        prompt, chosen, rejected = _parted_where_they_part(chosen, rejected)
    prompt = _system(values, columns) + prompt
    for answer in (chosen, rejected):
        conversation(prompt + answer)
    return prompt, chosen, rejected


def _parted_where_they_part(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], list[Message], list[Message]]:
    """(what two conversations begin with, how each goes on). Texts are parted between two words, as TRL's `extract_prompt` does."""
    if len(chosen) == len(rejected) == 1:
        better, worse = chosen[0]["content"], rejected[0]["content"]
        if not better.startswith(_HUMAN):
            return _texts_parted(better, worse)
        chosen, rejected = _dialogue(better), _dialogue(worse)
    shared = sum(1 for _ in takewhile(lambda turns: turns[0] == turns[1], zip(chosen[:-1], rejected[:-1], strict=False)))
    if not shared:
        raise RowProblem(_BEGIN_APART)
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _texts_parted(better: str, worse: str) -> tuple[list[Message], list[Message], list[Message]]:
    prompt = _WHOLE_WORDS.match(commonprefix([better, worse]))[0]  # type: ignore[index]  # it matches nothing too
    if not prompt.strip():
        raise RowProblem(_BEGIN_APART)
    answers = better[len(prompt) :].strip(), worse[len(prompt) :].strip()
    if not all(answers):
        raise RowProblem("has an answer that says nothing beyond what both begin with")
    return [_user(prompt.strip())], [_assistant(answers[0])], [_assistant(answers[1])]


def _dialogue(text: str) -> list[Message]:
    """The turns of a text as hh-rlhf writes them: "\\n\\nHuman: ...\\n\\nAssistant: ..."."""
    _, *spoken = _SPEAKER.split(text)
    return [_turn({"role": who, "content": said.strip()}, "role", "content") for who, said in zip(spoken[::2], spoken[1::2], strict=True)]


_WHOLE_WORDS = re.compile(r"(?s).*\s|")
_HUMAN = "\n\nHuman:"
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_BEGIN_APART = "has no prompt, and its two answers do not begin alike"


def turns_in(values: dict[str, Any], column: str, *, by: Literal["user", "assistant"]) -> list[Message]:
    """What a column says: a text said by one, one turn, or a list of turns; turns with role and content, or with from and
    value. Raises `RowProblem`."""
    value = values.get(column)
    turns = [value] if isinstance(value, dict) else value
    if not isinstance(turns, list):
        return _said(values, column, by=by)
    is_sharegpt = any(isinstance(turn, dict) and "from" in turn for turn in turns)
    keys = {"speaker": "from", "content": "value"} if is_sharegpt else {}
    return _turns({column: turns}, column, **keys)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise RowProblem(f'has "{str(value)[:40]}" where the margin should be a number') from None
    if not math.isfinite(number):
        raise RowProblem(f"has a margin of {number}")
    return number


def _is_good(label: Any) -> bool:
    good = {"true": True, "1": True, "false": False, "0": False}.get(_plain(label))
    if good is None:
        raise RowProblem(f'has "{str(label)[:40]}" where the label should be true or false')
    return good


def _plain(value: Any) -> str:
    return str(value).strip().casefold()


_RECORDS: dict[Shape, Callable[[dict[str, Any], dict[str, str]], Record]] = {
    "alpaca": _alpaca,
    "prompt_completion": _prompt_completion,
    "messages": _messages,
    "sharegpt": _sharegpt,
    "preferences": _preference,
    "unpaired": _unpaired,
    "text": _plain_text,
}


def conversation(messages: list[Message]) -> Record:
    """A conversation as models are taught it: perhaps system, then user and assistant in turn, the answer last.

    Raises `RowProblem` for turns in another order.
    """
    roles = [message["role"] for message in messages]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if "assistant" not in spoken:
        raise RowProblem("has no assistant turn")
    if "system" in spoken:
        raise RowProblem("has a system turn that is not the first")
    if spoken[0] == "assistant":
        raise RowProblem("begins with the assistant; a user turn comes first")
    for earlier, later in zip(spoken, spoken[1:], strict=False):
        if earlier == later:
            raise RowProblem(f"has two {later} turns in a row")
    if spoken[-1] == "user":
        raise RowProblem("ends with a user turn that has no answer")
    return {"messages": messages}


def _said(values: dict[str, Any], column: str, *, by: Literal["user", "assistant"]) -> list[Message]:
    """One side of a pair: a text said by one, or (as TRL has it) a list of messages."""
    if isinstance(values.get(column), list):
        return _turns(values, column)
    return [{"role": by, "content": _text(values, column)}]


def _turns(values: dict[str, Any], column: str, *, speaker: str = "role", content: str = "content") -> list[Message]:
    turns = values.get(column)
    if turns is None or turns == []:
        raise RowProblem(f'has no turns in "{column}"')
    if not isinstance(turns, list):
        raise RowProblem(f'has {_kind(turns)} where "{column}" should be a list of turns')
    return [_turn(turn, speaker, content) for turn in turns]


def _turn(turn: Any, speaker: str, content: str) -> Message:
    if not isinstance(turn, dict):
        raise RowProblem(f"has {_kind(turn)} where a turn should be")
    who = turn.get(speaker)
    role = _SPEAKERS.get(who.casefold()) if isinstance(who, str) else None
    if role is None:
        raise RowProblem(f'has a turn without "{speaker}"' if who is None else f'has an unknown role "{str(who)[:40]}"')
    said = _joined_parts(turn.get(content))
    if role == "system" and said == "":  # said on purpose: some templates put in a system turn of their own otherwise
        return {"role": role, "content": ""}
    if isinstance(said, str) and not said.strip():
        raise RowProblem(f"has an empty {role} turn")
    if not isinstance(said, str):
        raise RowProblem(f"has {_kind(said)} where the {role} turn should have text")
    return {"role": role, "content": said}


def _joined_parts(content: Any) -> Any:
    """OpenAI's list of parts as one text; anything else as it is."""
    if not isinstance(content, list):
        return content
    for part in content:
        if not (isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            raise RowProblem("has a turn with a part that is not text, such as a picture")
    return "".join(part["text"] for part in content)


def _history(values: dict[str, Any], column: str | None) -> list[Message]:
    pairs = values.get(column) if column else None
    if pairs is None or pairs == "":
        return []
    if not (isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)):
        raise RowProblem(f'has something else than [question, answer] pairs in "{column}"')
    if not all(isinstance(said, str) and said.strip() for pair in pairs for said in pair):
        raise RowProblem(f'has a turn without text in "{column}"')
    return [turn for question, answer in pairs for turn in (_user(question), _assistant(answer))]


def _system(values: dict[str, Any], columns: dict[str, str]) -> list[Message]:
    text = _optional_text(values, columns.get("system"))
    return [{"role": "system", "content": text}] if text else []


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _text(values: dict[str, Any], column: str) -> str:
    text = values.get(column)
    if text is None:
        raise RowProblem(f'has no "{column}" text')
    if not isinstance(text, str):
        raise RowProblem(f'has {_kind(text)} where "{column}" should be text')
    if not text.strip():
        raise RowProblem(f'has an empty "{column}"')
    return text


def _optional_text(values: dict[str, Any], column: str | None) -> str:
    """The text, or "" where there is none."""
    text = values.get(column) if column else None
    if text is None or (isinstance(text, str) and not text.strip()):
        return ""
    return _text(values, column)


def _kind(value: Any) -> str:
    return "nothing" if value is None else _KINDS.get(type(value), f"a {type(value).__name__}")
