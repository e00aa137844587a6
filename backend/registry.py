"""Settings found by listing a folder: a new method or objective is one new file, and no other file is edited."""

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any

from backend.settings import Settings


@cache
def found_in(package_name: str, kind: type[Settings]) -> dict[str, type[Settings]]:
    """Every concrete subclass of `kind` in the package's files, by its `name`, in the order each file asks for."""
    package = importlib.import_module(package_name)
    modules = [importlib.import_module(f"{package_name}.{info.name}") for info in pkgutil.iter_modules(package.__path__)]
    classes = [found for module in modules for found in _own_classes(module, kind)]
    return {found.model_fields["name"].default: found for found in sorted(classes, key=lambda found: found.order)}


def _own_classes(module: ModuleType, kind: type[Settings]) -> list[Any]:
    return [
        found for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, kind) and found.__module__ == module.__name__ and "name" in found.model_fields
        and isinstance(found.model_fields["name"].default, str)
    ]


def parse(value: Any, kinds: dict[str, type[Settings]], what: str) -> Settings:
    """Settings of the kind that `value["name"]` names. Raises `ValueError` naming the kinds there are."""
    if isinstance(value, Settings):
        return value
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(f"there is no {what} {name!r}; there are {', '.join(kinds)}")
    return kinds[name].model_validate(value if isinstance(value, dict) else {"name": name})
