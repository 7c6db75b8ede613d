"""One video to its `LabelledVideo`: what each worker of `poseact label` does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError, OutputError
from .memory import keep_freed_memory
from .options import Models, Options
from .records import LabelledVideo, Moment
from .segments import RowRule
from .sources import SourceVideo

if TYPE_CHECKING:
    from .clips import ClipLabel
    from .crew import Tell
    from .poses import PoseSequence
    from .video_poses import VideoPoses

# Moments of a video that are worth a look, at the most.
_MOST_MOMENTS = 60


@dataclass(frozen=True)
class LabelJob:
    """A video, and where to write it with what was found drawn in; None: not at all."""

    video: SourceVideo
    drawn: Path | None = None


@dataclass(frozen=True)
class LabelSettings:
    """How videos are labelled. pictures: take one of each moment, for a report."""

    models: Models = field(default_factory=Models)
    options: Options = field(default_factory=Options)
    rows: RowRule = field(default_factory=RowRule)
    pictures: bool = False

    def labeller(self, device: str) -> Labeller:
        """Load the models. Raises ModelError, UsageError."""
        keep_freed_memory()
        return Labeller(self, device)


class Labeller:
    """A chain whose models are loaded, and what else is asked of each video. A callable."""

    def __init__(self, settings: LabelSettings, device: str):
        from .pipeline import Pipeline

        self._settings = settings
        self._pipeline = Pipeline.of(settings.models, device, settings.options)
        _ = self._pipeline.classifier, self._pipeline.stages.pose
        if settings.options.boxes is None:
            _ = self._pipeline.stages.detector

    def __call__(self, job: LabelJob, tell: Tell) -> LabelledVideo:
        """Raises InputError if the video cannot be read, OutputError if a drawing cannot be written, StalledError."""
        from .video_poses import VideoPoses

        poses, path = VideoPoses(), job.video.path
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is a folder, a pipe or a device; name files")
        middles: list[float] = []
        seconds = 0.0

        def on_poses(_: int, clip: PoseSequence) -> None:
            poses.add(clip)
            if len(clip.times):
                middles.append((float(clip.times[0]) + (clip.end or float(clip.times[-1]))) / 2)

        def on_progress(_: int, done: float, total: float | None) -> None:
            nonlocal seconds
            seconds = done
            tell(done, total)

        with closing(self._pipeline.stream_all([path], on_progress, on_poses=on_poses)) as clips:
            labels = tuple(self._settings.rows.rows(clips, self._pipeline.classifier.info))
        if job.drawn is not None:
            self._draw(job, job.drawn, poses, labels, tell)
        return LabelledVideo(
            name=job.video.name,
            path=path.absolute(),
            seconds=seconds,
            size=poses.image_size or (0, 0),
            layout="" if poses.layout is None else poses.layout.name,
            labels=labels,
            moments=self._moments(path, poses, _evenly(middles, _MOST_MOMENTS), tell),
        )

    def _draw(self, job: LabelJob, drawn: Path, poses: VideoPoses, labels: Sequence[ClipLabel], tell: Tell) -> None:
        from .annotate import annotate_video

        try:
            drawn.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder {drawn.parent} cannot be made: {error.strerror}") from error
        annotate_video(job.video.path, drawn, poses, labels, tell)

    def _moments(self, path: Path, poses: VideoPoses, times: Sequence[float], tell: Tell) -> tuple[Moment, ...]:
        from .thumbnails import moment_at, take_moments

        if self._settings.pictures:
            return tuple(take_moments(path, poses, times, tell))
        return tuple(moment_at(poses, time) for time in times)


def _evenly(times: Sequence[float], most: int) -> list[float]:
    """No more than so many of the times, from all over them."""
    if len(times) <= most:
        return list(times)
    return [times[round((i + 0.5) * len(times) / most - 0.5)] for i in range(most)]
