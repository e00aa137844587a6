"""Text is text: what users, models and files say is shown letter by letter, never run as markup or template."""

import html
from datetime import datetime

# gr.HTML reads its value as a template: `${...}` and `{{...}}` in data would be run if these were left as they are.
_TEMPLATE_MARKS = str.maketrans({"$": "&#36;", "{": "&#123;", "}": "&#125;", "`": "&#96;", "\\": "&#92;"})


def escape(text: object) -> str:
    """`text` for use inside HTML, in content and in quoted attributes alike."""
    return html.escape(str(text), quote=True).translate(_TEMPLATE_MARKS)


def minutes(seconds: float) -> str:
    """A duration in words: "about 3 min"."""
    if seconds < 45:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h"


def count(number: float) -> str:
    """A large number in few letters: 1,234, 12k, 134.5M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            divided = number / (1e3 if letter == "k" else size)
            return f"{divided:.1f}{letter}" if letter != "k" else f"{divided:.0f}k"
    return f"{number:,.0f}"


def share(part: float, whole: float) -> str:
    """A share in percent with as many digits as it needs: 100 %, 0.69 %, 0.009 %."""
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def gigabytes(size: float) -> str:
    """Bytes in words: "1.8 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def rows_in_words(number: int) -> str:
    """1 row, 2,000 rows."""
    return "1 row" if number == 1 else f"{number:,} rows"


def moment(created: str) -> str:
    """A time in ISO 8601 as people here write it: 21 November 2026, 09:07."""
    return datetime.fromisoformat(created).astimezone().strftime("%d %B %Y, %H:%M")
