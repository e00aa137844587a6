"""What answering needs: the device and the models in memory, as the engine lends them."""

from collections.abc import Callable

import pytest

from backend.jobs import Means
from backend.workspace import Workspace

Stop = Callable[[], bool]


@pytest.fixture
def means(workspace: Workspace) -> Callable[..., Means]:
    """means(should_stop) of one studio: the models stay in memory between two goes."""
    from backend.device import Turns
    from backend.inference import Shelf

    turns, shelf = Turns(), Shelf(workspace)

    def lent(should_stop: Stop = lambda: False) -> Means:
        return Means(should_stop, turns, shelf)

    return lent
