"""Answers that are asked for apart and stand on the same weights take their steps together.

Two panes of a chat each have a thread of their own. A step for both costs little more than a step for one, so whoever comes
first waits a moment for the others, and makes the step for all who are there by then.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch

from backend.fast.decoding import Group, step

PATIENCE = 0.01  # seconds to wait for those who are also answering

Turn = Callable[[], AbstractContextManager[None]]


@dataclass
class _Request:
    """One more token of a group's rows, asked for by one thread and perhaps read by another."""

    group: Group
    tokens: torch.Tensor  # [rows]
    is_done: bool = False
    fault: BaseException | None = None

    @property
    def base(self) -> int:
        return id(self.group.body.embed.weight)


class Batcher:
    """Makes the steps of several threads. One leads at a time; who shares the leader's weights is taken along."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._answering: list[Group] = []
        self._waiting: list[_Request] = []
        self._is_led = False
        self._leader: Group | None = None  # whose thread made the last step

    @contextmanager
    def joined(self, group: Group) -> Iterator[None]:
        """Let others wait for this group's steps, for the length of a `with` block."""
        with self._changed:
            self._answering.append(group)
        try:
            yield
        finally:
            with self._changed:
                self._answering = [other for other in self._answering if other is not group]
                self._leader = None if self._leader is group else self._leader
                self._changed.notify_all()

    def step(self, group: Group, tokens: torch.Tensor, *, turn: Turn) -> torch.Tensor:
        """Read one more token of each of a group's rows, [rows], in a turn on the device; gives the next logits, [rows, vocabulary]."""
        mine = _Request(group, tokens)
        if self._is_mine_to_lead(mine):
            try:
                with turn():
                    _make(self._taken_along(mine))
            finally:
                self._let_go(mine)
        if mine.fault:
            raise mine.fault
        return group.logits

    def _is_mine_to_lead(self, mine: _Request) -> bool:
        """Waits until a step has been made by somebody else, or is mine to make: who has just made one alone is waited for too,
        so that those who fell out of step fall into it again."""
        with self._changed:
            self._waiting.append(mine)
            self._changed.notify_all()
            while True:
                self._changed.wait_for(lambda: mine.is_done or not self._is_led)
                self._changed.wait_for(lambda: mine.is_done or self._is_led or self._is_called(mine), timeout=PATIENCE)
                if mine.is_done:
                    return False
                if not self._is_led:
                    self._is_led, self._leader = True, mine.group
                    return True

    def _is_called(self, mine: _Request) -> bool:
        """Whether all who share my weights are here and I am to lead them. Whoever led last leads again: when products go from
        one thread to another, the helpers of both want the same cores for some milliseconds, and a step takes 1.6 times as long."""
        here = [request.group for request in self._waiting if request.base == mine.base]
        answering = sum(id(group.body.embed.weight) == mine.base for group in self._answering)
        return len(here) >= answering and (self._leader is mine.group or not any(group is self._leader for group in here))

    def _taken_along(self, leader: _Request) -> list[_Request]:
        with self._changed:
            taken = [request for request in self._waiting if request.base == leader.base]
            self._waiting = [request for request in self._waiting if request.base != leader.base]
            return taken

    def _let_go(self, leader: _Request) -> None:
        with self._changed:
            self._waiting = [request for request in self._waiting if request is not leader]  # where its turn never came
            self._is_led = False
            self._changed.notify_all()


def _make(requests: Sequence[_Request]) -> None:
    """One step for all; what goes wrong in it is everybody's."""
    try:
        step([request.group for request in requests], [request.tokens for request in requests])
    except Exception as fault:
        for request in requests:
            request.fault = fault
    for request in requests:
        request.is_done = True
