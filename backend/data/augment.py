"""More rows from the ones there are: prompts in other words and with the slips people make; answers are never touched.

    for record in augment(records, Augmentation(reworded=1, slipped=1), frames): ...      originals stay, copies follow
    found = count(records, settings, frames)                                              what that would make
    card = save_augmented(datasets, id, version, settings, frames, name="Cats")

A copy shares the family of its original, so that both stand on one side of a hold-out. Noise on the input against
overfitting: EDA (Wei and Zou 2019, arXiv:1901.11196), for slips of the keyboard Belinkov and Bisk (2018, arXiv:1711.02173).
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from pydantic import Field

from backend.data.readers import Progress
from backend.data.records import About, Record, canonical, family_of, how_of, prompt_of
from backend.data.templating.language import Pattern, parse
from backend.data.templating.rendering import author_of, reworded
from backend.data.templating.sets import TemplateSet
from backend.data.versions import Card, Datasets
from backend.errors import UserError
from backend.settings import Settings, advanced

OtherWords = Mapping[str, Sequence[tuple[str, str]]]  # prompt -> (the same in other words, who found them)
NO_OTHER_WORDS: OtherWords = MappingProxyType({})
AUTHOR_OF_SLIPS = "slips of the keyboard"
SHORTEST_WORD = 4  # letters; in shorter words a slip makes another word
TRIES = 5  # to find a slip that no copy of the row has yet
ROWS_COUNTED = 2_000  # the share is asked for while somebody waits; larger versions are judged by a sample


class Augmentation(Settings):
    """How many copies of each row, and how different they are."""

    reworded: int = Field(
        1,
        ge=0,
        le=10,
        title="Copies in other words",
        description="The prompt in another frame, drawn for each row. More makes the model care less about wording, and an epoch longer.",
    )
    slipped: int = Field(
        0,
        ge=0,
        le=10,
        title="Copies with slips",
        description="The prompt as it might be typed in a hurry. More makes the model care less about spelling, and an epoch longer.",
    )
    share: float = Field(
        1.0,
        gt=0,
        le=1,
        title="Share of rows",
        description="The part of the rows that gets copies, drawn by the seed: 0.5 is every other row.",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed", description="The same seed, rows and settings make the same copies.")
    typos: float = advanced(
        0.08,
        ge=0,
        le=0.5,
        title="Share of words mistyped",
        description="A neighbouring key, two letters swapped, one left out or one typed twice. More than a fifth is hard to read.",
    )
    casing: float = advanced(
        0.3,
        ge=0,
        le=1,
        title="Share of prompts in small letters",
        description="How many of the copies with slips have no capital letters.",
    )
    endings: float = advanced(
        0.3,
        ge=0,
        le=1,
        title="Share of prompts without their end mark",
        description="How many of the copies with slips lose the last full stop or question mark.",
    )
    afresh: bool = advanced(
        True, title="Begin afresh", description="Leave out augmented rows made earlier, so that they do not pile up."
    )


class Count(NamedTuple):
    """Rows that augmenting would make."""

    originals: int
    augmented: int
    looked_at: int  # rows of the version; fewer than there are where it was judged by a sample

    @property
    def rows(self) -> int:
        return self.originals + self.augmented


def augment(
    records: Iterable[Record], settings: Augmentation, frames: TemplateSet, other_words: OtherWords = NO_OTHER_WORDS
) -> Iterator[Record]:
    """Every row, each followed by its copies. Raises `UserError` where the frames cannot be read."""
    patterns = frame_patterns(frames)
    for record in records:
        is_augmented = how_of(record) == "augmented"
        if is_augmented and settings.afresh:
            continue
        yield record
        if not is_augmented:
            yield from _copies(record, settings, frames, patterns, other_words)


def count(
    datasets: Datasets,
    id: str,
    version: int,
    settings: Augmentation,
    frames: TemplateSet,
    other_words: OtherWords = NO_OTHER_WORDS,
) -> Count:
    """What augmenting would make of a version; judged by a sample where it has more than ROWS_COUNTED rows."""
    rows = datasets.card(id, version).rows
    looked_at = list(datasets.sample(id, version, limit=ROWS_COUNTED))
    made = [how_of(record) == "augmented" for record in augment(looked_at, settings, frames, other_words)]
    scale = rows / max(len(looked_at), 1)
    return Count(round(made.count(False) * scale), round(made.count(True) * scale), len(looked_at))


def examples(
    records: Iterable[Record], settings: Augmentation, frames: TemplateSet, other_words: OtherWords = NO_OTHER_WORDS
) -> Iterator[tuple[str, Record]]:
    """(prompt of the original, copy) of some rows, to be looked at."""
    patterns = frame_patterns(frames)
    for record in records:
        if how_of(record) != "augmented":
            for copy in _copies(record, settings, frames, patterns, other_words):
                yield prompt_of(record), copy


def save_augmented(
    datasets: Datasets,
    id: str,
    version: int,
    settings: Augmentation,
    frames: TemplateSet,
    *,
    name: str = "",
    other_words: OtherWords = NO_OTHER_WORDS,
    progress: Progress | None = None,
) -> Card:
    """Save a version with its augmented rows: as its data set's next version, or under another name. Raises `UserError`."""
    card = datasets.card(id, version)
    problem = cannot(card, settings, other_words)
    if problem:
        raise UserError(problem)
    source = {
        "made": "augmented", "from": {"data": card.id, "version": card.version}, "settings": settings.model_dump(),
        "frames": frames.model_dump(mode="json"),
        **({"other_words": {prompt: list(found) for prompt, found in other_words.items()}} if other_words else {}),
    }  # fmt: skip
    as_next = name.strip() in ("", card.name)
    return datasets.save(
        augment(datasets.iterate(card.id, card.version), settings, frames, other_words),
        name=name.strip() or card.name,
        record="messages",
        source=source,
        of=card.id if as_next else None,
        guidelines=card.guidelines,
        progress=progress,
        rows=card.rows * (1 + settings.reworded + settings.slipped),
    )


