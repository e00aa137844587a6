"""How events of the page are sent: what every handler of ours asks of Gradio."""

from typing import Any

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# without `show_progress_on`, Gradio goes through all outputs at every event, and searches the page for each
QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden", "show_progress_on": []}
TICK: dict[str, Any] = {**QUIET, "queue": False}  # at once, beside whatever waits
