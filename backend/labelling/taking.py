"""What people said, taken away: as a data set to train on here, or as a file in the form another tool reads.

    taken = take(judged_items(labels, batch.id), form_named("trl-dpo"), TakingSettings(), held_out=prompts)
    taken.judged, taken.left_out       which items go, and which do not and why
    path = write(taken, form, workspace.exports, name=batch.id)
    card = save(take(judged, DATA_SET, TakingSettings()), datasets, name="first round", source={...})

A form says which outcomes it can hold and how an item becomes rows of it. Of a ranking the forms of TRL get a row for every
two answers of which one is better, one behind the other.
"""

import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import orjson
from pydantic import Field, ValidationError

from backend.data.records import Message
from backend.data.shapes import RowProblem
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.labelling.filters import FILTERS, FilterSettings, sieve
from backend.labelling.label_studio import PAIRS, RANKINGS, task_of
from backend.labelling.outcomes import Decided, Judged, ranks_of, records
from backend.settings import sentences

OUTCOMES: dict[Decided, str] = {
    "open": "nobody has said yet which is better",
    "disagreed": "people disagree, and nobody has settled it",
    "tie": "the answers are equally good",
    "both bad": "all answers are bad",
}  # what is said of items without a better answer
UNFIT = "does not fit the form"
EVERY_OUTCOME: frozenset[Decided] = frozenset(("ranked", "tie", "both bad", "disagreed", "open"))


class TakingSettings(FilterSettings):
    """Which items are taken away: those that pass the filters, and have an outcome that can be learnt from."""

    ties: bool = Field(
        False, title="Keep ties in a data set",
        description="KTO takes both answers of a tie for good ones. DPO and a reward model learn nothing from it and pass it over.",
    )
    both_bad: bool = Field(
        False, title="Keep “both bad” in a data set",
        description="KTO takes all these answers for bad ones. DPO and a reward model learn nothing from them and pass them over.",
    )


def parse_taking(values: dict[str, Any]) -> TakingSettings:
    """Settings from a form's plain values. Raises `UserError` naming every problem at once."""
    try:
        return TakingSettings.model_validate(values)
    except ValidationError as error:
        raise UserError(*sentences(error)) from error


class LeftOut(NamedTuple):
    """An item that is not taken: its number in the batch, from 1; `reason` goes on after "Item 14 ..."."""

    number: int
    why: str  # to count by
    reason: str


@dataclass(frozen=True)
class Taken:
    """What goes and what stays behind."""

    judged: list[Judged]
    left_out: list[LeftOut]

    @property
    def counts(self) -> dict[str, int]:
        """How many stay behind, by why; the most frequent first."""
        return dict(Counter(each.why for each in self.left_out).most_common())


class Form(ABC):
    """A form that labels are taken away in."""

    name: ClassVar[str]
    title: ClassVar[str]
    sentence: ClassVar[str]  # who reads it, and what is in it
    ending: ClassVar[str] = "jsonl"
    outcomes: ClassVar[frozenset[Decided]] = frozenset(("ranked",))
    is_filtered: ClassVar[bool] = True

    @abstractmethod
    def rows(self, judged: Judged) -> Iterable[dict[str, Any]]:
        """The rows of an item. Raises `RowProblem` where it does not fit."""

    def file(self, judged: Sequence[Judged]) -> Iterable[dict[str, Any]]:
        """The rows of all items that fit."""
        return chain.from_iterable(map(self.rows, judged))


class DataSetForm(Form):
    name, title = "data-set", "A data set to train on here"
    sentence = "A version of preferences: DPO, KTO and a reward model learn from it. A ranking stays one row."

    def rows(self, judged: Judged) -> Iterable[dict[str, Any]]:
        return map(dict, records([judged]))


class DpoForm(Form):
    name, title = "trl-dpo", "DPO: prompt, chosen, rejected (TRL, turns)"
    sentence = "For TRL's DPOTrainer and tools that read the same. Turns are put through the template of the model that is trained."

    def rows(self, judged: Judged) -> Iterable[dict[str, Any]]:
        prompt = judged.item.prompt
        return ({"prompt": prompt, "chosen": better, "rejected": worse} for better, worse in better_and_worse(judged))


