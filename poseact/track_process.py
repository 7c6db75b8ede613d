"""People followed in a process of its own: all threads of one Python take turns, and beside a GPU that is what limits
them. It looks for scene cuts too.

The process is this file, run as a program. Requests go to its standard input and answers come from its standard output,
both pickled; it ends when its input does, so that it never outlives who started it, however that ends.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import chain, count, islice
from threading import Lock
from typing import IO, Any

import numpy as np

from .cuts import CutFinder, small
from .detect import Detections
from .engine import Engine
from .errors import StalledError
from .failure import Failure
from .gaps import Tracked
from .track import Sighting, Tracker
from .video import Frame

# The thread that waits for answers.
_FOLLOWING = "following"
# Frames that are sent together, and how many such requests are on their way while the people of others are found.
_TOGETHER, _IN_FLIGHT = 16, 2
# What is told of a frame: who was found, and the picture in which cuts are looked for, see `cuts.small`. None: that no
# frame follows.
_Told = tuple[Sighting, np.ndarray] | None
# To each of them an answer, of the frames not answered to yet: the ids of the people in those of which it is certain
# now whether a scene begins with them, as `Tracker.update` gives them.
_Ids = list[np.ndarray]
# Bytes that a pipe holds where the system lets one choose: about a request, so that neither side waits for the other.
_PIPE = 1 << 20
# One thread each: what it computes is small, and whoever started it wants the other cores.
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class TrackerProcess:
    """A process with the trackers of any number of videos. It is started when the first of them begins."""

    def __init__(self) -> None:
        # Who waits for an answer may wait for ever, which must not keep others from noticing.
        self._starting, self._asking = Lock(), Lock()
        self._numbers = count()
        # Videos whose trackers it may forget, which it is told with the next request.
        self._over: deque[int] = deque()
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def video(self, rate: float) -> Iterator[partial[list[_Ids]]]:
        """What follows the people of one video, as long as the context lasts: told of its next frames, list[_Told], it
        answers to each, list[_Ids]. rate: frames per second. Raises StalledError if the process ended."""
        with self._starting:
            if self._process is None or self._process.poll() is not None:
                self._process = _started()
                weakref.finalize(self, _end, self._process)
        number = next(self._numbers)
        try:
            yield partial(self._ask, self._process, number, rate)
        finally:
            self._over.append(number)

    def _ask(self, process: subprocess.Popen[bytes], number: int, rate: float, told: Sequence[_Told]) -> list[_Ids]:
        assert process.stdin is not None
        assert process.stdout is not None
        with self._asking:
            over = [self._over.popleft() for _ in range(len(self._over))]
            try:
                _send((number, rate, list(told), over), process.stdin)
                answer = _receive(process.stdout)
            except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
                raise StalledError(
                    f"the process that follows people ended ({_why(process)}); the memory may have been full, so close "
                    "other programs and try again"
                ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def follow_elsewhere(
    found_in: Iterable[tuple[Frame, Detections]], rate: float, engine: Engine, process: TrackerProcess
) -> Iterator[Tracked]:
    """As `cuts.mark_cuts` and `track.follow`, by a process, so that frames come some batches late. No ids may be given,
    nor may the source be live."""
    unnamed: deque[tuple[Frame, Detections]] = deque()
    in_flight: deque[Future] = deque()
    failure = Failure()
    with process.video(rate) as ask:
        told = _told(failure.after(found_in), unnamed)
        while batch := list(islice(told, _TOGETHER)):
            in_flight.append(engine.submit(_FOLLOWING, "following people", ask, batch, len(batch)))
            if len(in_flight) > _IN_FLIGHT:
                yield from _named(unnamed, engine.result(in_flight.popleft()))
        for future in in_flight:
            yield from _named(unnamed, engine.result(future))
    failure.check()


def _told(found_in: Iterable[tuple[Frame, Detections]], unnamed: deque[tuple[Frame, Detections]]) -> Iterator[_Told]:
    for frame, found in found_in:
        unnamed.append((frame.blank(), found))
        sighting = Sighting.of(frame, found)
        # What waits to be sent must not keep the picture.
        yield replace(sighting, clothes=[cloth.copy() for cloth in sighting.clothes]), small(frame.seen)
    yield None


def _named(unnamed: deque[tuple[Frame, Detections]], answers: list[_Ids]) -> Iterator[Tracked]:
    for ids in chain.from_iterable(answers):
        frame, found = unnamed.popleft()
        yield frame, ids, found


def _send(content: Any, pipe: IO[bytes]) -> None:
    """In one piece: what is pickled straight into a pipe goes part by part, and at each the other side wakes up."""
    pickle.dump(pickle.dumps(content, pickle.HIGHEST_PROTOCOL), pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    return pickle.loads(pickle.load(pipe))


def _started() -> subprocess.Popen[bytes]:
    try:
        return _started_with(_PIPE)
    except PermissionError:  # somebody with so many pipes may make none larger
        return _started_with(-1)


def _started_with(pipesize: int) -> subprocess.Popen[bytes]:
    # Its own session: Ctrl-C is for who started it. It finds this package as this process did.
    environment = {**os.environ, **_THREADS, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pipesize=pipesize,
        env=environment,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not sent cannot be any more
                pipe.close()


def _why(process: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    code = process.poll()
    return "it closed its output" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"


class _Follower:
    """In the process: follows the people of one video."""

    def __init__(self, rate: float):
        self._tracker, self._cuts = Tracker(rate), CutFinder()
        self._waiting: deque[Sighting] = deque()

    def __call__(self, told: _Told) -> _Ids:
        if told is None:
            return [self._update(new_scene) for new_scene in self._cuts.rest()]
        sighting, picture = told
        self._waiting.append(sighting)
        return [self._update(new_scene) for new_scene in self._cuts.take(picture)]

    def _update(self, new_scene: bool) -> np.ndarray:
        if new_scene:
            self._tracker.restart()
        return self._tracker.update(self._waiting.popleft())


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests, as `TrackerProcess` makes them, until there are no more."""
    followers: dict[int, _Follower] = {}
    while True:
        try:
            number, rate, all_told, over = _receive(requests)
        except EOFError:
            return
        for other in over:
            followers.pop(other, None)
        answer: Any
        try:
            if number not in followers:
                followers[number] = _Follower(rate)
            answer = [followers[number](told) for told in all_told]
        except Exception as error:  # it is raised where the answer is asked for
            answer = error
        _send(answer, answers)


def _main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else is printed must not be taken for an answer
    with suppress(BrokenPipeError):  # nobody waits any more
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
