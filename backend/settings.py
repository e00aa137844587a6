"""What every settings model is: frozen, strict, and ready to be shown as a form. Imports no torch.

Every setting is a field with a `title` (its label), a `description` (its help text) and bounds that cannot crash.
The form on screen, the JSON of a headless run and a person's problems with either are all read off these models.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Settings(BaseModel):
    """Frozen, and strict about names: a misspelt setting is an error, never silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def advanced(default: Any, **field: Any) -> Any:
    """A setting that is folded away until somebody looks for it."""
    return Field(default, json_schema_extra={"advanced": True}, **field)


def sentences(error: ValidationError, *, within: str = "") -> list[str]:
    """Pydantic's findings as sentences: the setting, what is allowed, what was given."""
    return [_sentence(problem, within) for problem in error.errors()]


def _sentence(problem: Any, within: str) -> str:
    where = ".".join(str(part) for part in [*([within] if within else []), *problem["loc"]]) or "spec"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if problem["type"] == "extra_forbidden":
        return f"{where}: there is no such setting. Check its spelling, or leave it out."
    if problem["type"] == "missing":
        return f"{where}: is needed and was left out. Fill it in."
    if isinstance(problem["input"], dict) and problem["type"] == "value_error":  # of several fields: the message names them
        return f"{where}: {message}."
    given = repr(problem["input"])
    return f"{where} {message[0].lower() + message[1:]} (it is {given if len(given) < 80 else given[:77] + '...'})."