class DpoTextForm(Form):
    name, title = "trl-dpo-text", "DPO: prompt, chosen, rejected (TRL, texts)"
    sentence = "For models without a chat template. Holds one question with one-turn answers, and no system prompt."

    def rows(self, judged: Judged) -> Iterable[dict[str, Any]]:
        prompt = _only_text(judged.item.prompt)
        return [
            {"prompt": prompt, "chosen": _only_text(better), "rejected": _only_text(worse)} for better, worse in better_and_worse(judged)
        ]


class RewardForm(Form):
    name, title = "trl-reward", "Reward model: chosen, rejected, margin (TRL)"
    sentence = (
        "For TRL's RewardTrainer: both conversations whole, the prompt at their beginning. The margin is how much better the "
        "better one was said to be, 1 to 3, and 0 where nobody said."
    )

    def rows(self, judged: Judged) -> Iterable[dict[str, Any]]:
        prompt, margin = judged.item.prompt, float(judged.outcome.margin or 0)
        return ({"chosen": prompt + better, "rejected": prompt + worse, "margin": margin} for better, worse in better_and_worse(judged))


class KtoForm(Form):
    name, title = "trl-kto", "KTO: prompt, completion, label (TRL)"
    sentence = "For TRL's KTOTrainer: each answer by itself, good where it was put first. Where all are bad, all are in it as bad."
    outcomes = frozenset(("ranked", "both bad"))

    def rows(self, judged: Judged) -> Iterable[dict[str, Any]]:
        prompt, candidates = judged.item.prompt, judged.item.candidates
        return [
            {"prompt": prompt, "completion": candidate.answer, "label": rank == 1}
            for candidate, rank in zip(candidates, ranks_of(judged), strict=True)
        ]


class LabelStudioForm(Form):
    name, title, ending = "label-studio", "Label Studio (tasks with annotations)", "json"
    sentence = (
        "Every item that passes the filters with every vote that stands, one annotation each; items nobody has voted on are tasks "
        "to do. Set the project up with the configuration below, then import the file. There all votes count as yours; whose each "
        "one was stands in its meta, and is read when it comes back."
    )
    outcomes = EVERY_OUTCOME

    def rows(self, judged: Judged) -> Iterable[dict[str, Any]]:
        return self.file([judged])

    def file(self, judged: Sequence[Judged]) -> Iterable[dict[str, Any]]:
        are_pairs = all(len(each.item.candidates) == 2 for each in judged)
        for each in judged:
            standing = [vote for vote in each.votes if not (vote.undone or vote.repeat)]
            yield task_of(each.item, standing, is_pair=are_pairs)


class RawForm(Form):
    name, title = "raw", "Everything (JSON Lines)"
    sentence = (
        "All that is known: every answer with how it was made; every vote with who cast it, on which sides the answers stood and "
        "when, those taken back too; what was settled. Nothing is filtered. It can be brought back here."
    )
    outcomes, is_filtered = EVERY_OUTCOME, False

    def rows(self, judged: Judged) -> Iterable[dict[str, Any]]:
        settlement = judged.settlement and asdict(judged.settlement)
        return [{
            "v": 1, "item": judged.number, "prompt": judged.item.prompt, "candidates": [asdict(each) for each in judged.item.candidates],
            "votes": [asdict(vote) for vote in judged.votes], "settlement": settlement, "outcome": asdict(judged.outcome),
        }]  # fmt: skip


DATA_SET = DataSetForm()
FORMS: tuple[Form, ...] = (DATA_SET, DpoForm(), DpoTextForm(), RewardForm(), KtoForm(), LabelStudioForm(), RawForm())


def form_named(name: str) -> Form:
    """Raises `UserError` where there is none."""
    for form in FORMS:
        if form.name == name:
            return form
    raise UserError(f'There is no form "{name}". Choose one of: {", ".join(form.name for form in FORMS)}.')


def better_and_worse(judged: Judged) -> Iterator[tuple[list[Message], list[Message]]]:
    """(better, worse) for every two answers of which one is better: K(K-1)/2 for a ranking of K without ties."""
    ranks, candidates = ranks_of(judged), judged.item.candidates
    for better in sorted(range(len(ranks)), key=ranks.__getitem__):
        for worse in sorted(range(len(ranks)), key=ranks.__getitem__):
            if ranks[better] < ranks[worse]:
                yield candidates[better].answer, candidates[worse].answer


