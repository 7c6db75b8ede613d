"""Many videos to their labels, by worker processes, so that whatever happens each is labelled once: `poseact label`."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from .boxes import check_boxes
from .crew import Crew, Event
from .device import choose_device, kind_of
from .errors import ModelError, OutputError, PoseActError, UsageError
from .files import readable
from .labeller import LabelJob, LabelSettings
from .records import LabelledVideo
from .run_output import FORMATS, RunOutput
from .run_pictures import take_missing_pictures
from .run_store import FILE, RunStore
from .sources import SourceVideo, find_videos
from .zoo import resolve_all, sha256

if TYPE_CHECKING:
    from .pipeline import Pipeline

# A video that is done, how one failed, or nothing new.
Step = LabelledVideo | Event | None

# Seconds between two looks at the workers.
_GLANCE = 0.2
# Options that change nothing of what is found.
_OF_NO_EFFECT = ("patience", "realtime", "follow")
_ERRORS: dict[int, type[PoseActError]] = {each.exit_code: each for each in (UsageError, ModelError, OutputError)}


@dataclass(frozen=True)
class RunPlan:
    """A run over many videos.

    inputs: see `find_videos`. output: a folder, which is made. formats: of `FORMATS`. save_video: also write each video
    with what was found drawn in. report: also write a page to look at. devices: what networks run on, see
    `choose_device`. workers: how many processes in all; None: as many as suit the devices. retries: how often a video
    is tried again during which its worker died or hung. timeout: seconds after which a video that does not get on is
    given up. restart: begin anew, and remove what is there.
    """

    inputs: Sequence[str]
    output: Path
    settings: LabelSettings
    formats: Sequence[str] = ("jsonl", "csv")
    save_video: bool = False
    report: bool = False
    devices: Sequence[str] = ("auto",)
    workers: int | None = None
    retries: int = 1
    timeout: float = 120.0
    restart: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"at least 1 worker is needed, got {self.workers}")
        if self.retries < 0:
            raise UsageError(f"a video can be tried again 0 times or more, got {self.retries}")
        if not self.formats:
            raise UsageError(f"no format is named; choose of {', '.join(FORMATS)}")
        if not self.devices:
            raise UsageError("no device is named; choose auto, cpu, cuda, cuda:N or mps")
        if not 0 < self.timeout < float("inf"):
            raise UsageError(f"the timeout must be above 0 s, got {self.timeout:g}")


class LabelRun:
    """The videos of a plan, how far the run over them is, and the work on those that are left.

    Raises UsageError if it was begun with other settings, InputError if there are no videos, ModelError.
    """

    def __init__(self, plan: RunPlan):
        self.plan = plan
        for given in plan.inputs:
            if plan.output.is_dir() and os.path.isdir(given) and os.path.samefile(given, plan.output):
                raise UsageError(f"{plan.output} holds what is to be labelled; choose a folder of its own for results")
        self.videos = _named_in_text(find_videos(plan.inputs, by_content=True, leave_out=plan.output))
        self._settings = _described(plan)
        # Those that no earlier run has labelled.
        self.undone = self.videos
        if (plan.output / FILE).is_file() and not plan.restart:
            with RunStore(plan.output) as store:
                store.check_settings(self._settings)
                self.videos = store.named_as_before(self.videos)
                self.undone = store.undone(self.videos)
        names = [video.name for video in self.videos]
        self.output = RunOutput(plan.output, plan.formats, names, plan.settings.options.per_person)
        self.output.check(self.videos)
        # What each worker runs on.
        self.devices = self._devices()
        self._check_options()
        self.crew: Crew | None = None
        # Of this run: how many are to be done, are done and failed, and their rows.
        self.total, self.done, self.failed, self.rows = 0, 0, 0, 0

    @property
    def known(self) -> int:
        """How many of the videos an earlier run has labelled."""
        return len(self.videos) - len(self.undone)

    def _devices(self) -> list[str]:
        chosen = [choose_device(name) for name in self.plan.devices]
        count = self.plan.workers or sum(_workers_on(device) for device in chosen)
        return [chosen[i % len(chosen)] for i in range(min(count, len(self.videos)))]

    def _check_options(self) -> None:
        """What each worker would find out for itself."""
        rows, boxes = self.plan.settings.rows, self.plan.settings.options.boxes
        if boxes is not None:
            check_boxes(Path(boxes), [video.path for video in self.videos])
        if rows.only is not None:
            rows.check(_chain(self.plan.settings).classifier.info)

    def work(self) -> Generator[Step, None, None]:
        """Label what is left. Yields each video that is done, how each failed that is given up, and now and then None,
        so that who shows the progress can look at `crew`. Raises OutputError, ModelError."""
        with _Locked(self.plan, self.output), RunStore(self.plan.output) as store:
            store.begin(self._settings, self.videos)
            waiting = deque(store.waiting(self.videos))
            self.total = len(waiting)
            self.output.begin(store)
            try:
                if waiting:
                    yield from self._work(waiting, store)
                if self.plan.report:  # of those that a run without a report has labelled
                    take_missing_pictures(store)
            except BaseException:
                with contextlib.suppress(OutputError):  # the first error is what matters
                    self.output.finish(store, self.plan.report)
                raise
            self.output.finish(store, self.plan.report)

    def _work(self, waiting: deque[SourceVideo], store: RunStore) -> Generator[Step, None, None]:
        tries: dict[str, int] = {}
        devices = self.devices[: len(waiting)]
        threads = max(1, (os.cpu_count() or 1) // len(devices))
        start = self.plan.settings.labeller
        with Crew(devices, start, self.output.scratch, self.plan.timeout, threads) as self.crew:
            while waiting or not self.crew.is_idle:
                for worker in self.crew.free[: len(waiting)]:
                    video = waiting.popleft()
                    tries[video.name] = tries.get(video.name, 0) + 1
                    store.count_attempt(video.name)
                    self.output.clear(video.name)
                    worker.assign(LabelJob(video, self._drawn(video)))
                for event in self.crew.events(_GLANCE):
                    if event.cause == "fatal":
                        raise _ERRORS.get(event.exit_code, PoseActError)(event.error)
                    video = event.job.video
                    if event.cause == "unbegun":
                        tries[video.name] -= 1
                        waiting.appendleft(video)
                    elif event.cause == "worker" and tries[video.name] <= self.plan.retries:
                        waiting.append(video)
                    elif event.cause:
                        store.fail(video.name, event.error)
                        self.failed += 1
                        yield event
                    else:
                        yield self._keep(event.result, store)
                yield None

    def _keep(self, video: LabelledVideo, store: RunStore) -> LabelledVideo:
        store.finish(video)
        self.output.add(video)
        self.done += 1
        self.rows += len(video.labels)
        return video

    def _drawn(self, video: SourceVideo) -> Path | None:
        return self.output.beside(video.name, ".mp4") if self.plan.save_video else None


class _Locked:
    """OUT, made and with nobody else at work in it."""

    def __init__(self, plan: RunPlan, output: RunOutput):
        self._plan, self._output = plan, output
        self._lock = FileLock(plan.output / ".lock")

    def __enter__(self) -> None:
        folder, scratch = self._plan.output, self._output.scratch
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(f"another run is at work in {folder}; wait for it, or choose another output") from error
        except OSError as error:
            raise OutputError(f"the folder {folder} cannot be made: {error.strerror}; choose another output") from error
        try:
            if self._plan.restart:
                self._output.remove()
            self._output.make_scratch()
        except PoseActError:
            self._unlock()
            raise
        # For what libraries in the workers write, of which a kill would leave some for ever.
        self._before = {name: os.environ.get(name) for name in ("TMPDIR", "YOLO_CONFIG_DIR")}
        self._tempdir = tempfile.tempdir
        os.environ.update(TMPDIR=str(scratch.absolute()), YOLO_CONFIG_DIR=str(scratch.absolute()))

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        tempfile.tempdir = self._tempdir  # which is noted at its first use
        shutil.rmtree(self._output.scratch, ignore_errors=True)
        self._unlock()

    def _unlock(self) -> None:
        with contextlib.suppress(OSError):  # before the release: afterwards it may be somebody else's
            os.unlink(self._lock.lock_file)
        self._lock.release()


def _named_in_text(videos: Sequence[SourceVideo]) -> list[SourceVideo]:
    """Names as a table can hold them, each still another."""
    named: dict[str, SourceVideo] = {}
    for video in videos:
        text = readable(video.name)
        numbers = (f"{text} ({number})" for number in itertools.count(2))
        name = next(name for name in itertools.chain([text], numbers) if name not in named)
        named[name] = replace(video, name=name)
    return list(named.values())


def _workers_on(device: str) -> int:
    """How many suit a device: on two cores two are a quarter faster than one, on a GPU three near twice as fast."""
    cores = os.cpu_count() or 1
    return max(min(2, cores), cores // 2) if kind_of(device) == "cpu" else max(1, min(3, cores // 4))


def _described(plan: RunPlan) -> dict[str, str]:
    """All that the labels depend on, by names for people. Raises ModelError, UsageError."""
    settings, models = plan.settings, plan.settings.models
    found = {field.name: getattr(settings.options, field.name) for field in fields(settings.options)}
    described = {
        "classifier": ", ".join(
            f"{path.stem} {sha256(path)[:8]}" for path in resolve_all(models.classifier, "classifier")
        ),
        "weights": models.weights,
        "poses": _chain(settings).stages.description,
        "precision": models.precision,
        "backend": models.backend,
        **{name: value for name, value in found.items() if name not in _OF_NO_EFFECT},
        "segments": settings.rows.segments,
        "only": settings.rows.only,
        "save-video": plan.save_video or None,
    }
    return {name: "" if value is None else str(value) for name, value in described.items()}


def _chain(settings: LabelSettings) -> Pipeline:
    """A chain as the workers have, of which nothing is loaded. Raises ModelError, UsageError."""
    from .pipeline import Pipeline

    return Pipeline.of(settings.models, "cpu", settings.options)
