"""Where a run comes from, drawn from left to right: base model, what was made of it, what came of that.

    graph = run_graph()
    graph.select(on_open, graph, ...)       a run was pressed: its id is in the value's "open"

Every run is a button with its whole story in words, so that the lines are for the eye alone; on narrow screens the places
stand under each other and the words do without lines. See it with `python -m components.run_graph`.
"""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import gradio as gr

from backend.lineage import Lineage, Member, Tie
from components.text import escape

SCRIPT = Path(__file__).parents[1] / "assets" / "run_graph.js"
WIDTH, HEIGHT, BETWEEN, BELOW = 208, 80, 56, 16  # pixels: of a place, to the next column, to the next row
CLASS = {"starts from": "", "rewarded by": ' class="rewarded"'}  # of a line
Cell = tuple[int, int]  # (column, row)


class RunGraph(TypedDict):
    """The value: the graph as HTML of our own making, and the run that was pressed."""

    html: str
    open: str | None


def run_graph(*, elem_id: str = "run-graph") -> gr.HTML:
    """The graph, empty. Give it `graph(...)` as its value; listen to `.select`."""
    return gr.HTML(
        {"html": "", "open": None}, elem_id=elem_id,  # type: ignore[arg-type]
        html_template='<div class="run-graph-frame"></div>', js_on_load=SCRIPT.read_text(encoding="utf-8"), apply_default_css=False,
    )


def graph(lineage: Lineage) -> RunGraph:
    """The value that shows a run with all it comes from and its children."""
    return {"html": graph_html(lineage), "open": None}


def graph_html(lineage: Lineage) -> str:
    """The graph as HTML. Names are escaped."""
    places = _places(lineage.members, lineage.run)
    ways = _ways(lineage.ties, places)
    names = {member.id: member.name for member in lineage.members}
    cells = [cell for way in ways.values() for cell in way] + list(places.values())
    width = (max(column for column, _ in cells) + 1) * (WIDTH + BETWEEN) - BETWEEN
    height = (max(row for _, row in cells) + 1) * (HEIGHT + BELOW) - BELOW
    lines = "".join(_line(tie.kind, way) for tie, way in ways.items())
    boxes = "".join(_place(member, lineage, names, places[member.id]) for member in lineage.members)
    more = f'<p class="quiet">and {lineage.more_children:,} more made of it</p>' if lineage.more_children else ""
    return (
        f'<div class="run-graph" style="width:{width}px;height:{height}px">'
        f'<svg aria-hidden="true" width="{width}" height="{height}" viewBox="0 0 {width} {height}">{lines}</svg>'
        f'<ol aria-label="Where this run comes from, and what came of it">{boxes}</ol></div>{more}{_KEY}'
    )


_KEY = (
    '<p class="run-graph-key quiet"><svg width="32" height="10" aria-hidden="true"><path d="M0 5H32"/></svg> starts from '
    '<svg width="32" height="10" aria-hidden="true"><path class="rewarded" d="M0 5H32"/></svg> rewarded by</p>'
)


def _places(members: list[Member], run: str) -> dict[str, Cell]:
    """A cell for each member: those of a column stand under each other, the run itself at the top of its own."""
    used: Counter[int] = Counter()
    places: dict[str, Cell] = {}
    for member in sorted(members, key=lambda member: member.id != run):
        places[member.id] = (member.column, used[member.column])
        used[member.column] += 1
    return places


def _ways(ties: list[Tie], places: dict[str, Cell]) -> dict[Tie, list[Cell]]:
    """The cells each line goes through, from parent to child: past a column it takes a free cell, and crosses no box."""
    used = Counter(column for column, _ in places.values())
    ways: dict[Tie, list[Cell]] = {}
    for tie in ties:
        start, end = places[tie.parent], places[tie.child]
        between = range(start[0] + 1, end[0])
        ways[tie] = [start, *((column, used[column]) for column in between), end]
        used.update(between)
    return ways


def _place(member: Member, lineage: Lineage, names: dict[str, str], cell: Cell) -> str:
    """One member: a button where it can be opened."""
    said = f"<strong>{escape(member.name)}</strong>" + "".join(f"<span>{escape(line)}</span>" for line in (member.taught, member.data) if line)
    said += "".join(f'<span class="run-graph-from">{escape(tie.kind)} {escape(names[tie.parent])}</span>' for tie in lineage.ties if tie.child == member.id)
    column, row = cell
    style = f'style="left:{column * (WIDTH + BETWEEN)}px;top:{row * (HEIGHT + BELOW)}px;width:{WIDTH}px;height:{HEIGHT}px"'
    if member.kind != "run":
        return f'<li {style}><div class="run-graph-place {member.kind}" title="{escape(member.name)}">{said}</div></li>'
    here = ' aria-current="true"' if member.id == lineage.run else ""
    return (
        f'<li {style}><button type="button" class="run-graph-place run"{here} data-run="{escape(member.id)}" '
        f'title="{escape(member.name)}">{said}</button></li>'
    )


def _line(kind: str, way: list[Cell]) -> str:
    """A curve from the right side of each cell to the left side of the next."""
    sides = [(column * (WIDTH + BETWEEN), row * (HEIGHT + BELOW) + HEIGHT // 2) for column, row in way]
    steps = [
        f"{'L' if number else 'M'}{x + WIDTH} {y}C{x + WIDTH + BETWEEN // 2} {y} {to_x - BETWEEN // 2} {to_y} {to_x} {to_y}"
        for number, ((x, y), (to_x, to_y)) in enumerate(pairwise(sides))
    ]
    return f'<path{CLASS[kind]} d="{"".join(steps)}"/>'


if __name__ == "__main__":
    shown = Lineage(
        "ppo-1",
        [
            Member("model:starter", "model", "starter", "the model itself"),
            Member("sft-1", "run", "three lines", "SFT, LoRA", "three lines v3", 1),
            Member("reward-1", "run", "what is liked <b>", "reward model, LoRA", "pairs v1", 1),
            Member("ppo-1", "run", "three lines, aligned", "PPO, LoRA", "three lines v3", 2),
            Member("gone-1", "deleted", "(deleted)", "once gone-1", "", 0),
        ],
        [
            Tie("model:starter", "sft-1", "starts from"), Tie("model:starter", "reward-1", "starts from"),
            Tie("sft-1", "ppo-1", "starts from"), Tie("reward-1", "ppo-1", "rewarded by"),
        ],
    )
    with gr.Blocks() as demo:
        drawn = run_graph()
        pressed = gr.Textbox(label="Pressed")
        drawn.select(lambda value: value["open"], drawn, pressed)
        demo.load(lambda: graph(shown), outputs=drawn)
    demo.launch(css_paths=[SCRIPT.with_name("style.css")])
