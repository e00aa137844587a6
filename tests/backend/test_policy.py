"""The arithmetic of PPO and its relatives against numbers worked out by hand."""

import pytest
import torch

from backend.policy import (
    Seen,
    Tokens,
    advantages_of,
    grpo_losses,
    left_one_out,
    next_coefficient,
    per_answer,
    ppo_losses,
    relative_to_group,
    rloo_losses,
    token_rewards,
    whitened,
)


def test_advantages_are_those_worked_out_by_hand() -> None:
    """gamma 0.9, lambda 0.5, rewards 0 0 1, values 0.5 0.4 0.3.

    delta_3 = 1 - 0.3 = 0.7; delta_2 = 0.9 * 0.3 - 0.4 = -0.13; delta_1 = 0.9 * 0.4 - 0.5 = -0.14
    A_3 = 0.7; A_2 = -0.13 + 0.45 * 0.7 = 0.185; A_1 = -0.14 + 0.45 * 0.185 = -0.05675
    """
    advantages, returns = advantages_of(torch.tensor([0.0, 0, 1]), torch.tensor([0.5, 0.4, 0.3]), [3], discount=0.9, smoothing=0.5)
    assert advantages.tolist() == pytest.approx([-0.05675, 0.185, 0.7])
    assert returns.tolist() == pytest.approx([0.44325, 0.585, 1.0])


def test_nothing_leaks_from_one_answer_into_the_next() -> None:
    rewards, values = torch.tensor([0.0, 1, 5]), torch.tensor([0.2, 0.1, 0.4])
    together, _ = advantages_of(rewards, values, [2, 1], discount=1.0, smoothing=0.95)
    first, _ = advantages_of(rewards[:2], values[:2], [2], discount=1.0, smoothing=0.95)
    assert together.tolist() == pytest.approx([*first.tolist(), 4.6])


def test_with_lambda_one_an_advantage_is_the_reward_to_come_less_the_guess() -> None:
    rewards, values = torch.tensor([1.0, 2, 3]), torch.tensor([0.5, 0.5, 0.5])
    advantages, returns = advantages_of(rewards, values, [3], discount=1.0, smoothing=1.0)
    assert returns.tolist() == pytest.approx([6, 5, 3]) and advantages.tolist() == pytest.approx([5.5, 4.5, 2.5])


def test_the_reward_stands_at_the_last_token_and_distance_costs_everywhere() -> None:
    logprobs, reference = torch.tensor([-1.0, -2, -3]), torch.tensor([-1.5, -2, -2])
    each = token_rewards([10.0, 20.0], logprobs, reference, [2, 1], 0.1)
    assert each.tolist() == pytest.approx([-0.05, 10.0, 20.1])


def test_whitening_gives_mean_nought_and_spread_one() -> None:
    values = whitened(torch.tensor([1.0, 2, 3, 6]))
    assert values.mean().item() == pytest.approx(0, abs=1e-6) and values.std(correction=0).item() == pytest.approx(1)
    assert whitened(torch.tensor([4.0])).tolist() == whitened(torch.tensor([4.0, 4.0])).tolist()[:1] == [0]


def old(**changes: list[float]) -> Tokens:
    """Two answers of one token each."""
    known = {"logprobs": [-1.0, -1.0], "values": [0.0, 1.0], "reference": [-1.0, -1.0], "advantages": [1.0, -1.0], "returns": [1.0, 0.5]}
    return Tokens([1, 1], **{name: torch.tensor(value) for name, value in (known | changes).items()})


def test_the_losses_by_hand() -> None:
    """Ratios 1.5 and 0.5 with clip 0.2: a gain counts to 1.2 alone, a loss of a token that is avoided anyway to 0.8.

    policy: (-1.2 + 0.8) / 2; values 0.5 and 1.6: errors max(0.25, 0.64) and max(1.21, 0.49), half their mean times 0.1
    """
    logprobs = old().logprobs + torch.tensor([1.5, 0.5]).log()
    found = ppo_losses(logprobs, torch.tensor([0.5, 1.6]), old(), clip=0.2, value_weight=0.1)
    assert found.total.item() == pytest.approx(-0.2 + 0.1 * 0.5 * (0.64 + 1.21) / 2)
    assert found.value_error is not None and found.value_error.item() == pytest.approx((0.25 + 1.21) / 2)
    assert found.clip_share.item() == 1


def test_a_policy_that_has_not_moved_has_the_plain_gradient() -> None:
    logprobs = old().logprobs.clone().requires_grad_()
    ppo_losses(logprobs, old().values, old(), clip=0.2, value_weight=0.0).total.backward()
    assert logprobs.grad is not None and logprobs.grad.tolist() == pytest.approx([-0.5, 0.5])


