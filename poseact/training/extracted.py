"""The poses of labelled videos, each extracted once and kept, so that a kill loses no more than the video in hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..extract import PoseStages, extract_poses
from ..pose_store import PoseStore
from ..poses import Annotation
from ..sources import stamp_of

log = logging.getLogger(__name__)

# Fast cameras' videos are thinned to this many frames a second; actions are no quicker.
RATE = 30.0

# Told how many videos are done, of how many, and the name of the one that is next ("" at the end).
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Extracted:
    """annotations: whole videos by name, without labels. stamps: by name, see `sources.stamp_of`."""

    annotations: dict[str, Annotation]
    stamps: dict[str, str]


def open_store(cache: Path, stages: PoseStages, subjects: int | Literal["all"]) -> PoseStore:
    """The store of such poses at `cache`, told through the logger if it has others. Raises OutputError."""
    store = PoseStore(cache, f"subjects {subjects}, {RATE:g} frames/s, {stages.description}")
    if store.other_settings():
        log.warning("%s was made with other settings; its videos are looked at again", cache)
    store.open()
    return store


def extract_videos(
    videos: Mapping[str, Path],
    store: PoseStore,
    stages: PoseStages,
    *,
    subjects: int | Literal["all"] = 1,
    on_progress: Progress | None = None,
) -> Extracted:
    """The poses of all videos, given by name; what the store has of them, unchanged, is taken from there.

    subjects: see `extract_poses`; the same that the store was opened with. Videos that cannot be read are reported
    through the logger and left out; those that show nobody are not. Raises OutputError.
    """
    found = Extracted({}, {})
    for done, (name, path) in enumerate(videos.items()):
        if on_progress:
            on_progress(done, len(videos), name)
        try:
            stamp = stamp_of(path)
            annotation = store.find(name, stamp)
            if annotation is None:
                poses = extract_poses(path, stages, subjects=subjects, rate=RATE)
                annotation = Annotation(name, -1, poses, source=str(path))
                store.keep(annotation, stamp)
        except InputError as error:
            log.warning("%s; it is left out", error)
            continue
        found.annotations[name], found.stamps[name] = annotation, stamp
    if on_progress:
        on_progress(len(videos), len(videos), "")
    return found
