"""From a folder `class_name/*.mp4` to a pose file: each video's poses are extracted once and cached."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..extract import PoseStages
from ..poses import PoseFile, load_poses
from ..sources import ENDINGS
from .extracted import Progress, extract_videos, open_store
from .labels import labels_beside, write_labels

log = logging.getLogger(__name__)

# The split that holds every video in which somebody was found.
SPLIT = "train"


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
    store = open_store(cache, stages, subjects)
    paths = {video.name: video.path for video in videos}
    found = extract_videos(paths, store, stages, subjects=subjects, on_progress=on_progress)
    label_of = {video.name: video.label for video in videos}
    annotations = [
        replace(annotation, label=label_of[name], source=os.path.abspath(paths[name]))
        for name, annotation in found.annotations.items()
    ]
    for annotation in annotations:
        if not annotation.poses.present.any():
            log.warning("%s: nobody is found in it; it is left out", paths[annotation.name])
    with_people = [annotation.name for annotation in annotations if annotation.poses.present.any()]
    if not with_people:
        raise InputError(f"nobody is found in any of the {len(videos)} videos of {folder}; check what they show")
    write_labels(classes, labels_beside(cache))
    store.finish(annotations, {SPLIT: with_people}, found.stamps)
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
