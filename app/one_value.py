"""Many settings as one value, for what is asked of a form as a whole.

    filled = one_value(form)                                   # form: {name: component}
    button.click(on(studio, of_form(on_start, form)), filled)  # calls on_start(studio, **values)

Gradio's page keeps a note for every input an event ever had, and at every later event of the page, each tick among them,
looks for each of them all over the page: with a hundred settings that took half of a core. So the page itself gathers them,
which costs something only where something is typed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from app.event_options import QUIET


def one_value(form: Mapping[str, Component]) -> gr.JSON:
    """A value that is nowhere seen: those of all settings, in their order, as they are filled in."""
    filled = gr.JSON([component.value for component in form.values()], visible=False)
    gr.on([component.change for component in form.values()], None, list(form.values()), filled, js="(...values) => [values]", **QUIET)
    return filled


def of_form(handler: Callable[..., Any], form: Mapping[str, Component]) -> Callable[..., Any]:
    """A handler of named values, to be called with all of them as one."""

    def handle(studio: Any, filled: list[Any]) -> Any:
        return handler(studio, **dict(zip(form, filled, strict=True)))

    handle.__name__ = handler.__name__
    return handle
