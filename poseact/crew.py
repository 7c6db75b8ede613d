"""Worker processes, one job at a time each: one that dies or hangs costs its job, and another takes its place.

Libraries for this share a queue and its lock among the workers, which one that is killed may hold for ever, and cannot
tell before a job ends how far it is. Here each worker has a pipe of its own.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from .errors import InputError, ModelError, PoseActError, StalledError

log = logging.getLogger(__name__)

# Told how many seconds of a video are done, and of how many.
Tell = Callable[[float, float | None], None]
# Does one job.
Work = Callable[[Any, Tell], Any]
# Makes a worker's work, in its process; called with what it runs on.
Start = Callable[[str], Work]

# Seconds between two signs of life of a worker.
_BEAT = 0.3
# Loading networks shows no progress, and from a cold network disk takes long.
_LOADING = 600.0
# A worker that has ended so often before it could do anything, one after the other, is not hired again.
_HOPELESS = 3
# If for so many seconds nobody looked at the workers, all may have been stopped (Ctrl-Z); they get their time again.
_UNWATCHED = 5.0
# No other video could be written either.
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}
# Seconds that a process whose pipe is closed may take to be gone.
_FAREWELL = 5.0
# Seconds that the networks' own watch has before a worker that hangs is killed.
_GRACE = 10.0


@dataclass(frozen=True)
class Event:
    """How a job ended. result: of a job that is done. error: why it is not; cause: `input`, if the same job would fail
    again; `worker`, if it ended or hung; `unbegun`, if it was never begun; `fatal`, if any job would fail."""

    job: Any
    result: Any = None
    error: str = ""
    cause: Literal["input", "worker", "unbegun", "fatal", ""] = ""
    exit_code: int = 0


def ended_by(exit_code: int | None) -> str | None:
    """The signal that ended a process with this exit code; None if it ended by itself."""
    if exit_code is None or exit_code >= 0:
        return None
    return signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"


def last_words(printed: str) -> str:
    """The last line of what a process printed, to be told after how it ended; of nothing, nothing."""
    return next((f": {line.strip()}" for line in reversed(printed.split("\n")) if line.strip()), "")


class Worker:
    """One process and what it is doing. done, total: seconds of the video in hand."""

    def __init__(self, number: int, device: str, start: Start, folder: Path, threads: int):
        self.number, self.device = number, device
        self.job: Any = None
        self.done, self.total = 0.0, None
        self.is_ready = False
        self.alive = time.monotonic()
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads, or with CUDA, hangs
        self.pipe, theirs = context.Pipe()
        self._log = folder / f"worker-{number}.log"
        self._process = context.Process(target=_work, args=(theirs, start, device, self._log), daemon=True)
        with _divided_cores(threads), _deaf_to_interrupts():
            self._process.start()
        theirs.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def assign(self, job: Any) -> None:
        self.job, self.done, self.total = job, 0.0, None
        self.alive = time.monotonic()
        with contextlib.suppress(OSError):  # it has just died, which its pipe will tell
            self.pipe.send(job)

    def why_it_ended(self) -> str:
        self._process.join(_FAREWELL)
        code = self._process.exitcode
        name = ended_by(code)
        if name is None:
            return f"the worker process ended with exit code {code}"
        hint = "; the memory may have been full, so try fewer --workers" if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}{hint}"

    def last_words(self) -> str:
        """What it printed last, if anything; the whole of it is gone with the run."""
        return last_words(self._log.read_text(errors="replace")) if self._log.exists() else ""

    def end(self) -> None:
        """End the process and wait until it has. What it has not sent yet is lost."""
        self.pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


class Crew:
    """So many workers. A context manager: when it is left, however that comes, none of them is.

    devices: what each worker runs on; threads: of each on the processor. start: makes the work, in the worker.
    patience: seconds after which a worker that does not get on is killed. folder: for what libraries in them print.
    """

    def __init__(self, devices: Sequence[str], start: Start, folder: Path, patience: float, threads: int = 1):
        self._start, self._folder, self._patience, self._threads = start, folder, patience, threads
        # How often each worker, by its number, has ended before it could do anything.
        self._deaths: Counter[int] = Counter()
        self._looked = time.monotonic()
        self.workers = [self._hire(number, device) for number, device in enumerate(devices, 1)]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.end()

    @property
    def free(self) -> list[Worker]:
        """The workers without a job."""
        return [worker for worker in self.workers if worker.job is None]

    @property
    def is_idle(self) -> bool:
        return all(worker.job is None for worker in self.workers)

    def events(self, seconds: float) -> list[Event]:
        """How jobs ended, as soon as any did, or after so many seconds. A worker that never gets to work is given up.
        Raises ModelError if none is left."""
        before, self._looked = self._looked, time.monotonic()
        if self._looked - before > _UNWATCHED:
            for worker in self.workers:
                worker.alive = self._looked
        pipes = {worker.pipe: worker for worker in self.workers}
        events = [self._heard(pipes[pipe]) for pipe in wait(list(pipes), seconds)]  # type: ignore[index, call-overload]
        events += [self._given_up(worker) for worker in [*self.workers] if self._hangs(worker)]
        return [event for event in events if event is not None]

    def _hire(self, number: int, device: str) -> Worker:
        return Worker(number, device, self._start, self._folder, self._threads)

    def _replace(self, worker: Worker) -> None:
        worker.end()
        self.workers[self.workers.index(worker)] = self._hire(worker.number, worker.device)

    def _hangs(self, worker: Worker) -> bool:
        patience = self._patience + _GRACE if worker.is_ready else max(_LOADING, self._patience)
        return (worker.job is not None or not worker.is_ready) and time.monotonic() - worker.alive > patience

    def _given_up(self, worker: Worker) -> Event | None:
        silent = time.monotonic() - worker.alive
        doing = "has not got on" if worker.is_ready else "has not loaded its models"
        return self._lost(worker, f"the worker process {doing} for {silent:.0f} s and was ended")

    def _heard(self, worker: Worker) -> Event | None:
        worker_said: tuple[str, Any]
        try:
            worker_said = worker.pipe.recv()
        except (EOFError, OSError):
            return self._lost(worker, worker.why_it_ended())
        worker.alive = time.monotonic()
        kind, content = worker_said
        if kind == "ready":
            worker.is_ready, self._deaths[worker.number] = True, 0
            return None
        if kind == "warning":
            log.warning("%s", content)
            return None
        if kind == "progress":
            worker.done, worker.total = content
            return None
        job, worker.job = worker.job, None
        if kind == "done":
            return Event(job, content)
        error, cause, exit_code = content
        if cause == "worker":
            self._replace(worker)
        return Event(job, None, error, cause, exit_code)

    def _lost(self, worker: Worker, why: str) -> Event | None:
        job, was_ready = worker.job, worker.is_ready
        self._deaths[worker.number] += 0 if was_ready else 1
        if self._deaths[worker.number] < _HOPELESS:
            self._replace(worker)
        else:
            self._give_up(worker, why)
        return None if job is None else Event(job, None, why, "worker" if was_ready else "unbegun")

    def _give_up(self, worker: Worker, why: str) -> None:
        why = f"{why} before it could do anything, {_HOPELESS} times{worker.last_words()}"
        if len(self.workers) == 1:
            raise ModelError(why)
        log.warning("%s; the others go on without worker %d on %s", why, worker.number, worker.device)
        worker.end()
        self.workers.remove(worker)


def _work(pipe: Connection, start: Start, device: str, log: Path) -> None:
    """The life of a worker."""
    _end_with_the_parent()
    _keep_to_itself(log)
    lock = threading.Lock()

    def say(kind: str, content: Any = None) -> None:
        with lock:
            try:
                pipe.send((kind, content))
            except OSError:  # nobody is there to work for
                os._exit(1)

    _send_warnings(lambda text: say("warning", text))
    try:
        work = start(device)
        say("ready")
        while True:
            _do(work, pipe.recv(), say)
    except PoseActError as error:
        say("failed", (str(error), "fatal", error.exit_code))
    except (EOFError, OSError):
        pass
    os._exit(0)  # taking torch down takes a second


def _do(work: Work, job: Any, say: Callable[[str, Any], None]) -> None:
    told = 0.0

    def tell(done: float, total: float | None) -> None:
        nonlocal told
        if time.monotonic() - told >= _BEAT:
            told = time.monotonic()
            say("progress", (done, total))

    try:
        result = work(job, tell)
    except InputError as error:
        say("failed", (str(error), "input", error.exit_code))
    except StalledError as error:  # its threads hang on
        say("failed", (str(error), "worker", error.exit_code))
    except PoseActError as error:
        own = isinstance(error.__cause__, OSError) and error.__cause__.errno not in _OF_THE_DISK
        say("failed", (str(error), "input" if own else "fatal", error.exit_code))
    except Exception as error:  # a bug, or memory that is full: nobody knows what state the worker is in
        traceback.print_exc()
        say("failed", (f"{type(error).__name__}: {' '.join(str(error).split())}", "worker", 1))
    else:
        say("done", result)


def _end_with_the_parent() -> None:
    """However the parent ends, nobody is left behind; Ctrl-C is its business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _keep_to_itself(log: Path) -> None:
    """What libraries print goes to a file; the terminal is the parent's."""
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _send_warnings(send: Callable[[str], None]) -> None:
    class Sender(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            send(record.getMessage())

    logger = logging.getLogger("poseact")
    logger.handlers, logger.propagate = [Sender(logging.WARNING)], False


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """For a process that is started meanwhile: Ctrl-C in its first moments would print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which some Pythons do on the way, and then let interrupts through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _divided_cores(threads: int) -> Iterator[None]:
    """For a process that is started meanwhile, so many are all there are; libraries ask when they are imported."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