def configuration(judged: Sequence[Judged]) -> str:
    """What a project of Label Studio is set up with, to show these items."""
    return RANKINGS if any(len(each.item.candidates) > 2 for each in judged) else PAIRS


def take(judged: Sequence[Judged], form: Form, settings: TakingSettings, *, held_out: Container[str] = ()) -> Taken:
    """Part what the form takes from what it does not: by outcome, by the filters, by whether it fits."""
    kept = _kept_outcomes(form, settings)
    decided = [each for each in judged if each.outcome.verdict in kept]
    left_out = [_undecided(each) for each in judged if each.outcome.verdict not in kept]
    if form.is_filtered:
        sifted = sieve([each.item for each in decided], settings, held_out=held_out)
        left_out += [LeftOut(decided[drop.number - 1].number, FILTERS[drop.filter], drop.reason) for drop in sifted.dropped]
        decided = [decided[number - 1] for number in sifted.numbers]
    unfit = {each.number: reason for each in decided if (reason := _misfit(each, form))}
    left_out += [LeftOut(number, UNFIT, reason) for number, reason in unfit.items()]
    return Taken([each for each in decided if each.number not in unfit], sorted(left_out))


def first_rows(taken: Taken, form: Form, *, limit: int = 3) -> list[dict[str, Any]]:
    """How a file begins."""
    return list(islice(form.file(taken.judged), limit))


def write(taken: Taken, form: Form, folder: Path, *, name: str) -> Path:
    """Make the file; it is there whole or not at all. Raises `UserError` where there is nothing to write, or no room."""
    _require_some(taken)
    path = folder / f"{name}-{form.name}.{form.ending}"
    with _put_in_place(path) as file:
        if form.ending == "json":
            file.write(orjson.dumps(list(form.file(taken.judged)), option=orjson.OPT_INDENT_2) + b"\n")
        else:
            file.writelines(orjson.dumps(row) + b"\n" for row in form.file(taken.judged))
    return path


def save(taken: Taken, datasets: Datasets, *, name: str, source: dict[str, Any]) -> Card:
    """Make them a version of preferences; the one there is where it holds the same. Raises `UserError`."""
    _require_some(taken)
    with datasets.new_version(name, "preferences") as version:
        for record in records(taken.judged):
            version.write(record)
        return version.keep(source={"made": "labelled by hand", **source}, left_out=taken.counts)


# ---- the parts of it -------------------------------------------------------------------------------------------------


def _kept_outcomes(form: Form, settings: TakingSettings) -> frozenset[Decided]:
    if form is not DATA_SET:
        return form.outcomes
    return form.outcomes | {verdict for verdict, kept in (("tie", settings.ties), ("both bad", settings.both_bad)) if kept}  # type: ignore[return-value]


def _undecided(judged: Judged) -> LeftOut:
    verdict = judged.outcome.verdict
    reasons = {"open": "has no vote yet", "disagreed": "has votes that disagree", "tie": "is a tie", "both bad": "has no good answer"}
    return LeftOut(judged.number, OUTCOMES[verdict], reasons[verdict])


def _misfit(judged: Judged, form: Form) -> str:
    """Why an item does not fit a form; empty where it does."""
    try:
        list(form.rows(judged))
    except RowProblem as problem:
        return problem.reason
    return ""


def _only_text(turns: Sequence[Message]) -> str:
    if len(turns) > 1:
        raise RowProblem("has several turns, or a system prompt")
    return turns[0]["content"]


def _require_some(taken: Taken) -> None:
    if not taken.judged:
        raise UserError(
            f"None of the {len(taken.left_out):,} items can be taken. Label some first, settle what people disagree on, or change the filters."
        )


@contextmanager
def _put_in_place(path: Path) -> Iterator[Any]:
    """A file to write to that takes its place once it is whole."""
    partial = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path.name} cannot be written ({error.strerror or error}). Make room, or choose another workspace.") from error
    finally:
        partial.unlink(missing_ok=True)
