"""The poses of many videos in one file, video by video, so that it can be interrupted and go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from .boxes import boxes_of, check_boxes
from .errors import InputError, SomeInputsFailed, UsageError
from .extract import PoseStages, Progress, extract_poses
from .files import check_output
from .follow import Follow
from .pose_store import PoseStore
from .pose_tables import TABLES, write_pose_table
from .poses import PICKLES, Annotation, PoseFile, is_pose_file
from .sampling import FrameThinner
from .sources import SourceVideo, find_videos, stamp_of
from .splits import assign_splits
from .training.labels import labels_beside, read_labels, write_labels
from .video_labels import VideoLabels, labels_from_folders, labels_from_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExtractionJob:
    """What `extract_to_file` is to do.

    inputs: files, folders and patterns, see `sources.find_videos`. output: by its ending a pickle in PYSKL's format
    or one of `pose_tables.TABLES`. subjects: at most so many people of each video. follow: this person instead, of the
    one video. rate: look at no more than so many frames a second; None: at every one. labels: a CSV file, see
    `video_labels`, or "folders"; None: no labels. shares: of each split. resume: go on with what is there of an
    earlier run.
    Raises UsageError if the output has another ending.
    """

    inputs: Sequence[str | Path]
    output: Path
    subjects: int | Literal["all"] = "all"
    follow: Follow | None = None
    rate: float | None = None
    labels: Path | Literal["folders"] | None = None
    shares: Mapping[str, float] = field(default_factory=lambda: {"train": 1.0})
    resume: bool = False

    def __post_init__(self) -> None:
        known = (*PICKLES, *TABLES)
        if self.output.suffix.lower() not in known:
            raise UsageError(f"{self.output}: poses are written as one of {', '.join(known)}; end its name so")
        FrameThinner(1.0, self.rate)  # knows which rates cannot be

    @property
    def settings(self) -> str:
        """What the poses depend on beside the models: the same text, the same poses."""
        whom = f"{self.follow}" if self.follow else f"subjects {self.subjects}"
        return f"{whom}, {'all' if self.rate is None else f'{self.rate:g}'} frames/s"


@dataclass(frozen=True)
class VideoDone:
    """video: the one that is done, of so many. people: found in it. known: its poses were there already.
    error: why it could not be read; None: it could."""

    video: SourceVideo
    people: int = 0
    known: bool = False
    error: InputError | None = None


@dataclass
class _Found:
    """stamps: by name, of the videos that could be read. peopled: the names of those that show somebody. failed: how
    many could not be read."""

    stamps: dict[str, str] = field(default_factory=dict)
    peopled: list[str] = field(default_factory=list)
    failed: int = 0


class Extraction:
    """A job that was checked: its videos are found, its labels read, and its output does no harm.

    Iterate `run` to the end; without that the poses so far are kept, for another run with `resume`.
    Raises UsageError where something would be lost or mixed, InputError, OutputError.
    """

    def __init__(self, job: ExtractionJob, stages: PoseStages):
        self.job = job
        self.stages = stages
        self.videos = find_videos(job.inputs)
        sources = [video.path for video in self.videos]
        check_output(job.output, sources)
        if stages.boxes is not None:
            check_boxes(stages.boxes, sources)
            check_output(job.output, [stages.boxes])
        self.labels = _labels(job, self.videos)
        if job.follow and len(self.videos) > 1:
            raise UsageError(f"somebody is followed in one video, and here are {len(self.videos)}; give one")
        self.store = PoseStore(job.output, f"{job.settings}, {stages.description}")
        self.is_done = False
        if job.resume:
            self._check_that_nothing_is_mixed_or_lost()
        else:
            self._check_that_nothing_is_there()

    def run(self, on_progress: Progress | None = None) -> Iterator[VideoDone]:
        """Extract video after video, and write the output after the last. on_progress: within a video, see
        `extract_poses`.

        Raises InputError if no video could be read, SomeInputsFailed, after the output is written, if some could not;
        OutputError.
        """
        if self.is_done:
            return
        self.store.open()
        found = _Found()
        try:
            yield from self._look_at_all(found, on_progress)
        finally:
            if not self.store.begun:
                self.store.remove_parts()
        if not found.stamps and found.failed:
            raise InputError(f"none of the {found.failed} videos could be read")
        self._finish(found)
        if found.failed:
            raise SomeInputsFailed(
                f"{found.failed} of {len(self.videos)} videos could not be read; the others are in {self.job.output}"
            )

    def _look_at_all(self, found: _Found, on_progress: Progress | None) -> Iterator[VideoDone]:
        """Fill in `found`. Raises InputError if the only video cannot be read."""
        for video in self.videos:
            try:
                stamp = self._stamp(video)
                annotation = self.store.find(video.name, stamp)
                known = annotation is not None
                if annotation is None:
                    annotation = self._extract(video, stamp, on_progress)
            except InputError as error:
                if len(self.videos) == 1:
                    raise
                found.failed += 1
                yield VideoDone(video, error=error)
                continue
            found.stamps[video.name] = stamp
            if _shows_somebody(annotation):
                found.peopled.append(video.name)
            yield VideoDone(video, int(annotation.poses.present.any(axis=1).sum()), known)

    def _stamp(self, video: SourceVideo) -> str:
        """A text that changes when the video or the file of its boxes does. Raises InputError."""
        boxes = self.stages.boxes
        stamp = stamp_of(video.path)
        return stamp if boxes is None else f"{stamp}; boxes {stamp_of(boxes_of(boxes, video.path))}"

    def _extract(self, video: SourceVideo, stamp: str, on_progress: Progress | None) -> Annotation:
        job = self.job
        poses = extract_poses(
            video.path,
            self.stages,
            subjects=job.subjects,
            follow=job.follow,
            rate=job.rate,
            on_progress=on_progress,
        )
        annotation = Annotation(video.name, -1, poses, source=str(video.path))
        self.store.keep(annotation, stamp)
        return annotation

    def _finish(self, found: _Found) -> None:
        empty = sorted(found.stamps.keys() - set(found.peopled))
        if empty:
            log.warning("nobody is found in %d of the videos, such as %s; no split has them", len(empty), empty[0])
        splits = self._splits(found.peopled)
        if bare := [name for name, members in splits.items() if not members]:
            log.warning("the split %s is empty: a class needs as many videos as there are splits", ", ".join(bare))
        kept = (self.store.find(name, stamp) for name, stamp in found.stamps.items())
        annotations = (replace(a, label=self.labels.of(a.name)) for a in kept if a is not None)
        if not is_pose_file(self.job.output):
            write_pose_table(annotations, self.labels.names, splits, self.job.output)
            self.store.remove_parts()
            return
        if self.labels.names:
            write_labels(self.labels.names, labels_beside(self.job.output))
        self.store.finish(annotations, splits, found.stamps)

    def _splits(self, peopled: Sequence[str]) -> dict[str, list[str]]:
        """Of the videos with people; where some have a label, of those that have one."""
        of_use = {name: self.labels.of(name) for name in peopled}
        if self.labels.names:
            of_use = {name: label for name, label in of_use.items() if label >= 0}
        return assign_splits(of_use, self.job.shares)

    def _check_that_nothing_is_there(self) -> None:
        output = self.job.output
        if self.store.begun:
            raise UsageError(
                f"{output} was begun and is not complete ({len(self.store.begun)} videos are done): "
                f"--resume goes on with it; to begin anew, remove {self.store.parts}"
            )
        if not output.exists():
            self._check_that_class_names_do_no_harm()
            return
        if not is_pose_file(output):
            raise UsageError(f"{output} exists, and a table cannot be gone on with; move it, or choose another name")
        self.is_done = self._is_the_same_job(self.store.finished)
        if not self.is_done:
            raise UsageError(
                f"{output} exists and is not what this command would make: --resume goes on from it and looks only at "
                "videos that it lacks; or choose another name"
            )

    def _check_that_class_names_do_no_harm(self) -> None:
        beside = labels_beside(self.job.output)
        if not (is_pose_file(self.job.output) and self.labels.names and beside.exists()):
            return
        if read_labels(beside) != list(self.labels.names):
            raise UsageError(f"{beside} has other class names, which would be lost; move it, or choose another output")

    def _is_the_same_job(self, file: PoseFile | None) -> bool:
        """Whether a complete file has these videos, unchanged, by these settings, with these labels and splits."""
        if file is None or self.store.other_settings() or set(file.annotations) != {v.name for v in self.videos}:
            return False
        same = all(
            file.notes.get(video.name) == self._stamp(video)
            and file.annotations[video.name].label == self.labels.of(video.name)
            for video in self.videos
        )
        peopled = [video.name for video in self.videos if _shows_somebody(file.annotations[video.name])]
        beside = labels_beside(self.job.output)
        named = not self.labels.names or (beside.exists() and read_labels(beside) == list(self.labels.names))
        return same and named and file.splits == self._splits(peopled)

    def _check_that_nothing_is_mixed_or_lost(self) -> None:
        output = self.job.output
        if not is_pose_file(output) and output.exists() and not self.store.begun:
            raise UsageError(f"{output} is complete, and a table cannot be gone on with; choose another name")
        lost = self.store.strangers(video.name for video in self.videos)
        if lost:
            raise UsageError(
                f"{output} has the poses of {len(lost)} videos that are not named now, such as {lost[0]}, which "
                "would be lost; name them too, or choose another output"
            )
        other = self.store.other_settings()
        if other is not None:
            raise UsageError(
                f"what is there of {output} was made by other settings ({other}; now {self.store.settings}); "
                "give the same, or choose another output"
            )


def _shows_somebody(annotation: Annotation) -> bool:
    return bool(annotation.poses.present.any())


def _labels(job: ExtractionJob, videos: Sequence[SourceVideo]) -> VideoLabels:
    if job.labels is None:
        return VideoLabels()
    if job.labels == "folders":
        return labels_from_folders(videos)
    table = Path(job.labels)
    check_output(job.output, [table])
    if is_pose_file(job.output):
        check_output(labels_beside(job.output), [table])
    return labels_from_table(videos, table)
