"""From what people said to votes between candidates: whoever spoke with the same weights and settings is one of them."""

import random

import pytest

from backend.labelling.items import Candidate, Item, Labels, Made, Said
from backend.labelling.scoreboard import Duel, Vote, all_met, binomial_test, strengths
from backend.labelling.talking import ChatVotes, Heard
from backend.labelling.tallying import duels_of, names_of, record_of, said_in_chat, said_of_batch, still_open, tally_of
from backend.store import Store
from backend.workspace import Workspace


def made(speaker: str, name: str = "", *, temperature: float = 0.0, top_p: float = 1.0, adapter: str = "", seed: int = 0) -> Made:
    sampling = {"temperature": temperature, "top_p": top_p, "max_tokens": 256}
    return {"speaker": speaker, "name": name or speaker.partition(":")[2], "adapter": adapter, "sampling": sampling, "seed": seed}


BASE, RUN, WILD = made("base:starter"), made("run:poems-1a2b3c", "poems"), made("base:starter", temperature=0.7)


def item(number: int, *makers: Made) -> Item:
    answers = [Candidate([{"role": "assistant", "content": f"{number} {place}"}], each) for place, each in enumerate(makers)]
    return Item([{"role": "user", "content": f"question {number}"}], answers)


@pytest.fixture
def store(tmp_path):
    return Store.of(Workspace(tmp_path).prepare())


def batch(store, items, said, **options):
    labels = Labels(store)
    return labels, labels.begin("first", items, votes=said, **options).id


def test_votes_of_a_batch_count_by_who_answered_whatever_place_the_answer_has(store):
    items = [item(0, BASE, RUN), item(1, RUN, BASE), item(2, BASE, RUN), item(3, BASE, RUN)]
    said = [Said(0, "ada", "ranked", [2, 1]), Said(1, "ada", "ranked", [1, 2]), Said(2, "ada", "tie", []), Said(3, "ada", "skipped", [])]
    tally = tally_of(said_of_batch(*batch(store, items, said)))
    assert [(met.one, met.other, met.duel) for met in duels_of(tally.votes)] == [("poems", "starter", Duel(2, 1, 0))]
    assert (tally.opinions, tally.all_bad, tally.own) == (3, 0, 0)


def test_a_ranking_counts_as_a_duel_of_each_two(store):
    tally = tally_of(said_of_batch(*batch(store, [item(0, BASE, RUN, WILD)], [Said(0, "ada", "ranked", [2, 1, 2])])))
    assert sorted((vote.winner, vote.loser, vote.tie) for vote in tally.votes) == [
        ("poems", "starter, temperature 0", False), ("poems", "starter, temperature 0.7", False),
        ("starter, temperature 0", "starter, temperature 0.7", True),
    ]


def test_repeats_are_left_out_and_all_bad_counts_for_nobody(store):
    said = [Said(0, "ada", "both bad", []), Said(0, "ada", "ranked", [1, 2], repeat=True)]
    tally = tally_of(said_of_batch(*batch(store, [item(0, BASE, RUN)], said)))
    assert (tally.votes, tally.all_bad, tally.opinions) == ([], 1, 1)
    assert tally.candidates == ["poems", "starter"]


def test_another_seed_is_the_same_candidate_and_scores_nothing_against_itself(store):
    tally = tally_of(said_of_batch(*batch(store, [item(0, BASE, {**BASE, "seed": 9})], [Said(0, "ada", "ranked", [1, 2])])))
    assert (tally.votes, tally.own) == ([], 1)


def test_chat_and_batches_meet_in_one_tally(store):
    labels, id = batch(store, [item(0, BASE, RUN)], [Said(0, "ada", "ranked", [1, 2])])
    votes = ChatVotes(store)
    sides = [Heard([{"role": "user", "content": "q"}], Candidate([{"role": "assistant", "content": "a"}], each)) for each in (RUN, BASE)]
    votes.cast("t", 0, *sides, verdict="right", annotator="ada")
    tally = tally_of([*said_of_batch(labels, id), *said_in_chat(votes)])
    assert record_of(tally.votes, "starter") == Duel(2, 0, 0) and record_of(tally.votes, "poems") == Duel(0, 0, 2)


