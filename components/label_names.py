"""The labels of a table, each with a name to be typed: value, how often it is there, name. See `python -m components.label_names`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import gradio as gr

SCRIPT = Path(__file__).parents[1] / "assets" / "label_names.js"


class Label(TypedDict):
    """One label. Texts are shown letter by letter."""

    value: str  # as it stands in the table
    rows: int
    name: str  # what the templates call it; empty: its rows are left out


class LabelNames(TypedDict):
    """The value: the labels in order."""

    labels: list[Label]


def label_names(*, elem_id: str = "label-names") -> gr.HTML:
    """The labels, none yet. `.change` fires as a name is typed."""
    return gr.HTML(
        {"labels": []},
        elem_id=elem_id,
        html_template='<fieldset class="label-names"></fieldset>',  # type: ignore[arg-type]
        js_on_load=SCRIPT.read_text(encoding="utf-8"),
        apply_default_css=False,
    )


def named(rows: Mapping[str, int], names: Mapping[str, str]) -> LabelNames:
    """The component's value for labels that stand in so many rows each."""
    return {"labels": [{"value": value, "rows": count, "name": names.get(value, value)} for value, count in rows.items()]}


def names_of(value: LabelNames | None) -> dict[str, str]:
    """The names as they are typed: value -> name, without those that are empty."""
    typed = {label["value"]: label["name"].strip() for label in (value or {"labels": []})["labels"]}
    return {value: name for value, name in typed.items() if name}


if __name__ == "__main__":
    with gr.Blocks() as demo:
        shown, typed = label_names(), gr.JSON()
        demo.load(lambda: named({"0": 959, "1": 1041, "<b>": 1}, {"0": "negative", "1": "positive"}), outputs=shown)
        shown.change(names_of, shown, typed)
    demo.launch(css_paths=[SCRIPT.with_name("style.css")])