def test_the_cost_of_distance_follows_its_target() -> None:
    assert next_coefficient(0.05, 100, None) == 0.05
    assert next_coefficient(0.05, 12, 6) == pytest.approx(0.051) and next_coefficient(0.05, 1, 6) == pytest.approx(0.049)
    assert next_coefficient(0.05, 6.3, 6) == pytest.approx(0.05 * 1.005)


def test_an_answer_left_out_is_measured_by_the_others() -> None:
    """Groups (1, 2, 6) and (0, 0, 3): less 4, 3.5, 1.5 and less 1.5, 1.5, 0."""
    assert left_one_out(torch.tensor([1.0, 2, 6, 0, 0, 3]), 3).tolist() == pytest.approx([-3, -1.5, 4.5, -1.5, -1.5, 3])


def test_an_answer_stands_in_its_group() -> None:
    """Group (1, 3): mean 2, spread 1.41421 of a sample; group (5, 5): no spread, nothing to tell."""
    rewards = torch.tensor([1.0, 3, 5, 5])
    assert relative_to_group(rewards, 2, scale="group").tolist() == pytest.approx([-0.70706, 0.70706, 0, 0], abs=1e-5)
    assert relative_to_group(rewards, 2, scale="none").tolist() == [-1, 1, 0, 0]
    spread = 1.9148542 + 1e-4  # of all four
    assert relative_to_group(rewards, 2, scale="batch").tolist() == pytest.approx([-1 / spread, 1 / spread, 0, 0])


def test_what_holds_of_an_answer_stands_at_all_its_tokens() -> None:
    seen = Seen([2, 1], *(torch.zeros(3) for _ in range(3)))
    assert seen.on_tokens(torch.tensor([7.0, 8.0])).tolist() == [7, 7, 8]
    assert per_answer(torch.tensor([1.0, 2, 3]), [2, 1]).tolist() == [3, 3]


def test_some_answers_are_taken_with_all_their_tokens() -> None:
    each = [torch.arange(6.0) + 10 * number for number in range(5)]
    taken = Tokens([1, 3, 2], *each).of([2, 0], torch.device("cpu"))
    assert taken.lengths == [2, 1] and taken.logprobs.tolist() == [4, 5, 0] and taken.returns.tolist() == [44, 45, 40]


def test_a_whole_answer_is_one_action_by_hand() -> None:
    """An answer of two tokens whose ratios are 1.2 and 1.25, together 1.5, clipped to 1.2; one of a token, 0.9, within the clip."""
    logprobs = torch.tensor([1.2, 1.25, 0.9]).log()
    seen = Seen([2, 1], torch.zeros(3), torch.zeros(3), torch.zeros(3))
    found = rloo_losses(logprobs, seen.weighed(torch.tensor([2.0, 2, -1])), clip=0.2)
    assert found.total.item() == pytest.approx((-2 * 1.2 + 1 * 0.9) / 2)
    assert found.clip_share.item() == 0.5 and found.value_error is None


def test_a_group_is_learnt_from_token_by_token_by_hand() -> None:
    """Ratios 1.5 (clipped to 1.2) and 1 of an answer worth 1, 0.9 of one worth -1; the reference as likely as before.

    k3 of the ratio r = old / new: r - log r - 1 = 0.0721317, 0 and 0.0057506
    """
    logprobs, nought = torch.tensor([1.5, 1, 0.9]).log(), torch.zeros(3)
    old = Seen([2, 1], nought, nought, nought).weighed(torch.tensor([1.0, 1, -1]))
    first, second, third = -1.2 + 0.1 * 0.0721317, -1.0, 0.9 + 0.1 * 0.0057506
    found = grpo_losses(logprobs, old, clip=0.2, kl_coefficient=0.1, unbiased=False)
    assert found.total.item() == pytest.approx(((first + second) / 2 + third) / 2, abs=1e-6)
    weighed = grpo_losses(logprobs, old, clip=0.2, kl_coefficient=0.1)
    assert weighed.total.item() == pytest.approx(found.total.item() + (0.1 * 0.5 * 0.0721317 / 2 - 0.1 * 0.1 * 0.0057506) / 2, abs=1e-6)
    of_ten = grpo_losses(logprobs, old, clip=0.2, kl_coefficient=0.1, unbiased=False, longest=10)
    assert of_ten.total.item() == pytest.approx((first + second + third) / 20, abs=1e-6)
    assert found.clip_share.item() == pytest.approx(1 / 3)
