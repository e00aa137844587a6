"""Many settings as one value, for what is asked of a form as a whole.

    filled = OneValue(form)                                                  # form: {name: component}
    filled.gather(button.click).then(on(studio, filled.to(on_start)), filled.value)   # calls on_start(studio, **values)

Gradio's page keeps a note for every input an event ever had, and at every later event of the page, each tick among them,
looks for each of them all over the page: with a hundred settings that took half of a core. So the page itself gathers them,
which costs something only where something is typed.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from app.event_options import QUIET


class OneValue:
    """What is filled in: `value` is nowhere seen, and has the values of all settings in their order."""

    def __init__(self, form: Mapping[str, Component]) -> None:
        self.form = form
        self.value = gr.JSON([component.value for component in form.values()], visible=False)
        self.gather(partial(gr.on, [component.change for component in form.values()]))

    def gather(self, come: Callable[..., Dependency]) -> Dependency:
        """At an event, such as a click, take up what is filled in at that moment."""
        return come(None, list(self.form.values()), self.value, js="(...values) => [values]", **QUIET)

    def to(self, handler: Callable[..., Any], *besides: str) -> Callable[..., Any]:
        """A handler of named values, to be called with all of them as one; and before it with further ones, of these names."""

        def handle(studio: Any, *given: Any) -> Any:
            *others, filled = given
            named = dict(zip(besides, others, strict=True)) | dict(zip(self.form, filled, strict=True))
            return handler(studio, **named)

        handle.__name__ = handler.__name__
        return handle