def cannot(card: Card, settings: Augmentation, other_words: OtherWords = NO_OTHER_WORDS) -> str | None:
    """Why a version cannot be augmented so, in a sentence; None if it can."""
    if card.record != "messages":
        return f'"{card.name}" holds no conversations, and copies are made of their prompts alone. Choose a data set of conversations.'
    if not (settings.reworded or settings.slipped or other_words):
        return "No copies are asked for. Ask for copies in other words, or for copies with slips."
    return None


# ---- copies ----------------------------------------------------------------------------------------------------------


def frame_patterns(frames: TemplateSet) -> list[Pattern]:
    """The frames, read. Raises `UserError` for a set that does more than put prompts into other words."""
    patterns = [parse(template.prompt, where=f'The frame "{template.name}"') for template in frames.templates]
    if not frames.keeps_answers or any(pattern.names != ("prompt",) for pattern in patterns):
        raise UserError(
            f'"{frames.title}" does not only put prompts into other words. '
            "Choose templates that ask for {prompt} and have no completion."
        )
    return patterns


def _copies(
    record: Record, settings: Augmentation, frames: TemplateSet, patterns: list[Pattern], other_words: OtherWords
) -> Iterator[Record]:
    """The copies of one row, no two alike; decided by the row and the seed alone, whatever rows stand around it."""
    prompt = prompt_of(record)
    if "messages" not in record or not prompt.strip():
        return
    draw = random.Random(canonical({"seed": settings.seed, "messages": record["messages"]}))
    is_drawn = draw.random() < settings.share
    made = (*_framed(prompt, settings, frames, patterns, draw), *_slipped(prompt, settings, draw)) if is_drawn else ()
    said = {prompt}
    for asked, author in (*other_words.get(prompt, ()), *made):
        if asked not in said:
            said.add(asked)
            yield copy_of(record, asked, author)


def copy_of(record: Record, prompt: str, author: str) -> Record:
    """The row with its first question put otherwise: what it teaches stays, where it comes from is said."""
    about: About = {"how": "augmented", "author": author, "family": family_of(record)}
    return reworded(record, prompt, about)


def _framed(
    prompt: str, settings: Augmentation, frames: TemplateSet, patterns: list[Pattern], draw: random.Random
) -> Iterator[tuple[str, str]]:
    """(prompt, author) in as many frames as are wanted and there are; the frame that leaves it as it is makes no copy."""
    framed = [
        (pattern.fill({"prompt": prompt}), author_of(frame, frames))
        for frame, pattern in zip(frames.templates, patterns, strict=True)
    ]
    different = [(asked, author) for asked, author in framed if asked != prompt]
    yield from draw.sample(different, min(settings.reworded, len(different)))


