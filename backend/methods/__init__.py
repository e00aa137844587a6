"""How weights may change: one file per method, each a settings model that can attach itself to a model."""

from typing import Any

from backend import registry
from backend.specs import MethodSettings


def all_methods() -> dict[str, type[MethodSettings]]:
    """Every method by name, in the order of the cards."""
    return registry.found_in(__name__, MethodSettings)  # type: ignore[return-value]


def parse(value: Any) -> MethodSettings:
    """A method's settings from plain values."""
    return registry.parse(value, all_methods(), "method")  # type: ignore[arg-type,return-value]
