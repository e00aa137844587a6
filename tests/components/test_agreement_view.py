"""Words around the figures: what is off is said and marked, what is not enough is said, and nothing is markup."""

from backend.calibration import Trial, calibration
from backend.labelling.agreement import Share
from backend.labelling.items import Candidate, Item
from backend.labelling.opinion import compared
from backend.labelling.quality import Person, Quality, Together
from components.agreement_view import agreement_view, in_words, percent, two_digits
from components.calibration_plot import calibration_plot, calibration_words
from components.opinion_view import opinion_view

HOSTILE = "<script>alert(1)</script>${alert(2)}{{alert(3)}}"


def measured(**changed: object) -> Quality:
    usual: dict = {
        "items": 40, "verdicts": {"ranked": 70, "tie": 10}, "same": Share(36, 40), "alpha": 0.85,
        "together": [Together("ada", HOSTILE, Share(36, 40), 0.7)], "people": [Person(HOSTILE, 40, Share(2, 2), None)], "again": Share(2, 2),
        "left": Share(34, 70), "longer": Share(36, 70),
    }  # fmt: skip
    return Quality(**{**usual, **changed})


def test_a_habit_is_marked_when_chance_does_not_explain_it() -> None:
    fine, off = agreement_view(measured()), agreement_view(measured(left=Share(55, 70)))
    assert "in line with it" in fine and "figure-off" not in fine
    assert "too often for chance" in off and "figure-off" in off
    assert "the right one wins too often" in agreement_view(measured(left=Share(15, 70)))


def test_length_that_decides_is_told_with_what_a_model_would_learn() -> None:
    assert "No sign that length decides" in agreement_view(measured())
    assert "write longer answers" in agreement_view(measured(longer=Share(60, 70)))
    assert "write shorter answers" in agreement_view(measured(longer=Share(10, 70)))


def test_a_low_alpha_is_marked_unless_it_rests_on_few() -> None:
    assert "sharpen the guidelines" in agreement_view(measured(alpha=0.3)) and "figure-off" in agreement_view(measured(alpha=0.3))
    assert "figure-off" not in agreement_view(measured(alpha=0.3, same=Share(3, 6)))


def test_agreement_has_its_usual_words() -> None:
    """Landis and Koch (1977), table 2."""
    assert [in_words(kappa) for kappa in (-0.1, 0.1, 0.3, 0.5, 0.7, 0.9)] == [
        "none beyond chance", "slight", "fair", "moderate", "substantial", "almost perfect",
    ]  # fmt: skip
    assert percent(Share(0, 0)) == "not yet" and percent(Share(5, 6)) == "83% of 6"


def test_no_name_is_markup() -> None:
    html = agreement_view(measured())
    assert "<script" not in html and "${" not in html and "{{" not in html and "&lt;script&gt;" in html


def test_a_difference_shows_both_answers_and_how_sure_the_model_is() -> None:
    from backend.labelling.items import Said

    item = Item([{"role": "user", "content": HOSTILE}], [Candidate([{"role": "assistant", "content": f"{HOSTILE} {n}"}], {"name": "secret"}) for n in "ab"])
    html = opinion_view(compared([Said(0, "ada", "ranked", [1, 2])], [item], {0: [0.0, 1.0]}), [item], name=HOSTILE)
    assert "73% sure of the other" in html and "1 of 1 votes" in html
    assert "<script" not in html and "${" not in html and "secret" not in html


def test_a_calibration_point_stands_where_it_was_counted() -> None:
    found = calibration([1.0] * 8 + [-1.0] * 2)
    assert found is not None
    _, points = calibration_plot(found).data
    assert [round(x, 4) for x in points.x] == [0.7311] and list(points.y) == [0.8]
    assert points.error_y.arrayminus[0] > points.error_y.array[0] > 0  # Wilson's interval leans to a half
    assert "80% of 10" in calibration_words(found, Trial(10, [], [], {HOSTILE: 2})) and "<script" not in calibration_words(found, Trial(10, [], [], {HOSTILE: 2}))


def test_no_agreement_is_not_less_than_none() -> None:
    assert (two_digits(-0.001), two_digits(0.426), two_digits(-0.3)) == ("0.00", "0.43", "-0.30")