def _slipped(prompt: str, settings: Augmentation, draw: random.Random) -> Iterator[tuple[str, str]]:
    """(prompt, author) with slips, no two alike; fewer than wanted where chance finds no more."""
    made = {prompt: None}
    for _ in range(TRIES * settings.slipped):
        if len(made) <= settings.slipped:
            made.setdefault(slip(prompt, settings, draw))
    yield from ((asked, AUTHOR_OF_SLIPS) for asked in list(made)[1:])


# ---- slips -----------------------------------------------------------------------------------------------------------

# What must be read letter by letter: code, addresses, placeholders, whatever is quoted, and anything with a digit.
_KEPT = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\b\w+://\S+|\bwww\.\S+|\S+@\S+|\{[^{}\n]*\}|<[^<>\n]*>|\[[^\[\]\n]*\]"
    r"|\"[^\"\n]*\"|“[^”\n]*”|(?<!\w)'[^'\n]*'(?!\w)|\S*[\d_\\/=]\S*",
    re.DOTALL,
)
_WORD = re.compile(rf"[^\W\d_]{{{SHORTEST_WORD},}}")
_END = re.compile(r"(?<=\w)[.?!]\s*\Z")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def slip(prompt: str, settings: Augmentation, draw: random.Random) -> str:
    """A prompt as it might be typed in a hurry; the same prompt where nothing in it may be touched."""
    kinds = [kind for kind, rate in (("casing", settings.casing), ("ending", settings.endings)) if draw.random() < rate]
    shown = _END.sub("", prompt) if "ending" in kinds and not _is_kept_to_the_end(prompt) else prompt
    pieces = [piece if kept else _mistyped(piece, settings.typos, draw) for kept, piece in _pieces(shown)]
    if "casing" in kinds:
        pieces = [piece if kept else piece.lower() for (kept, _), piece in zip(_pieces(shown), pieces, strict=True)]
    slipped = "".join(pieces)
    return slipped if slipped != prompt or not settings.typos else _with_one_typo(prompt, draw)


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """(whether it must stay letter by letter, piece), in order."""
    end = 0
    for kept in _KEPT.finditer(text):
        yield False, text[end : kept.start()]
        yield True, kept.group()
        end = kept.end()
    yield False, text[end:]


def _is_kept_to_the_end(prompt: str) -> bool:
    """Whether what must be read letter by letter reaches the end of a prompt."""
    *_, (_, last) = _pieces(prompt.rstrip())
    return not last


def _mistyped(text: str, rate: float, draw: random.Random) -> str:
    return _WORD.sub(lambda word: _typo(word.group(), draw) if draw.random() < rate else word.group(), text)


def _with_one_typo(prompt: str, draw: random.Random) -> str:
    """A prompt with a slip in one of its words, where chance left all as it was."""
    pieces = list(_pieces(prompt))
    places = [
        (index, word)
        for index, (kept, piece) in enumerate(pieces)
        if not kept
        for word in _WORD.finditer(piece)
        if _may_slip(word.group())
    ]
    if not places:
        return prompt
    index, word = draw.choice(places)
    said = [piece for _, piece in pieces]
    said[index] = said[index][: word.start()] + _typo(word.group(), draw) + said[index][word.end() :]
    return "".join(said)


def _may_slip(word: str) -> bool:
    """Words in small letters, of a script that has them: names and abbreviations are what a question turns on."""
    return word.islower() and word.upper() != word


def _typo(word: str, draw: random.Random) -> str:
    """A word with one slip behind its first letter."""
    if not _may_slip(word):
        return word
    at = draw.randrange(1, len(word) - 1)
    letter, following = word[at], word[at + 1]
    swapped, left_out, doubled, another_key = (
        following + letter,
        following,
        letter * 2 + following,
        _beside(letter, draw) + following,
    )
    slips = [typed for typed in (swapped, left_out, doubled, another_key) if typed != letter + following]
    return word[:at] + draw.choice(slips) + word[at + 2 :]


def _beside(letter: str, draw: random.Random) -> str:
    """A key beside the letter's on an English keyboard; the letter itself where that has no such key."""
    row = next((row for row in _ROWS if letter in row), letter)
    at = row.index(letter)
    return draw.choice([*row[max(0, at - 1) : at], *row[at + 1 : at + 2]] or [letter])
