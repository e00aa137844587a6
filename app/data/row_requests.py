"""What the row editor asks of a draft, and what it is answered: plain JSON both ways.

    answer(drafts, {"do": "edit", "draft": "cats-1f", "row": 7, "based": 3, "record": {"text": "..."}})

Whatever comes, an answer goes back: what was asked for, or `problems` in sentences. A request comes from the page, so
nothing in it is trusted.
"""

import logging
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from backend.data.draft_rows import Page, Query, Row, clean
from backend.data.drafts import Draft, Drafts, Stale, conversation
from backend.data.guidelines import Guidelines
from backend.data.journal import Taken
from backend.data.pasting import read_cells
from backend.data.records import Record, clipped, how_of
from backend.errors import UserError

CHARACTERS_EDITED = 200_000  # of a row; a longer one would freeze the page, and is shown cut
PROBLEMS_SHOWN = 100
log = logging.getLogger(__name__)

Answer = dict[str, Any]
Number = Annotated[int, Field(ge=0, lt=2**53)]  # what a browser counts exactly
Ids = Annotated[list[Number], Field(max_length=200_000)]


def answer(drafts: Drafts, asked: object) -> Answer:
    """The answer to one request of the row editor."""
    try:
        return _REQUESTS.validate_python(_cleaned(asked)).answer(drafts)
    except Stale as stale:
        return {"problems": list(stale.problems), "stale": True, "theirs": stale.theirs and _row(stale.theirs)}
    except UserError as error:
        return {"problems": list(error.problems)}
    except ValidationError:
        return {"problems": ["The page asked for something the studio does not know. Reload the page; what you wrote is kept."]}
    except Exception as error:  # a border: the person gets a sentence, the log the details
        log.exception("the row editor met a fault")
        words = f"The studio met a fault ({type(error).__name__}). The details are in the log; try again, or reload the page."
        return {"problems": [words]}


# ---- requests --------------------------------------------------------------------------------------------------------


