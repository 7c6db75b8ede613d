"""Threads and bounded queues: a stage runs ahead of who takes from it, and networks run in threads of their own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from itertools import islice
from types import TracebackType
from typing import Any, Generic, TypeVar

from .failure import Failure
from .network_thread import LAST_WORDS, NetworkThread, Run
from .watch import Stage, Watch, doing, work_as

T = TypeVar("T")
U = TypeVar("U")

# How often somebody who waits looks whether all stages still get on, in seconds.
_GLANCE = 0.5
# A chain in which one stage works on one thing for longer than this, in seconds, has come to a halt.
PATIENCE = 120.0


class Stopped(Exception):
    """The chain was stopped while a stage of it waited."""


class Engine:
    """The threads of a chain. A context manager: when it is left, however that comes, all of them are stopped.

    patience: seconds after which a stage that does not get on is given up, with a StalledError.
    """

    def __init__(self, patience: float = PATIENCE):
        self.watch = Watch(patience)
        self._aheads: list[Ahead] = []
        self._networks: dict[str, NetworkThread] = {}
        self._lock = threading.Lock()
        self._is_stopped = False

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._is_stopped = True
            threads: list[Ahead | NetworkThread] = [*self._aheads, *self._networks.values()]
        for thread in threads:
            thread.stop()
        end = time.monotonic() + LAST_WORDS
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    def ahead(
        self,
        name: str,
        items: Iterable[T],
        room: float,
        weigh: Callable[[T], float] = lambda item: 1,
        pulse: Callable[[], object] | None = None,
    ) -> Ahead[T]:
        """The same items, made in a thread of their own before they are asked for.

        What goes wrong there is raised where it would have been without the thread: after the last good item.
        room: how much may wait, by what each weighs; one item may in any case. name: of the stage, for people.
        pulse: see `watch.Stage`. Raises Stopped if the engine was.
        """
        with self._lock:
            if self._is_stopped:
                raise Stopped
            ahead = Ahead(items, room, weigh, self.watch.stage(name, pulse), self.watch)
            self._aheads = [*(other for other in self._aheads if not other.is_over), ahead]
        return ahead

    def submit(self, thread: str, name: str, run: Run, items: Sequence[Any], most: int) -> Future:
        """Have a network answer each of `items`, see `NetworkThread.submit`, in the thread of this name."""
        with self._lock:
            if self._is_stopped:
                raise Stopped
            networks = self._networks.setdefault(thread, NetworkThread(self.watch))
        return networks.submit(name, run, items, most)

    def result(self, future: Future) -> Any:
        """What was submitted comes to. Raises what the network raised, or StalledError."""
        with doing("waiting"):
            while True:
                try:
                    return future.result(_GLANCE)
                except NotYet:
                    if future.done():
                        return future.result()  # it came just now, or the timeout is the network's own
                    with self._lock:
                        networks = list(self._networks.values())
                    # Nothing else can hold it up.
                    self.watch.check([name for each in networks for name in each.stages])


class Ahead(Generic[T]):
    """An iterator over what a thread makes; see `Engine.ahead`."""

    def __init__(self, items: Iterable[T], room: float, weigh: Callable[[T], float], stage: Stage, watch: Watch):
        self._items = items
        self._room, self._weigh = room, weigh
        self._stage, self._watch = stage, watch
        self._ready: deque[tuple[T, float]] = deque()
        self._load = 0.0
        self._changed = threading.Condition()
        self.is_over = self._is_stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"poseact {stage.name}", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            if not self._ready:
                self._wait_for_more()
            if self._ready:
                item, weight = self._ready.popleft()
                self._load -= weight
                self._changed.notify_all()
                return item
        if self._is_stopped:
            raise Stopped
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        raise StopIteration

    def stop(self) -> None:
        """Let the thread end after the item in hand, and whoever waits for it go on without."""
        with self._changed:
            self._is_stopped = True
            self._ready.clear()
            self._changed.notify_all()

    def join(self, seconds: float = LAST_WORDS) -> None:
        """Wait for the thread to end, but not for one that hangs."""
        self._thread.join(seconds)

    def _wait_for_more(self) -> None:
        with doing("starved"):
            while not (self._ready or self.is_over or self._is_stopped):
                self._changed.wait(_GLANCE)
                self._watch.check()

    def _run(self) -> None:
        work_as(self._stage)
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:  # it is raised where the items are taken
            self._error = error
        finally:
            try:
                close = getattr(self._items, "close", None)
                if close is not None:
                    close()
            finally:
                self._stage.end()
                with self._changed:
                    self.is_over = True
                    self._changed.notify_all()

    def _put(self, item: T) -> bool:
        """Whether there is still somebody who wants it."""
        self._stage.count()
        weight = self._weigh(item)
        with self._changed:
            if not self._has_room(weight):
                with self._stage.doing("blocked"):
                    self._changed.wait_for(lambda: self._has_room(weight) or self._is_stopped)
            if self._is_stopped:
                return False
            self._ready.append((item, weight))
            self._load += weight
            self._changed.notify_all()
            return True

    def _has_room(self, weight: float) -> bool:
        return not self._ready or self._load + weight <= self._room


def in_threads(make: Callable[[list[T]], Iterable[U]], items: Iterable[T], threads: int, together: int) -> Iterator[U]:
    """What `make` makes of the items, in their order: of `together` of them at a time, in so many threads.

    What goes wrong, be it with the items or in a thread, is raised after all that came before it.
    """

    def made_of(some: list[T]) -> tuple[list[U], Failure]:
        failure = Failure()
        return list(failure.after(make(some))), failure

    def answers(future: Future[tuple[list[U], Failure]]) -> Iterator[U]:
        made, failure = future.result()
        yield from made
        failure.check()

    failure = Failure()
    with ThreadPoolExecutor(threads, "poseact helper") as pool:
        rest = failure.after(items)
        batches = iter(lambda: list(islice(rest, together)), [])
        for future in begun_ahead((pool.submit(made_of, some) for some in batches), threads):
            yield from answers(future)
    failure.check()


def begun_ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """The same items, each after `count` more were made: whatever these begin goes on meanwhile."""
    waiting: deque[T] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting
