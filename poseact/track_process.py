"""Trackers in a process of their own: all threads of one Python take turns, and beside a GPU that is what limits them.

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
from functools import partial
from itertools import count, islice
from threading import Lock
from typing import IO, Any

import numpy as np

from .detect import Detections
from .engine import Engine
from .errors import StalledError
from .failure import Failure
from .gaps import Tracked
from .track import Found, Sighting, Tracker
from .video import Frame

# The thread that waits for answers.
_FOLLOWING = "following"
# Frames that are sent together, and how many such requests are on their way while the people of others are found.
_TOGETHER, _IN_FLIGHT = 16, 2
# One thread each: what it computes is small, and whoever started it wants the other cores.
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class TrackerProcess:
    """A process with the trackers of any number of videos. It is started when the first of them begins."""

    def __init__(self) -> None:
        self._alone = Lock()
        self._numbers = count()
        # Videos whose trackers it may forget, which it is told with the next request.
        self._over: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def tracker(self, rate: float) -> Iterator[partial[list[np.ndarray]]]:
        """A new tracker, as long as the context lasts: told the next frames of one video, list[Sighting], it answers as
        `Tracker.update` would to each. rate: frames per second. Raises StalledError if the process ended."""
        with self._alone:
            if self._process is None or self._process.poll() is not None:
                self._process = _started()
                weakref.finalize(self, _end, self._process)
        number = next(self._numbers)
        try:
            yield partial(self._update, self._process, number, rate)
        finally:
            self._over.append(number)

    def _update(
        self, process: subprocess.Popen[bytes], number: int, rate: float, sightings: Sequence[Sighting]
    ) -> list[np.ndarray]:
        assert process.stdin is not None
        assert process.stdout is not None
        with self._alone:
            over, self._over = self._over, []
            try:
                pickle.dump((number, rate, list(sightings), over), process.stdin, pickle.HIGHEST_PROTOCOL)
                process.stdin.flush()
                answer = pickle.load(process.stdout)
            except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
                raise StalledError(
                    f"the process that follows people ended ({_why(process)}); the memory may have been full, so close "
                    "other programs and try again"
                ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def follow_elsewhere(
    found_in: Iterable[Found], rate: float, engine: Engine, process: TrackerProcess
) -> Iterator[Tracked]:
    """As `track.follow`, by a process, so that frames come up to two batches late. No ids may be given."""
    in_flight: deque[tuple[list[tuple[Frame, Detections]], Future]] = deque()
    failure = Failure()
    with process.tracker(rate) as update:
        # Of a frame that waits no picture is kept.
        sighted = ((Sighting.of(*found), found[0].blank(), found[2]) for found in failure.after(found_in))
        while batch := list(islice(sighted, _TOGETHER)):
            sightings = [sighting for sighting, _, _ in batch]
            future = engine.submit(_FOLLOWING, "following people", update, sightings, len(batch))
            in_flight.append(([(frame, found) for _, frame, found in batch], future))
            if len(in_flight) > _IN_FLIGHT:
                yield from _named(*in_flight.popleft(), engine)
        for frames, future in in_flight:
            yield from _named(frames, future, engine)
    failure.check()


def _named(frames: list[tuple[Frame, Detections]], future: Future, engine: Engine) -> Iterator[Tracked]:
    for (frame, found), ids in zip(frames, engine.result(future), strict=True):
        yield frame, ids, found


def _started() -> subprocess.Popen[bytes]:
    # Its own session: Ctrl-C is for who started it. It finds this package as this process did.
    environment = {**os.environ, **_THREADS, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
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


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests, as `TrackerProcess` makes them, until there are no more."""
    trackers: dict[int, Tracker] = {}
    while True:
        try:
            number, rate, sightings, over = pickle.load(requests)
        except EOFError:
            return
        for other in over:
            trackers.pop(other, None)
        answer: Any
        try:
            if number not in trackers:
                trackers[number] = Tracker(rate)
            answer = [trackers[number].update(sighting) for sighting in sightings]
        except Exception as error:  # it is raised where the answer is asked for
            answer = error
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else is printed must not be taken for an answer
    with suppress(BrokenPipeError):  # nobody waits any more
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
