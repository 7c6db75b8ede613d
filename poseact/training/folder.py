"""From a folder `class_name/*.mp4` to a pose file: each video's poses are extracted once and cached."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..extract import PoseStages, extract_poses
from ..pose_store import PoseStore
from ..poses import Annotation, PoseFile, load_poses
from ..sources import ENDINGS, stamp_of
from .labels import labels_beside, write_labels

log = logging.getLogger(__name__)

# The split that holds every video in which somebody was found.
SPLIT = "train"
# Fast cameras' videos are thinned to this many frames a second; actions are no quicker.
RATE = 30.0

# Told how many videos are done, of how many, and the name of the one that is next ("" at the end).
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class LabelledVideo:
    """name: class_name/file, unique in the folder. label: index of the class."""

    name: str
    path: Path
    label: int


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
    store = PoseStore(cache, f"subjects {subjects}, {RATE:g} frames/s, {stages.description}")
    if store.other_settings():
        log.warning("%s was made with other settings; its videos are looked at again", cache)
    store.open()
    annotations: dict[str, Annotation] = {}
    stamps: dict[str, str] = {}
    for done, video in enumerate(videos):
        if on_progress:
            on_progress(done, len(videos), video.name)
        try:
            stamp = stamp_of(video.path)
            annotation = store.find(video.name, stamp)
            if annotation is None:
                poses = extract_poses(video.path, stages, subjects=subjects, rate=RATE)
                annotation = Annotation(video.name, video.label, poses, source=str(video.path))
                store.keep(annotation, stamp)
        except InputError as error:
            log.warning("%s; it is left out", error)
            continue
        if not annotation.poses.present.any():
            log.warning("%s: nobody is found in it; it is left out", video.path)
        annotations[video.name], stamps[video.name] = replace(annotation, label=video.label), stamp
    if on_progress:
        on_progress(len(videos), len(videos), "")
    with_people = [name for name, annotation in annotations.items() if annotation.poses.present.any()]
    if not with_people:
        raise InputError(f"nobody is found in any of the {len(videos)} videos of {folder}; check what they show")
    write_labels(classes, labels_beside(cache))
    store.finish(annotations.values(), {SPLIT: with_people}, stamps)
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
    others = [path for paths in found.values() for path in paths if path.suffix.lower() not in ENDINGS]
    if others:
        log.warning(
            "%d files in %s are no videos by their endings and are passed over: %s", len(others), folder, others[0].name
        )
    videos = {name: [p for p in paths if p.suffix.lower() in ENDINGS] for name, paths in found.items()}
    classes = [name for name, paths in videos.items() if paths]
    if not classes:
        raise InputError(f"{folder} has no folders with videos in them; sort the videos into {folder}/class_name/")
    rows = [(f"{name}/{path.name}", path, label) for label, name in enumerate(classes) for path in videos[name]]
    return classes, [LabelledVideo(*row) for row in rows]


def _is_class(folder: Path) -> bool:
    return folder.is_dir() and not folder.name.startswith(".")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
