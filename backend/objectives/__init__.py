"""What is optimised: one file per objective, each a settings model that makes batches and scores them."""

from typing import Any

from backend import registry
from backend.specs import ObjectiveSettings


def all_objectives() -> dict[str, type[ObjectiveSettings]]:
    """Every objective by name, in the order of the picker."""
    return registry.found_in(__name__, ObjectiveSettings)  # type: ignore[return-value]


def parse(value: Any) -> ObjectiveSettings:
    """An objective's settings from plain values."""
    return registry.parse(value, all_objectives(), "objective")  # type: ignore[arg-type,return-value]
