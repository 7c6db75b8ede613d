"""What each stage of a running chain does: for the table of `--profile`, and to notice one that hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from .errors import StalledError

# What a stage's thread does: its work, or waiting for what it works on, for who takes it, or for a network's answer.
State = Literal["working", "starved", "blocked", "waiting"]

_here = threading.local()
# Seconds that who takes from the last stage waits longer than the stages themselves.
_GRACE = 2.0
# Who waits looks at the stages more than once a second. If for so many nobody did, the process may have been stopped
# (Ctrl-Z), and with it the stages; they are then given all their time again.
_UNWATCHED = 5.0


@dataclass(frozen=True)
class StageTimes:
    """items: that were done. working, starved, blocked, waiting: seconds in each `State`, of all threads of that name;
    lived: in all."""

    items: int = 0
    working: float = 0.0
    starved: float = 0.0
    blocked: float = 0.0
    waiting: float = 0.0

    @property
    def lived(self) -> float:
        return self.working + self.starved + self.blocked + self.waiting

    def plus(self, stage: Stage) -> StageTimes:
        seconds = stage.seconds
        return StageTimes(
            self.items + stage.items,
            self.working + seconds["working"],
            self.starved + seconds["starved"],
            self.blocked + seconds["blocked"],
            self.waiting + seconds["waiting"],
        )


class Stage:
    """One stage's count of items and the seconds that its thread spent in each state.

    pulse: a value that changes while the stage gets on although it has finished nothing yet.
    """

    def __init__(self, name: str, pulse: Callable[[], object] | None = None):
        self.name = name
        self.items = 0
        self.seconds: dict[State, float] = {"working": 0.0, "starved": 0.0, "blocked": 0.0, "waiting": 0.0}
        self.state: State = "starved"
        self._since = self._alive = time.monotonic()
        self._pulse, self._last_pulse = pulse, None if pulse is None else pulse()
        self.is_over = False

    def enter(self, state: State) -> None:
        now = time.monotonic()
        self.seconds[self.state] += now - self._since
        self.state, self._since, self._alive = state, now, now

    @contextmanager
    def doing(self, state: State) -> Iterator[None]:
        before = self.state
        self.enter(state)
        try:
            yield
        finally:
            self.enter(before)

    def count(self, items: int = 1) -> None:
        """Note that so many items are done."""
        self.items += items
        self._alive = time.monotonic()

    def revive(self) -> None:
        """Let its silence begin now."""
        self._alive = time.monotonic()

    def end(self) -> None:
        self.enter("starved")
        self.is_over = True

    def silent_for(self) -> float:
        """Seconds of work without a sign of life; 0 for a stage that waits."""
        if self.is_over or self.state != "working":
            return 0.0
        if self._pulse is not None and (pulse := self._pulse()) != self._last_pulse:
            self._last_pulse, self._alive = pulse, time.monotonic()
        return time.monotonic() - self._alive


class Watch:
    """All stages of a chain. patience: seconds after which a stage that does not get on is given up."""

    def __init__(self, patience: float):
        self.patience = patience
        self._started = self._checked = time.monotonic()
        self._running: list[Stage] = []
        self._done: dict[str, StageTimes] = {}
        self._lock = threading.Lock()

    def stage(self, name: str, pulse: Callable[[], object] | None = None) -> Stage:
        stage = Stage(name, pulse)
        with self._lock:
            # Thousands of videos have thousands of stages one after the other.
            for other in self._running:
                if other.is_over:
                    self._done[other.name] = self._done.get(other.name, StageTimes()).plus(other)
            self._running = [*(other for other in self._running if not other.is_over), stage]
        return stage

    def times(self) -> dict[str, StageTimes]:
        """What the stages did so far, those of one name together, in the order in which they began."""
        with self._lock:
            found = dict(self._done)
            for stage in self._running:
                found[stage.name] = found.get(stage.name, StageTimes()).plus(stage)
        return found

    def seconds(self) -> float:
        """Since the chain began."""
        return time.monotonic() - self._started

    def check(self, only: Container[str] | None = None) -> None:
        """Raises StalledError if a stage has worked on one thing for too long. only: names of those that matter.

        Stages learn of it first, so that they can still hand on what they have.
        """
        patience = self.patience if getattr(_here, "stage", None) is not None else self.patience + _GRACE
        before, self._checked = self._checked, time.monotonic()
        for stage in self._running:
            if self._checked - before > _UNWATCHED:
                stage.revive()
            if (only is None or stage.name in only) and stage.silent_for() > patience:
                raise StalledError(
                    f"{stage.name} has not got on for {self.patience:.0f} s and is given up; "
                    "if the machine or its disk is only that slow, use a smaller model or copy the video here first"
                )


def work_as(stage: Stage) -> None:
    """From here on the current thread's time is this stage's."""
    _here.stage = stage
    stage.enter("working")


@contextmanager
def doing(state: State) -> Iterator[None]:
    """The current thread's stage is in this state meanwhile; a thread of no stage is not timed."""
    stage = getattr(_here, "stage", None)
    if stage is None:
        yield
        return
    with stage.doing(state):
        yield
