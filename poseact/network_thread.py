"""One thread that runs networks, for all who need them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from .watch import Stage, Watch, work_as

# How long a thread is given to end once its work is not wanted any more, in seconds.
LAST_WORDS = 2.0
# What a network is to this file: answers to items, one for each, in order.
Run = Callable[[list[Any]], Iterable[Any]]


@dataclass
class _Request:
    stage: Stage
    run: Run
    items: list[Any]
    most: int
    future: Future = field(default_factory=Future)


class NetworkThread:
    """Runs what is submitted, in order. Requests that wait for the same network go through it together.

    On a CPU all networks share one such thread: each thread that calls torch has a team of workers of its own, and
    two teams on the same cores spend their time waiting for each other.
    """

    def __init__(self, watch: Watch):
        self._watch = watch
        self._stages: dict[str, Stage] = {}
        self._requests: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    @property
    def stages(self) -> list[str]:
        """The names of the stages that it is."""
        return list(self._stages)

    def submit(self, name: str, run: Run, items: Sequence[Any], most: int) -> Future:
        """A future of the list of what `run` answers to the items.

        Requests for the same `run` become one call of up to `most` items. If such a call raises, each of them is tried
        by itself, so that only the one that is to blame fails. name: of the stage, for people.
        """
        with self._changed:
            if name not in self._stages:
                self._stages[name] = self._watch.stage(name)
            request = _Request(self._stages[name], run, list(items), most)
            if self._is_stopped:
                request.future.cancel()
                return request.future
            self._requests.append(request)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name=f"poseact {name}", daemon=True)
                self._thread.start()
            self._changed.notify()
        return request.future

    def stop(self) -> None:
        """End after what is being run; what waits is cancelled."""
        with self._changed:
            self._is_stopped = True
            for request in self._requests:
                request.future.cancel()
            self._requests.clear()
            self._changed.notify()

    def join(self, seconds: float = LAST_WORDS) -> None:
        """Wait for the thread to end, but not for one that hangs."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._requests or self._is_stopped)
                if self._is_stopped:
                    return
                together = self._next_together()
            stage = together[0].stage
            work_as(stage)
            _answer(together)
            stage.count(sum(len(request.items) for request in together))
            stage.enter("starved")

    def _next_together(self) -> list[_Request]:
        first = self._requests.popleft()
        together, count = [first], len(first.items)
        for other in list(self._requests):
            if other.run == first.run and count + len(other.items) <= first.most:
                self._requests.remove(other)
                together.append(other)
                count += len(other.items)
        return together


def _answer(requests: list[_Request]) -> None:
    try:
        answers = list(requests[0].run([item for request in requests for item in request.items]))
    except BaseException as error:  # it is raised where the answer is asked for
        if len(requests) == 1:
            requests[0].future.set_exception(error)
            return
        for request in requests:
            _answer([request])
        return
    first = 0
    for request in requests:
        request.future.set_result(answers[first : first + len(request.items)])
        first += len(request.items)
