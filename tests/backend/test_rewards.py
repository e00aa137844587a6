"""What answers are rewarded for: each rule by example, together by their share, beside a reward model by its weight."""

import time
from typing import Any

import pytest

from backend.errors import UserError
from backend.rewards import Answered, RewardSettings, in_margins
from backend.specs import parse_spec


def reward(answer: str, *, finished: bool = True, wanted: str = "", **rules: Any) -> float:
    return RewardSettings(**rules).judge([Answered([{"role": "user", "content": "?"}], answer, finished, wanted)])[0]


@pytest.mark.parametrize(("rules", "good", "bad"), [
    ({"most_words": 3}, "one two three", "one two three four"),
    ({"most_words": 3}, "one", ""),
    ({"contains": ["Paris", "france"]}, "PARIS is in France.", "Paris is large."),
    ({"avoids": ["sorry", "cannot"]}, "Yes.", "I am SORRY."),
    ({"avoids": ["sorry"]}, "Yes.", "  "),
    ({"pattern": r"^\d+ (euros|pounds)$"}, "12 euros", "twelve euros"),
    ({"form": "three lines"}, "In short: a.\nWhy: b.\nTry this: c.", "In short: a."),
    ({"form": "list"}, "- a\n- b", "- a\nb"),
    ({"form": "list"}, "1. a\n2. b", "- only one"),
    ({"form": "JSON"}, '{"a": [1, 2]}', "{'a': 1}"),
])  # fmt: skip
def test_a_rule_is_kept_or_it_is_not(rules: dict[str, Any], good: str, bad: str) -> None:
    assert (reward(good, **rules), reward(bad, **rules)) == (1, 0)


def test_an_answer_that_was_cut_off_is_not_short() -> None:
    assert reward("one two", finished=False, most_words=3) == 0


def test_the_right_answer_is_told_whatever_its_case_and_spaces() -> None:
    assert reward(" forty  TWO\n", wanted="Forty two", exact=True) == 1
    assert reward("forty three", wanted="Forty two", exact=True) == reward("", wanted="", exact=True) == 0


def test_several_rules_count_by_their_share() -> None:
    assert reward("Paris it is", most_words=3, contains=["paris"], avoids=["it"], form="list") == pytest.approx(2 / 4)


@pytest.mark.parametrize(("weight", "share"), [(1, 1 / 2), (3, 3 / 4), (0.5, 1 / 3)])
@pytest.mark.parametrize(("rule", "value"), [("most_words", 3), ("contains", ["paris"]), ("pattern", "^Paris"), ("exact", True), ("avoids", ["rome"])])
def test_a_rule_counts_by_its_weight(rule: str, value: Any, weight: float, share: float) -> None:
    """Beside a rule of weight 1 that the answer breaks."""
    assert reward("Paris it is", wanted="paris it is", form="list", **{rule: value, f"{rule}_weight": weight}) == pytest.approx(share)
    assert reward("- Paris\n- or Lyon", **{"contains": ["rome"], "form": "list", "form_weight": weight}) == pytest.approx(share)


def test_a_reward_model_counts_by_its_weight() -> None:
    answered = [Answered([{"role": "user", "content": "?"}], text, True) for text in ("yes", "no no no")]
    settings = RewardSettings(most_words=1, reward_run="judge", reward_run_weight=0.5)
    assert settings.judge(answered, lambda said: [float(len(each[-1]["content"])) for each in said]) == [1 + 1.5, 0 + 4.0]


def test_an_answer_without_an_end_or_a_word_costs_something_before_a_reward_model() -> None:
    answered = [Answered([{"role": "user", "content": "?"}], text, finished) for text, finished in (("it", True), ("it", False), (" ", True))]
    settings = RewardSettings(reward_run="judge", reward_run_weight=0.5, unfinished_cost=4)
    assert settings.judge(answered, lambda said: [2.0] * len(said)) == [1.0, -1.0, -1.0]


def test_rewards_are_told_in_margins_unless_the_model_hardly_tells_answers_apart() -> None:
    assert in_margins(lambda said: [3.0, -5.0], 4.0)([]) == [0.75, -1.25]
    assert in_margins(lambda said: [0.3, -0.1], 0.2)([]) == [0.3, -0.1]


def test_a_pattern_that_would_take_for_ever_counts_as_not_found() -> None:
    begun = time.monotonic()
    assert reward("a" * 40 + "!", pattern=r"^(a|aa)+$") == 0
    assert time.monotonic() - begun < 30  # without a limit: for years


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"is no regular expression"):
        parse_spec({"data": {"id": "x"}, "objective": {"name": "ppo", "pattern": "["}})
