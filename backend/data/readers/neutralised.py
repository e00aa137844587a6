"""Cells that a spreadsheet would run as formulas: how our export writes them, and how they are read back as they were.

A cell that begins like a formula gets an apostrophe in front of it, as OWASP's page on CSV injection says
(https://owasp.org/www-community/attacks/CSV_Injection). The last column of such a file names the cells of each row that
got one, so that reading it again takes exactly these away, and nobody else's apostrophes.
"""

MARK = "apostrophe_before"  # the column that names them, separated by spaces
BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def neutralised(cells: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The cells as a spreadsheet may have them, and the names of those that were changed."""
    changed = [name for name, text in cells.items() if text.startswith(BEGINNINGS)]
    return {name: f"'{text}" if name in changed else text for name, text in cells.items()}, changed


def restored(cells: dict[str, str]) -> dict[str, str]:
    """The cells of a row as they were before, without the column that marks them; other tables' rows as they are."""
    if MARK not in cells:
        return cells
    changed = cells[MARK].split()
    return {name: _restored(text) if name in changed else text for name, text in cells.items() if name != MARK}


def _restored(text: str) -> str:
    """The text without its apostrophe, if it is still there: somebody may have mended the cell in a spreadsheet."""
    return text[1:] if text.startswith("'") and text[1:].startswith(BEGINNINGS) else text
