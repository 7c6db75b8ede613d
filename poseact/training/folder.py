"""From a folder `class_name/*.mp4` to a pose file: each video's poses are extracted once and cached."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import InputError, OutputError
from ..extract import PoseStages, extract_poses
from ..files import written_aside
from ..poses import Annotation, PoseFile, load_poses, save_poses
from .labels import labels_beside

log = logging.getLogger(__name__)

# The split that holds every video in which somebody was found.
SPLIT = "train"
# Fast cameras' videos are thinned to this many frames a second; actions are no quicker.
RATE = 30.0

# fmt: off
_ENDINGS = {
    ".3gp", ".asf", ".avi", ".divx", ".dv", ".flv", ".gif", ".h264", ".hevc", ".ivf", ".m2ts", ".m2v", ".m4v",
    ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".ts",
    ".vob", ".webm", ".wmv", ".y4m",
}
# fmt: on
_SETTINGS = "settings"

# Told how many videos are done, of how many, and the name of the one that is next ("" at the end).
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class LabelledVideo:
    """name: class_name/file, unique in the folder. label: index of the class."""

    name: str
    path: Path
    label: int

    @property
    def stamp(self) -> str:
        """Changes when the file does."""
        found = self.path.stat()
        return f"{found.st_size} bytes, {found.st_mtime_ns} ns"


def poses_of_folder(
    folder: Path,
    cache: Path,
    stages: PoseStages,
    *,
    subjects: int | Literal["all"] = 1,
    on_progress: Progress | None = None,
) -> PoseFile:
    """The poses of all videos of a folder, with the class names, sorted, in `labels_beside(cache)`.

    What `cache` already has of the same videos, by the same stages, is taken from there; after each video its poses
    are kept beside it, so that a kill loses no more than the video in hand. Videos that cannot be read or show
    nobody are reported through the logger and are in no split; the others are in the split "train".

    subjects: see `extract_poses`.
    Raises InputError if there are no classes, or nobody is found in any video; OutputError.
    """
    classes, videos = find_videos(folder)
    store = _Store(cache, f"subjects {subjects}, {RATE:g} frames/s, {stages.description}")
    known = store.read()
    annotations: dict[str, Annotation] = {}
    stamps: dict[str, str] = {}
    for done, video in enumerate(videos):
        if on_progress:
            on_progress(done, len(videos), video.name)
        try:
            stamp = video.stamp
            poses = known[video.name, stamp].poses if (video.name, stamp) in known else None
            if poses is None:
                poses = extract_poses(video.path, stages, subjects=subjects, rate=RATE)
        except (InputError, OSError) as error:
            log.warning("%s; it is left out", error)
            continue
        annotation = Annotation(video.name, video.label, poses)
        if (video.name, stamp) not in known:
            store.keep(annotation, stamp)
        if not poses.present.any():
            log.warning("%s: nobody is found in it; it is left out", video.path)
        annotations[video.name], stamps[video.name] = annotation, stamp
    if on_progress:
        on_progress(len(videos), len(videos), "")
    with_people = [name for name, annotation in annotations.items() if annotation.poses.present.any()]
    if not with_people:
        raise InputError(f"nobody is found in any of the {len(videos)} videos of {folder}; check what they show")
    store.finish(annotations, {SPLIT: with_people}, stamps, classes)
    return load_poses(cache)


def find_videos(folder: Path) -> tuple[list[str], list[LabelledVideo]]:
    """The class names, sorted, and the videos in their folders, sorted within each class.

    Raises InputError if the folder has no such folders with videos.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; videos to train on lie in FOLDER/class_name/")
    try:
        found = {own.name: sorted(_files(own)) for own in sorted(folder.iterdir()) if _is_class(own)}
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}; change its permissions") from error
    others = [path for paths in found.values() for path in paths if path.suffix.lower() not in _ENDINGS]
    if others:
        log.warning(
            "%d files in %s are no videos by their endings and are passed over: %s", len(others), folder, others[0].name
        )
    videos = {name: [p for p in paths if p.suffix.lower() in _ENDINGS] for name, paths in found.items()}
    classes = [name for name, paths in videos.items() if paths]
    if not classes:
        raise InputError(f"{folder} has no folders with videos in them; sort the videos into {folder}/class_name/")
    rows = [(f"{name}/{path.name}", path, label) for label, name in enumerate(classes) for path in videos[name]]
    return classes, [LabelledVideo(*row) for row in rows]


def _is_class(folder: Path) -> bool:
    return folder.is_dir() and not folder.name.startswith(".")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


class _Store:
    """The cache, and beside it, until that is complete, a folder with one pose file for each video that is done.

    settings: what the poses were extracted with; poses of other settings are not taken. Raises OutputError at once
    if nothing can be written there.
    """

    def __init__(self, cache: Path, settings: str):
        self.cache = cache
        self.parts = cache.with_name(cache.name + ".parts")
        self.settings = settings
        if cache.exists() and _SETTINGS not in load_poses(cache).notes:
            raise OutputError(
                f"{cache}, where the poses would be kept, is another file; move it, or choose another output"
            )
        try:
            self.parts.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.parts} cannot be made: {error.strerror}; choose another output") from error

    def read(self) -> dict[tuple[str, str], Annotation]:
        """What is there by name and stamp. A part that cannot be read counts as not there."""
        known: dict[tuple[str, str], Annotation] = {}
        for path in [self.cache, *sorted(self.parts.glob("*.pkl"))]:
            if not path.exists():
                continue
            try:
                file = load_poses(path)
            except InputError as error:
                log.warning("%s; its videos are looked at again", error)
                continue
            if file.notes.get(_SETTINGS) != self.settings:
                log.warning("%s was made with other settings; its videos are looked at again", path)
                continue
            known |= {(name, file.notes.get(name, "")): annotation for name, annotation in file.annotations.items()}
        return known

    def keep(self, annotation: Annotation, stamp: str) -> None:
        name = hashlib.sha256(annotation.name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
        self._save(self.parts / f"{name}.pkl", {annotation.name: annotation}, {}, {annotation.name: stamp})

    def finish(
        self,
        annotations: dict[str, Annotation],
        splits: dict[str, list[str]],
        stamps: dict[str, str],
        classes: list[str],
    ) -> None:
        """Write the whole cache and the class names, and remove the parts."""
        self._save(self.cache, annotations, splits, stamps)
        labels = labels_beside(self.cache)
        try:
            with written_aside(labels) as aside:
                aside.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8", errors="replace")
        except OSError as error:
            raise OutputError(f"the class names {labels} cannot be written: {error.strerror}") from error
        shutil.rmtree(self.parts, ignore_errors=True)

    def _save(
        self, path: Path, annotations: dict[str, Annotation], splits: dict[str, list[str]], stamps: dict[str, str]
    ) -> None:
        save_poses(annotations.values(), splits, path, {_SETTINGS: self.settings, **stamps})
