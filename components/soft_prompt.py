"""What a soft prompt says: each learnt vector's nearest words, as a table."""

from collections.abc import Sequence

from components.text import escape

EXPLANATION = (
    "Each learnt vector with the tokens of the vocabulary that point most nearly the same way, and the cosine similarity "
    "(1 is the token itself, 0 has nothing in common with it)."
)


def soft_prompt_table(name: str, vectors: Sequence[Sequence[tuple[str, float]]]) -> str:
    """HTML for one run: a row per vector, its nearest tokens with their cosine similarity, nearest first."""
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Vector", "Nearest", "Second", "Third"))
    rows = "".join(
        f'<tr><th scope="row">{number}</th>{"".join(_cell(*nearest) for nearest in vector)}</tr>'
        for number, vector in enumerate(vectors, 1)
    )
    return (
        f'<section class="soft-prompt"><h3>{escape(name)}</h3><p class="quiet">{EXPLANATION}</p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>"
    )


def _cell(token: str, similarity: float) -> str:
    seen = repr(token)[1:-1]  # spaces and line ends must be seen
    return f'<td><code>{escape(seen)}</code> <span class="quiet number">{similarity:.2f}</span></td>'