class _View(BaseModel):
    """Which rows are on the page: what was searched for, and where one is in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: str = ""
    tag: str = ""
    how: str = ""
    unfinished: bool = False
    page: Number = 0

    def query(self) -> Query:
        return Query(words=self.words, tag=self.tag, how=self.how, unfinished=self.unfinished)


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    draft: str
    view: _View = _View()

    def answer(self, drafts: Drafts) -> Answer:
        raise NotImplementedError

    def page(self, drafts: Drafts, *, holding: int | None = None, **more: Any) -> Answer:
        """The page as it is after what was asked, and `more`."""
        shown = drafts.look(self.draft, self.view.query(), page=self.view.page, holding=holding)
        return {**_state(drafts, self.draft), **_described(drafts.get(self.draft)), **_page(shown), **more}


class _Look(_Request):
    do: Literal["look"]
    holding: Number | None = None  # the row the page shall have on it

    def answer(self, drafts: Drafts) -> Answer:
        return self.page(drafts, holding=self.holding, focus=self.holding)


class _Add(_Request):
    do: Literal["add"]
    behind: Number | None = None
    record: dict[str, Any] | None = None  # nothing: an empty row

    def answer(self, drafts: Drafts) -> Answer:
        empty: Record = conversation("", "") if drafts.get(self.draft).record == "messages" else {"text": ""}
        row = drafts.add(self.draft, _record(self.record) if self.record else empty, behind=self.behind)
        return self.page(drafts, holding=row, focus=row)


class _Edit(_Request):
    do: Literal["edit"]
    row: Number
    based: Number
    record: dict[str, Any]

    def answer(self, drafts: Drafts) -> Answer:
        record = _record(self.record)
        if _is_long(drafts.record(self.draft, self.row)) and not _is_long(record):
            raise UserError("This row is too long to be edited here: the page shows it cut. Nothing was changed.")
        row = drafts.edit(self.draft, self.row, record, based=self.based)
        return {**_state(drafts, self.draft), "row": _row(row)}


class _Describe(_Request):
    """Another name, another writer, other guidelines: what is given."""

    do: Literal["describe"]
    name: str | None = None
    author: str | None = None
    guidelines: dict[str, str] = {}

    def answer(self, drafts: Drafts) -> Answer:
        if self.name is not None:
            drafts.rename(self.draft, self.name)
        if self.author is not None:
            drafts.sign(self.draft, self.author)
        if self.guidelines:
            drafts.guide(self.draft, Guidelines(**{**drafts.get(self.draft).guidelines, **self.guidelines}).kept())
        return {**_state(drafts, self.draft), **_described(drafts.get(self.draft))}


class _Rows(_Request):
    """Something done to several rows."""

    do: Literal["duplicate", "delete"]
    rows: Ids

    def answer(self, drafts: Drafts) -> Answer:
        if self.do == "delete":
            drafts.delete(self.draft, self.rows)
            return self.page(drafts)
        copies = drafts.duplicate(self.draft, self.rows)
        return self.page(drafts, holding=next(iter(copies), None), focus=next(iter(copies), None))


class _Tag(_Request):
    do: Literal["tag", "untag"]
    rows: Ids
    tag: str

    def answer(self, drafts: Drafts) -> Answer:
        (drafts.tag if self.do == "tag" else drafts.untag)(self.draft, self.rows, self.tag)
        return self.page(drafts)


class _Move(_Request):
    do: Literal["move"]
    row: Number
    to: Number

    def answer(self, drafts: Drafts) -> Answer:
        drafts.move(self.draft, self.row, to=self.to)  # counted from 1
        return self.page(drafts, holding=self.row)


class _Paste(_Request):
    do: Literal["preview", "paste"]
    text: str
    behind: Number | None = None

    def answer(self, drafts: Drafts) -> Answer:
        pasted = read_cells(self.text, drafts.get(self.draft).record)
        if self.do == "preview":
            return {"count": len(pasted.records), "columns": pasted.columns, "header": pasted.header}
        rows = drafts.add_all(self.draft, pasted.records, behind=self.behind)
        return self.page(drafts, holding=next(iter(rows), None), focus=next(iter(rows), None))


class _Undo(_Request):
    do: Literal["undo", "redo"]

    def answer(self, drafts: Drafts) -> Answer:
        taken: Taken | None = (drafts.undo if self.do == "undo" else drafts.redo)(self.draft)
        return self.page(drafts, holding=next(iter(taken.rows), None) if taken else None)


class _Found(_Request):
    """Which rows the search finds, on all pages."""

    do: Literal["found"]

    def answer(self, drafts: Drafts) -> Answer:
        return {"ids": drafts.found(self.draft, self.view.query())}


class _Check(_Request):
    """Which rows cannot be learnt from yet."""

    do: Literal["check"]

    def answer(self, drafts: Drafts) -> Answer:
        left = drafts.unfinished(self.draft)
        named = [{"id": id, "number": number, "why": why} for id, number, why in left[:PROBLEMS_SHOWN]]
        return {**_state(drafts, self.draft), "left": len(left), "named": named}


class _Turn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class _Conversation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    messages: list[_Turn]


class _Text(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str


_RECORD: TypeAdapter[Any] = TypeAdapter(_Conversation | _Text)
_REQUESTS: TypeAdapter[Any] = TypeAdapter(
    Annotated[_Look | _Add | _Edit | _Describe | _Rows | _Tag | _Move | _Paste | _Undo | _Found | _Check, Field(discriminator="do")]
)


def _record(sent: dict[str, Any]) -> Record:
    """A record as the page sends it. Raises `ValidationError`."""
    return _RECORD.validate_python(sent).model_dump()


# ---- answers ---------------------------------------------------------------------------------------------------------


def _state(drafts: Drafts, id: str) -> Answer:
    """What stands around the rows: what can be undone, how many rows there are."""
    draft = drafts.get(id)
    return {"record": draft.record, "undo": draft.undo, "redo": draft.redo, "there": draft.rows}


def _described(draft: Draft) -> Answer:
    return {"name": draft.name, "author": draft.author, "guidelines": Guidelines.of(draft.guidelines).model_dump()}


def _page(page: Page) -> Answer:
    return {
        "rows": [_row(row) for row in page.rows], "page": page.page, "pages": page.pages, "found": page.found,
        "unfinished": page.unfinished, "tags": list(page.tags.items()), "hows": list(page.hows.items()),
    }  # fmt: skip


def _row(row: Row) -> Answer:
    about = row.record.get("about", {})
    long = _is_long(row.record)
    record = clipped(row.record) if long else {name: said for name, said in row.record.items() if name != "about"}
    return {
        "id": row.id, "number": row.number, "revision": row.revision, "record": record, "long": long, "how": how_of(row.record),
        "author": about.get("author", ""), "tags": about.get("tags", []), "problem": row.problem,
    }  # fmt: skip


def _is_long(record: Record) -> bool:
    length = len(record["text"]) if "text" in record else sum(len(turn["content"]) for turn in record["messages"])
    return length > CHARACTERS_EDITED


def _cleaned(asked: Any) -> Any:
    """What the page sent, without the halves of characters that a browser may send."""
    if isinstance(asked, str):
        return clean(asked)
    if isinstance(asked, dict):
        return {_cleaned(name): _cleaned(value) for name, value in asked.items()}
    if isinstance(asked, list):
        return [_cleaned(value) for value in asked]
    return asked