def test_names_say_what_tells_candidates_apart_and_nothing_else():
    assert set(names_of([BASE, RUN]).values()) == {"starter", "poems"}
    assert set(names_of([BASE, made("base:starter", top_p=0.5)]).values()) == {"starter"}  # greedy: top-p changes nothing
    assert set(names_of([WILD, made("base:starter", temperature=0.7, top_p=0.5)]).values()) == {"starter, top-p 1", "starter, top-p 0.5"}
    again = [made("run:poems-1a2b3c", "poems", adapter=weights) for weights in ("aaaaaaaaa", "bbbbbbbbb")]
    assert set(names_of(again).values()) == {"poems, weights aaaaaa", "poems, weights bbbbbb"}
    assert set(names_of([RUN, made("run:poems-4d5e6f", "poems")]).values()) == {"poems, 1a2b3c", "poems, 4d5e6f"}


def test_a_renamed_run_stays_one_candidate_under_its_newest_name():
    assert set(names_of([RUN, {**RUN, "name": "verses"}]).values()) == {"verses"}


def test_answers_that_were_brought_are_named_by_their_column():
    brought: list[Made] = [{"speaker": "column:answer1"}, {"speaker": "column:answer2"}, {}]
    assert set(names_of(brought).values()) == {'brought as "answer1"', 'brought as "answer2"', "brought by somebody"}


def test_a_candidate_named_tie_is_no_tie():
    votes = [Vote("p", "tie", "x"), Vote("q", "x", "tie", tie=True)]
    assert duels_of(votes)[0].duel == Duel(1, 1, 0) and record_of(votes, "tie") == Duel(1, 1, 0)


def test_an_item_is_open_until_enough_people_have_said_something(store):
    items = [item(number, BASE, RUN) for number in range(3)]
    said = [Said(0, "ada", "tie", []), Said(0, "bob", "tie", []), Said(1, "ada", "tie", []), Said(1, "bob", "skipped", [])]
    assert still_open(*batch(store, items, said, overlap=2)) == (2, 3)


def test_swapping_places_renaming_and_shuffling_change_no_statistic(store):
    dice = random.Random(5)
    makers = [BASE, RUN, WILD]
    pairs = [dice.sample(makers, 2) for _ in range(60)]
    ranks = [dice.choice([[1, 2], [2, 1], [1, 1]]) for _ in pairs]
    plain = tally_of(said_of_batch(*batch(store, [item(n, *pair) for n, pair in enumerate(pairs)], [Said(n, "ada", "ranked", r) for n, r in enumerate(ranks)])))
    renamed = {"starter": "zebra", "poems": "aardvark"}
    swapped = [item(n, *({**each, "name": renamed[each["name"]]} for each in reversed(pair))) for n, pair in enumerate(pairs)]
    said = [Said(n, "ada", "ranked", r[::-1]) for n, r in enumerate(ranks)]
    other = tally_of(said_of_batch(*batch(store, swapped, dice.sample(said, len(said)))))

    def back(name: str) -> str:
        return name.replace("zebra", "starter").replace("aardvark", "poems")

    theirs = {back(each.candidate): (each.log_strength, each.interval) for each in strengths(other.votes, rounds=50)}
    for each in strengths(plain.votes, rounds=50):
        assert theirs[each.candidate][0] == pytest.approx(each.log_strength)
        assert theirs[each.candidate][1] == pytest.approx(each.interval)
    for name in plain.candidates:
        assert record_of(plain.votes, name) == next(record_of(other.votes, each) for each in other.candidates if back(each) == name)


def test_strengths_need_everybody_to_have_met_through_others_at_least():
    assert all_met([]) and all_met([Vote("p", "a", "b"), Vote("p", "c", "d"), Vote("p", "b", "c")])
    assert not all_met([Vote("p", "a", "b"), Vote("p", "c", "d")])


def test_ten_thousand_votes_between_five_are_counted_within_seconds():
    import time

    dice = random.Random(0)
    votes = [Vote(f"p{n % 2500}", *dice.sample("abcde", 2), tie=n % 10 == 0) for n in range(10_000)]
    begun = time.perf_counter()
    assert len(strengths(votes)) == 5 and 0 <= binomial_test(4_900, 10_000) < 0.05
    assert time.perf_counter() - begun < 8  # it took 25 s before the bootstrap was done with arrays
