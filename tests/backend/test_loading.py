"""Reading weights can be broken off, by whoever reads them and nobody else."""

import gc
import threading
from collections.abc import Callable

import pytest
import torch

from backend import models
from backend.device import Turns, dtype
from backend.errors import Stopped
from backend.fast import packed
from backend.fast.packed import packs
from backend.inference import Playground, Shelf, Speaker
from backend.jobs import Means
from backend.loading import asking
from backend.models import locate
from backend.sampling import Sampling
from backend.workspace import Workspace

STARTER = Speaker("base", "starter")


def load(workspace: Workspace) -> torch.nn.Module:
    return models.load(locate("starter", workspace), torch.bfloat16, device=torch.device("cpu"))


def after(questions: int) -> Callable[[], bool]:
    """Somebody who asks to stop at the n-th question."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == questions

    return should_stop


@pytest.mark.fault("stop, and go on")
def test_weights_that_are_being_read_are_left_when_somebody_asks_to_stop(workspace: Workspace) -> None:
    with pytest.raises(Stopped), asking(after(5)):
        load(workspace)
    assert load(workspace)  # nobody is asked any more


def test_another_thread_is_not_asked(workspace: Workspace) -> None:
    loaded: list[torch.nn.Module] = []
    with asking(after(1)):
        thread = threading.Thread(target=lambda: loaded.append(load(workspace)))
        thread.start()
        thread.join()
        with pytest.raises(Stopped):
            load(workspace)
    assert loaded


def test_work_that_was_stopped_while_loading_finds_the_device_free(workspace: Workspace) -> None:
    turns, shelf = Turns(), Shelf(workspace)
    with pytest.raises(Stopped):
        Means(lambda: True, turns, shelf).load(STARTER)
    assert not shelf.holds(STARTER)
    model, _ = Means(lambda: False, turns, shelf).load(STARTER)
    assert model is shelf.get(STARTER)[0]


def test_chat_that_is_stopped_while_loading_has_said_nothing(workspace: Workspace) -> None:
    playground = Playground(workspace, Turns())
    question = [{"role": "user", "content": "Why?"}]
    (reply,) = playground.stream(STARTER, question, Sampling(), stopped=lambda: True)  # type: ignore[arg-type]
    assert (reply.text, reply.tokens, reply.end) == ("", 0, "stopped") and not playground.is_loaded(STARTER)
    *_, reply = playground.stream(STARTER, question, Sampling(max_tokens=2))  # type: ignore[arg-type]
    assert reply.tokens and playground.is_loaded(STARTER)


@pytest.mark.skipif(not packs(dtype("auto")), reason="torch cannot pack matrices on this processor")
def test_who_is_asked_is_packed_and_who_is_only_trained_on_is_not(workspace: Workspace) -> None:
    shelf, copies = Shelf(workspace), len(packed._copies)
    shelf.base(locate("starter", workspace))
    assert len(packed._copies) == copies
    shelf.get(STARTER)
    assert len(packed._copies) > copies
    shelf.clear()
    gc.collect()
    assert len(packed._copies) == copies
