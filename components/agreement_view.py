"""How far people agree, as cards of numbers; each number with what it counts and how to read it.

    gr.HTML(agreement_view(quality(votes, items)))

A number over few votes is shown, and said to rest on few.
"""

from backend.labelling.agreement import Share
from backend.labelling.quality import Person, Quality, Together
from backend.labelling.scoreboard import wilson
from components.notices import empty
from components.text import escape

ENOUGH = 20  # below so many, a share wobbles by more than twenty points to either side
# Landis and Koch, The Measurement of Observer Agreement for Categorical Data (1977)
WORDS = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"), (0.0, "slight"))
RELIABLE, TENTATIVE = 0.8, 0.667  # Krippendorff, Content Analysis (2004), section 11.4.2
NOBODY_YET = "Nobody has labelled anything of this batch yet. Label a few items, then look here how far the votes can be trusted."


def agreement_view(measured: Quality) -> str:
    """All figures of a batch."""
    if not measured.verdicts:
        return empty(NOBODY_YET)
    cards = [_verdicts(measured), _raw(measured.same), _alpha(measured), _again(measured.again), _left(measured.left), _longer(measured.longer)]
    return f'<div class="figures">{"".join(cards)}</div>{_people(measured.people)}{_together(measured.together)}'


def figure(name: str, value: str, sentence: str, *, warns: bool = False) -> str:
    """One number: what it is, the number, and how to read it."""
    return (
        f'<div class="figure{" figure-off" if warns else ""}"><h4>{escape(name)}</h4>'
        f'<p class="figure-value number">{escape(value)}</p><p class="figure-sentence">{escape(sentence)}</p></div>'
    )


def in_words(kappa: float) -> str:
    """How much agreement beyond chance a kappa or an alpha is: "substantial"."""
    return next((words for least, words in WORDS if kappa > least), "none beyond chance")


def percent(share: Share) -> str:
    """A share in percent with what it is a share of: "83% of 24"; "not yet" of nothing."""
    return "not yet" if share.value is None else f"{share.value:.0%} of {share.whole:,}"


def interval(share: Share) -> str:
    """Wilson's interval in words."""
    low, high = wilson(round(share.part), share.whole)
    return f"95% interval {low:.0%} to {high:.0%}"


# ---- the figures -----------------------------------------------------------------------------------------------------


def _verdicts(measured: Quality) -> str:
    counts = measured.verdicts
    votes = sum(counts.values())
    parts = [
        f"{counts.get(verdict, 0):,} {words}"
        for verdict, words in (("ranked", "decided"), ("tie", "equally good"), ("both bad", "both bad"), ("skipped", "skipped"))
    ]
    advice = " Many ties: the answers may be too alike to learn from." if counts.get("tie", 0) > votes / 3 else ""
    return figure("Votes", f"{votes:,}", f"On {measured.items:,} {'item' if measured.items == 1 else 'items'}: {', '.join(parts)}.{advice}")


def _raw(same: Share) -> str:
    if not same.whole:
        return figure("Raw agreement", "not enough yet", "No item has been labelled by two people. Let a second person label some of them.")
    return figure(
        "Raw agreement", percent(same),
        f"Of every two opinions on the same two answers, so many were the same ({interval(same)}). Guessing alone would reach about a half."
        f"{_few(same.whole)}",
    )  # fmt: skip


def _alpha(measured: Quality) -> str:
    name = "Krippendorff's alpha"
    if measured.alpha is None:
        why = "needs items that two people labelled" if not measured.same.whole else "cannot be told while everybody says the same one thing"
        return figure(name, "not enough yet", f"Agreement beyond chance, for any number of people; it {why}.")
    use = (
        "Good enough to build on." if measured.alpha >= RELIABLE
        else "Good enough for a first try." if measured.alpha >= TENTATIVE
        else "Low: people mean different things by better. Talk over the disagreements below, and sharpen the guidelines."
    )
    few = _few(measured.same.whole)
    return figure(
        name, f"{two_digits(measured.alpha)}", f"Agreement beyond chance: 1 is perfect, 0 is what guessing gives. {use}{few}",
        warns=measured.alpha < TENTATIVE and not few,
    )  # fmt: skip


def _again(again: Share) -> str:
    if not again.whole:
        return figure(
            "The same again", "not enough yet",
            "Now and then an item is shown a second time, sides flipped: about one in twenty. None has been answered twice yet.",
        )  # fmt: skip
    return figure(
        "The same again", percent(again),
        f"Of items shown twice with sides flipped, so many got the same answer from the same person ({interval(again)}). "
        f"Nobody can agree with others more than with themselves.{_few(again.whole)}",
    )  # fmt: skip


def _left(left: Share) -> str:
    if not left.whole:
        return figure("Left picks", "not enough yet", "How often the answer on the left won. No pair has been decided yet.")
    low, high = wilson(round(left.part), left.whole)
    off = low > 0.5 or high < 0.5
    side = "left" if low > 0.5 else "right"
    sentence = (
        f"Sides are drawn by lot, so the {side} one wins too often for chance: somebody may choose by side. See who hurries, below."
        if off else "Sides are drawn by lot, so about a half is right, and this is in line with it."
    )
    return figure("Left picks", percent(left), f"The left answer won so often ({interval(left)}). {sentence}{_few(left.whole)}", warns=off)


def _longer(longer: Share) -> str:
    if not longer.whole:
        return figure("Longer wins", "not enough yet", "How often the longer answer won. No pair of different lengths has been decided yet.")
    low, high = wilson(round(longer.part), longer.whole)
    sentence = (
        "Length and preference go together: a model that learns from this will write longer answers." if low > 0.5
        else "Length and preference go together: a model that learns from this will write shorter answers." if high < 0.5
        else "No sign that length decides."
    )
    return figure("Longer wins", percent(longer), f"The longer answer won so often ({interval(longer)}). {sentence}{_few(longer.whole)}")


def _few(whole: int) -> str:
    return f" Not enough yet to lean on: {ENOUGH} or more would be." if whole < ENOUGH else ""


# ---- people ----------------------------------------------------------------------------------------------------------


def _people(people: list[Person]) -> str:
    rows = [
        [each.name, f"{each.items:,}", _seconds(each.seconds), percent(each.again)]
        for each in people
    ]  # fmt: skip
    note = "Time per item is the median from seeing an item to answering it. Much less than others take, for long answers, means skimming."
    return table("Each person", ["Person", "Items labelled", "Time per item", "The same again"], rows, note)


def _together(together: list[Together]) -> str:
    if not together:
        return ""
    rows = [
        [f"{each.one} and {each.other}", percent(each.same), "not yet" if each.kappa is None else f"{two_digits(each.kappa)}, {in_words(each.kappa)}"]
        for each in together
    ]  # fmt: skip
    note = "Cohen's kappa is agreement beyond what two people would reach by chance: 1 is perfect, 0 is chance."
    return table("Every two people", ["Who", "Said the same", "Cohen's kappa"], rows, note)


def table(title: str, columns: list[str], rows: list[list[str]], note: str) -> str:
    """Rows of text under a heading, and how to read them. The first column names the row."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return (
        f'<h3 class="section-title">{escape(title)}</h3><div class="quality-table"><table><thead><tr>{head}</tr></thead>'
        f'<tbody>{body}</tbody></table></div><p class="quiet">{escape(note)}</p>'
    )


def _seconds(seconds: float | None) -> str:
    return "not known" if seconds is None else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def two_digits(value: float) -> str:
    """0.42, and never -0.00."""
    return f"{round(value, 2) + 0.0:.2f}"
