"""Small pieces of page: a lead sentence, an empty place, a list of problems."""

from collections.abc import Sequence

import gradio as gr

from components.text import escape


def lead(sentence: str) -> gr.HTML:
    """The one sentence at the top of a tab that says what one does here."""
    return gr.HTML(f'<p class="lead">{escape(sentence)}</p>')


def empty(sentence: str) -> str:
    """What stands where there is nothing yet: says what to do next."""
    return f'<div class="empty">{escape(sentence)}</div>'


def problems(sentences: Sequence[str]) -> str:
    """All that is wrong, each with its remedy."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="problems" role="alert">{items}</ul>'
