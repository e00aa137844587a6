"""Conversations whose turns do not follow the order models are taught."""

from typing import ClassVar, Literal

from backend.data.checks import Check, Gravity, Mark, OneByOne, Passing, Row, Watch, rows_are


class RoleOrder(Check):
    """The rule: perhaps one system turn, then user and assistant in turn, the assistant last."""

    order: ClassVar[int] = 6
    title: ClassVar[str] = "Wrong order of roles"
    looks_for: ClassVar[str] = "turns in the wrong order"
    gravity: ClassVar[Gravity] = "wrong"
    mend: ClassVar[str] = "Leave them out"

    name: Literal["role_order"] = "role_order"

    def begin(self, passing: Passing) -> Watch:
        return OneByOne(self, lambda row: _first_wrong(row) is not None, _sentence)

    def marks(self, row: Row) -> list[Mark]:
        wrong = _first_wrong(row)
        return [] if wrong is None or not row.turns else [Mark(wrong, 0, len(row.texts[wrong]))]


def _first_wrong(row: Row) -> int | None:
    """The first turn that stands where another role should speak; None where all is in order."""
    if "messages" not in row.record:
        return None
    roles = [turn["role"] for turn in row.turns]
    begin = 1 if roles[:1] == ["system"] else 0
    for place, role in enumerate(roles[begin:]):
        if role != ("user", "assistant")[place % 2]:
            return begin + place
    return None if roles[begin:] and roles[-1] == "assistant" else max(len(roles) - 1, 0)


def _sentence(count: int) -> str:
    return (
        f"{rows_are(count, 'do not go', 'does not go')} from user to assistant in turn, or {'do' if count > 1 else 'does'} not end with an "
        "answer. Chat templates refuse or garble them."
    )
