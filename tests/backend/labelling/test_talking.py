"""Votes in chat: kept at once, each once, with all that is known of both answers; those that can teach become rows."""

import subprocess
import sys
from pathlib import Path

import pytest

from backend.data.versions import Datasets
from backend.errors import UserError
from backend.labelling.items import Candidate, Made
from backend.labelling.outcomes import judged_in_chat, records
from backend.labelling.talking import ChatVotes, Heard
from backend.store import Store
from backend.workspace import Workspace

READ = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How do I descale a kettle?"}]
WARM: Made = {
    "speaker": "run:three-lines-1a2b3c", "name": "three lines", "adapter": "0123456789abcdef",
    "sampling": {"temperature": 0.7, "top_p": 0.9, "max_tokens": 64}, "seed": 3, "tokens": 5, "end": "finished",
}  # fmt: skip
COLD: Made = {"speaker": "base:starter", "name": "starter", "seed": 0, "tokens": 4, "end": "cut off"}


def heard(text: str, made: Made = COLD, *, read: list = READ) -> Heard:
    return Heard(read, Candidate([{"role": "assistant", "content": text}], made))


def kept(folder: Path, sql: str) -> list[tuple]:
    with Store.of(Workspace(folder)).reading() as db:
        return db.execute(sql).fetchall()


LEFT, RIGHT = heard("With vinegar.", WARM), heard("With a hammer.")


@pytest.fixture
def votes(tmp_path):
    return ChatVotes(Store.of(Workspace(tmp_path).prepare()))


def test_a_vote_keeps_both_answers_and_how_they_were_made(votes):
    votes.cast("talk-1", 0, LEFT, RIGHT, verdict="left", annotator="  ada ")
    [kept] = votes.votes()
    assert (kept.prompt, kept.left, kept.right) == (READ, LEFT.candidate, RIGHT.candidate)
    assert kept.left.made == WARM and kept.annotator == "ada" and kept.same_history


def test_each_person_votes_once_on_a_turn_and_the_last_word_counts(votes):
    for verdict in ("left", "left", "tie"):
        votes.cast("talk-1", 0, LEFT, RIGHT, verdict=verdict, annotator="ada")
    votes.cast("talk-1", 0, LEFT, RIGHT, verdict="right", annotator="bob")
    votes.cast("talk-1", 1, LEFT, RIGHT, verdict="both bad", annotator="ada")
    votes.cast("talk-2", 0, LEFT, RIGHT, verdict="left", annotator="ada")
    assert [(vote.talk, vote.turn, vote.annotator, vote.verdict) for vote in votes.votes()] == [
        ("talk-1", 0, "ada", "tie"), ("talk-1", 0, "bob", "right"), ("talk-1", 1, "ada", "both bad"), ("talk-2", 0, "ada", "left"),
    ]
    assert votes.count() == 4


def test_undo_takes_back_the_newest_of_one_person_and_conversation_and_keeps_the_record(votes, tmp_path):
    for turn in range(2):
        votes.cast("talk-1", turn, LEFT, RIGHT, verdict="left", annotator="ada")
    votes.cast("talk-1", 1, LEFT, RIGHT, verdict="left", annotator="bob")
    cast = kept(tmp_path, "SELECT * FROM chat_votes")
    undone = [votes.undo("talk-1", "ada") for _ in range(3)]
    assert [vote.turn if vote else None for vote in undone] == [1, 0, None]
    assert [vote.annotator for vote in votes.votes()] == ["bob"]
    assert kept(tmp_path, "SELECT * FROM chat_votes") == cast and len(cast) == 3
    assert kept(tmp_path, "SELECT vote FROM chat_undos ORDER BY at") == [(2,), (1,)]


def test_a_second_vote_leaves_the_record_of_the_first_as_it_was(votes, tmp_path):
    votes.cast("talk-1", 0, LEFT, RIGHT, verdict="left", annotator="ada")
    first = kept(tmp_path, "SELECT * FROM chat_votes")
    votes.cast("talk-1", 0, LEFT, RIGHT, verdict="right", annotator="ada")
    assert kept(tmp_path, "SELECT * FROM chat_votes")[:1] == first
    assert kept(tmp_path, "SELECT vote FROM chat_undos") == [(1,)] and [vote.verdict for vote in votes.votes()] == ["right"]


def test_a_vote_is_a_preference_where_both_had_read_the_same_and_said_different_things(votes):
    vote = votes.cast("t", 0, LEFT, RIGHT, verdict="right", annotator="ada")
    assert vote.only_scored == ""
    [row] = records(judged_in_chat(votes.votes()))
    assert (row["prompt"], row["answers"], row["ranks"]) == (READ, [RIGHT.candidate.answer, LEFT.candidate.answer], [1, 2])


@pytest.mark.parametrize(("right", "why"), [
    (heard("With a hammer.", read=[*READ[1:]]), "the two sides had read different things"),
    (heard("With vinegar."), "both answers are the same"),
    (heard("  "), "one side ended without a word"),
])
def test_what_cannot_teach_counts_for_the_score_only_and_says_why(votes, right, why):
    assert votes.cast("t", 0, LEFT, right, verdict="left", annotator="ada").only_scored == why
    assert judged_in_chat(votes.votes()) == [] and len(votes.votes()) == 1


def test_votes_can_be_saved_as_a_data_set(votes, tmp_path):
    votes.cast("t", 0, LEFT, RIGHT, verdict="left", annotator="ada")
    rows = records(judged_in_chat(votes.votes()))
    card = Datasets(Workspace(tmp_path)).save(rows, name="from chat", record="preferences", source={})
    assert (card.record, card.rows) == ("preferences", 1)


def test_a_vote_without_a_name_is_refused(votes):
    with pytest.raises(UserError, match="Say who votes"):
        votes.cast("t", 0, LEFT, RIGHT, verdict="left", annotator="  ")


@pytest.mark.fault("the process is killed after a vote")
def test_a_vote_is_there_after_the_process_was_killed(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from backend.labelling.items import Candidate\n"
        "from backend.labelling.talking import ChatVotes, Heard; from backend.store import Store; from backend.workspace import Workspace\n"
        "side = Heard([], Candidate([], {})); votes = ChatVotes(Store.of(Workspace(Path(sys.argv[1])).prepare()))\n"
        "votes.cast('t', 0, side, side, verdict='tie', annotator='ada'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -9
    assert [vote.verdict for vote in ChatVotes(Store.of(Workspace(tmp_path))).votes()] == ["tie"]
