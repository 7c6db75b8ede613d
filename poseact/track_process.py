"""People followed in a process of its own: all threads of one Python take turns, and beside a GPU that is what limits
them. It looks for scene cuts too.

Requests go to its standard input and answers come from its standard output, both pickled. It ends when its input does,
so that it does not outlive who started it, even if that is killed.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import chain, count, islice
from threading import Lock
from typing import IO, Any

import numpy as np

from .crew import ended_by, last_words
from .cuts import CutFinder, small
from .detect import Detections
from .engine import Engine, begun_ahead
from .errors import PoseActError, StalledError
from .failure import Failure
from .gaps import Tracked
from .track import Sighting, Tracker
from .video import Frame
from .yolo import keep_ultralytics_out_of_home

# The thread that waits for answers.
_FOLLOWING = "following"
# Frames that are sent together, and how many such requests are on their way while the people of others are found.
_TOGETHER, _IN_FLIGHT = 16, 2
# A frame as the process sees it: who was found, and the picture in which cuts are looked for, see `cuts.small`. None:
# no frame follows.
_Seen = tuple[Sighting, np.ndarray] | None
# To each of them an answer, of the frames not answered to yet: the ids of the people in those of which it is certain
# now whether a scene begins with them, as `Tracker.update` gives them.
_Ids = list[np.ndarray]
# What follows the people of a video: shown its next frames, it answers to each.
_Ask = Callable[[Sequence[_Seen]], list[_Ids]]
# Bytes that a pipe holds where the system lets one choose: about a request, so that neither side waits for the other.
_PIPE = 1 << 20
# Seconds that it may take to be gone once its pipes are closed.
_FAREWELL = 5.0
# One thread each: what it computes is small, and whoever started it wants the other cores.
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class TrackerProcess:
    """A process with the trackers of any number of videos. It is started when the first of them begins."""

    def __init__(self) -> None:
        # Who waits for an answer may wait for ever, which must not keep others from noticing.
        self._starting, self._asking = Lock(), Lock()
        self._numbers = count()
        self._videos: set[int] = set()
        # Videos whose trackers it may forget, which it is told with the next request.
        self._over: deque[int] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - it goes with this object

    @contextmanager
    def video(self, rate: float) -> Iterator[_Ask]:
        """What follows the people of one video, as long as the context lasts. rate: frames per second. Raises
        StalledError if the process cannot be started or has ended."""
        with self._starting:
            if self._process is None or self._process.poll() is not None:
                self._words.seek(0)
                self._words.truncate()  # of one before
                self._process = _started(self._words)
                weakref.finalize(self, _end, self._process)
        process, number = self._process, next(self._numbers)
        self._videos.add(number)
        try:
            yield partial(self._ask, process, number, rate)
        except StalledError:
            process.kill()  # or it would keep the next video waiting too
            raise
        finally:
            self._videos.discard(number)
            self._over.append(number)

    def _ask(self, process: subprocess.Popen[bytes], number: int, rate: float, seen: Sequence[_Seen]) -> list[_Ids]:
        assert process.stdin is not None
        assert process.stdout is not None
        with self._asking:
            if number not in self._videos:  # nobody waits for it any more
                return [[] for _ in seen]
            over = [self._over.popleft() for _ in range(len(self._over))]
            try:
                _send((number, rate, list(seen), over), process.stdin)
                answer = _receive(process.stdout)
            except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
                raise StalledError(f"the process that follows people {self._why_it_ended(process)}") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _why_it_ended(self, process: subprocess.Popen[bytes]) -> str:
        try:
            code = process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            process.kill()
            return "gave no answer that can be read; try again"
        if ended_by(code) == "SIGKILL":
            return "was killed; the memory may have been full, so close other programs and try again"
        self._words.seek(0)
        return f"ended with exit code {code}{last_words(self._words.read().decode(errors='replace'))}"


def follow_elsewhere(
    found_in: Iterable[tuple[Frame, Detections]], rate: float, engine: Engine, process: TrackerProcess
) -> Iterator[Tracked]:
    """As `cuts.mark_cuts` and `track.follow`, by a process, so that frames come some batches late. No ids may be given,
    nor may the source be live."""
    unnamed: deque[tuple[Frame, Detections]] = deque()
    failure = Failure()
    with process.video(rate) as ask:
        seen = _seen_in(failure.after(found_in), unnamed)
        batches = iter(lambda: list(islice(seen, _TOGETHER)), [])
        asked = (engine.submit(_FOLLOWING, "following people", ask, batch, len(batch)) for batch in batches)
        for future in begun_ahead(asked, _IN_FLIGHT):
            yield from _named(unnamed, engine.result(future))
    failure.check()


def _seen_in(found_in: Iterable[tuple[Frame, Detections]], unnamed: deque[tuple[Frame, Detections]]) -> Iterator[_Seen]:
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


def _started(words: IO[bytes]) -> subprocess.Popen[bytes]:
    """words: where it writes what it has to say beside answers."""
    try:
        try:
            return _started_with(_PIPE, words)
        except PermissionError:  # somebody with so many pipes may make none larger
            return _started_with(-1, words)
    except OSError as error:
        raise StalledError(f"the process that follows people cannot be started: {error.strerror or error}") from error


def _started_with(pipesize: int, words: IO[bytes]) -> subprocess.Popen[bytes]:
    keep_ultralytics_out_of_home()
    # Whatever is printed must not be taken for an answer. It finds modules where this process does, whereas -m would
    # look for them in the current folder first.
    program = (
        f"import os, sys; answers = os.fdopen(os.dup(1), 'wb'); os.dup2(2, 1); sys.path[:] = {sys.path!r}; "
        f"from {__name__} import serve; serve(sys.stdin.buffer, answers)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
        pipesize=pipesize,
        env={**os.environ, **_THREADS},
        # Ctrl-C is for who started it: a session of its own, as Windows calls a group.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not sent cannot be any more
                pipe.close()


class _Follower:
    """In the process: follows the people of one video."""

    def __init__(self, rate: float):
        self._tracker, self._cuts = Tracker(rate), CutFinder()
        self._waiting: deque[Sighting] = deque()

    def __call__(self, seen: _Seen) -> _Ids:
        if seen is None:
            return [self._update(new_scene) for new_scene in self._cuts.rest()]
        sighting, picture = seen
        self._waiting.append(sighting)
        return [self._update(new_scene) for new_scene in self._cuts.take(picture)]

    def _update(self, new_scene: bool) -> np.ndarray:
        if new_scene:
            self._tracker.restart()
        return self._tracker.update(self._waiting.popleft())


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """In the process: answer requests, as `TrackerProcess` makes them, until there are no more, or nobody waits."""
    followers: dict[int, _Follower] = {}
    with suppress(EOFError, BrokenPipeError):
        while True:
            number, rate, all_seen, over = _receive(requests)
            for other in over:
                followers.pop(other, None)
            _send(_answer(followers, number, rate, all_seen), answers)


def _answer(followers: dict[int, _Follower], number: int, rate: float, all_seen: list[_Seen]) -> list[_Ids] | Exception:
    """What goes wrong is raised where the answer is asked for."""
    try:
        if number not in followers:
            followers[number] = _Follower(rate)
        return [followers[number](seen) for seen in all_seen]
    except PoseActError as error:
        return error
    except Exception:  # its traceback would not come along
        return RuntimeError(traceback.format_exc())
