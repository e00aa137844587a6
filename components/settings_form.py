"""A form made from a settings model: labels, help, choices and what is folded away all come from its fields."""

import types
import typing
from typing import Any, Literal

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel
from pydantic.fields import FieldInfo

FIXED = ("name", "v")  # fields that say what the settings are, not how they are set


def settings_form(model: type[BaseModel], group: str, *, placeholders: dict[str, str] | None = None) -> dict[str, Component]:
    """Components for every field of a model, by field name; the advanced ones in a folded part below.

    Each component's id is `<group>-<field>`. `placeholders` says what an empty field stands for where that depends on
    something else.
    """
    fields = {name: field for name, field in model.model_fields.items() if name not in FIXED}
    plain = {name: field for name, field in fields.items() if not _is_advanced(field)}
    folded = {name: field for name, field in fields.items() if _is_advanced(field)}
    form = _rows(plain, group, placeholders or {})
    if folded:
        with gr.Accordion("Advanced", open=False):
            form |= _rows(folded, group, placeholders or {})
    return form


def plain_values(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """What a form holds as plain values for the model: an empty field that may be empty is left out."""
    return {
        name: _plain(model.model_fields[name], value) for name, value in values.items()
        if not (value in (None, "") and _may_be_empty(model.model_fields[name]))
    }


def form_values(settings: BaseModel) -> dict[str, Any]:
    """What the form's components show for given settings."""
    return {
        name: _shown(type(settings).model_fields[name], value) for name, value in settings.model_dump(exclude=set(FIXED)).items()
    }


def _shown(field: FieldInfo, value: Any) -> Any:
    if names_run(field):
        return value or ""
    if isinstance(value, tuple):
        return "\n".join(value)
    if _kind(field) in (int, float) and _may_be_empty(field):
        return "" if value is None else f"{value:g}"
    return value


def names_run(field: FieldInfo) -> bool:
    """Whether a setting is the id of a run."""
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get("names_run"))


def _rows(fields: dict[str, FieldInfo], group: str, placeholders: dict[str, str]) -> dict[str, Component]:
    with gr.Row(elem_classes="settings"):
        return {name: _component(field, f"{group}-{name}", placeholders.get(name, "")) for name, field in fields.items()}


def _component(field: FieldInfo, elem_id: str, placeholder: str) -> Component:
    kind = _kind(field)
    common: dict[str, Any] = {"label": field.title, "info": field.description, "elem_id": elem_id}
    value = field.get_default(call_default_factory=True)
    if names_run(field):  # which runs there are is filled in when one comes to the tab
        return gr.Dropdown([("none", "")], value="", allow_custom_value=True, **common)
    if typing.get_origin(kind) is Literal:
        return gr.Dropdown(list(typing.get_args(kind)), value=value, filterable=False, **common)
    if kind is bool:
        return gr.Checkbox(value=value, **common)
    if kind in (int, float) and _may_be_empty(field):  # a gr.Number that begins empty shows 0
        return gr.Textbox("" if value is None else f"{value:g}", placeholder=placeholder or "chosen for you", **common)
    if kind in (int, float):
        return gr.Number(value=value, **common)
    if typing.get_origin(kind) is tuple:
        return gr.Textbox("\n".join(value), lines=3, placeholder=placeholder, **common)
    return gr.Textbox(value, placeholder=placeholder, **common)


def _kind(field: FieldInfo) -> Any:
    """The type a field holds, without its `None`."""
    if isinstance(field.annotation, types.UnionType):
        return next(kind for kind in typing.get_args(field.annotation) if kind is not type(None))
    return field.annotation


def _may_be_empty(field: FieldInfo) -> bool:
    return isinstance(field.annotation, types.UnionType) or typing.get_origin(field.annotation) is tuple


def _is_advanced(field: FieldInfo) -> bool:
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get("advanced"))


def _plain(field: FieldInfo, value: Any) -> Any:
    if typing.get_origin(_kind(field)) is tuple:
        return [line for line in value.splitlines() if line.strip()]
    if _kind(field) in (int, float):
        return _number(value)
    return value


def _number(value: Any) -> Any:
    """A whole number as int, another as float; what is no number stays, for the model to complain of."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return int(number) if number.is_integer() else number
