"""From a table `video,start,end,label` to labelled clips: each video's poses are extracted once and cached, each row
is cut out of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import InputError
from ..extract import PoseStages
from ..poses import Annotation, PoseFile, PoseSequence
from ..track import prominence
from ..video_labels import LabelledSpan, class_order, read_table
from .extracted import Progress, extract_videos, open_store
from .folder import SPLIT

log = logging.getLogger(__name__)

# Of each video so many people are kept, that an hour of a crowd fits into memory; of each clip, the most prominent.
_MOST_PEOPLE = 20

# Why a row is of no use, as a warning says it after "N rows of TABLE".
_NO_SPAN = "end before they start"
_NO_VIDEO = "are of videos that are not there or cannot be read"
_OUTSIDE = "lie outside of their video"
_NOBODY = "show nobody, or nobody where they say"
# How far from its place somebody may be found, as a share of the picture.
_REACH = 0.1
_CONTRADICTED = "label a time that other rows label otherwise"


@dataclass(frozen=True)
class LabelledClips:
    """file: the clips, all in the split `folder.SPLIT`; the source of each is its video's absolute path.
    names: of the classes, in label order."""

    file: PoseFile
    names: list[str]


def clips_of_table(
    table: Path,
    stages: PoseStages,
    *,
    subjects: int | Literal["all"] = 1,
    on_progress: Progress | None = None,
) -> LabelledClips:
    """The poses of each row of a table, see `video_labels.read_table`.

    A video is named by its absolute path, or by its path from the table's folder, or from the current one. The poses
    of the whole videos are kept in `cache_beside(table)`, see `folder.poses_of_folder`. Rows that are of no use are
    reported through the logger and left out.

    subjects: at most so many people of each clip, the most prominent first; where a row has a place, who is there.
    Raises InputError if the table cannot be read or no row is left, OutputError.
    """
    rows = read_table(table)
    paths = _find_paths(rows, table)
    names = {path: _name_of(path, table) for path in paths.values()}
    cache = cache_beside(table)
    store = open_store(cache, stages, _MOST_PEOPLE)
    videos = {name: path for path, name in names.items()}
    found = extract_videos(videos, store, stages, subjects=_MOST_PEOPLE, on_progress=on_progress)
    if found.annotations:
        store.finish(found.annotations.values(), {SPLIT: list(found.annotations)}, found.stamps)
    poses = {
        named: found.annotations[names[path]].poses for named, path in paths.items() if names[path] in found.annotations
    }
    contradicted = _contradicted(rows, paths)
    clips, useless = _cut(sorted({*rows} - {*contradicted}, key=lambda row: row.line), poses, subjects)
    if contradicted:
        useless[_CONTRADICTED] = contradicted
    for reason, ones in useless.items():
        log.warning("%d rows of %s %s, such as %s; they are left out", len(ones), table, reason, ones[0])
    if not clips:
        raise InputError(f"{table} has no row with anything to learn from; check the paths and times of its rows")
    classes = class_order(row.label for row in clips)
    annotations = {
        (name := f"{names[paths[row.video]]}, row {row.line}"): Annotation(
            name, classes.index(row.label), clip, source=str(paths[row.video])
        )
        for row, clip in clips.items()
    }
    return LabelledClips(PoseFile(table, annotations, {SPLIT: list(annotations)}), classes)


def cache_beside(table: Path) -> Path:
    """Where the poses of a table's videos are kept: my.csv, my.poses.pkl."""
    return table.with_name(f"{table.stem}.poses.pkl")


def _find_paths(rows: Sequence[LabelledSpan], table: Path) -> dict[str, Path]:
    """The absolute path of each video that is there, by what the table calls it."""
    found = {}
    for named in dict.fromkeys(row.video for row in rows):
        ways = (Path(os.path.abspath(table)).parent / named, Path(os.path.abspath(named)))
        path = next((way for way in ways if way.is_file()), None)
        if path is not None:
            found[named] = path.resolve()
    return found


def _name_of(path: Path, table: Path) -> str:
    """What a video is called in the cache: so that a folder that is moved with its table needs no new look."""
    folder = table.resolve().parent
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _contradicted(rows: Sequence[LabelledSpan], paths: Mapping[str, Path]) -> list[LabelledSpan]:
    """The rows of the same time and place of a video that have not all the same label. paths: by what the table calls
    them."""
    labels: dict[tuple, set[str]] = {}
    for row in rows:
        labels.setdefault((paths.get(row.video), row.start, row.end, row.place), set()).add(row.label)
    known = (row for row in rows if row.video in paths)
    return [row for row in known if len(labels[paths[row.video], row.start, row.end, row.place]) > 1]


def _cut(
    rows: Sequence[LabelledSpan], poses: Mapping[str, PoseSequence], subjects: int | Literal["all"]
) -> tuple[dict[LabelledSpan, PoseSequence], dict[str, list[LabelledSpan]]]:
    """The poses of each row, and by reason the rows that have none. poses: whole videos by what the table calls
    them."""
    clips: dict[LabelledSpan, PoseSequence] = {}
    useless: dict[str, list[LabelledSpan]] = {}
    for row in rows:
        whole = poses.get(row.video)
        start, end = row.start or 0.0, float("inf") if row.end is None else row.end
        if start >= end:
            useless.setdefault(_NO_SPAN, []).append(row)
        elif whole is None:
            useless.setdefault(_NO_VIDEO, []).append(row)
        else:
            clip = whole.between(start, min(end, _end_of(whole)))
            people = _people(clip, row.place, subjects) if len(clip.times) else []
            if not len(clip.times):
                useless.setdefault(_OUTSIDE, []).append(row)
            elif not people:
                useless.setdefault(_NOBODY, []).append(row)
            else:
                clips[row] = clip.select(people)
    return clips, useless


def _people(clip: PoseSequence, place: tuple[float, float, float] | None, subjects: int | Literal["all"]) -> list[int]:
    """The rows of `clip` that a label is of: who is at the place, if there is one, or the most prominent."""
    if place is None:
        return np.argsort(-prominence(clip), kind="stable").tolist()[: None if subjects == "all" else subjects]
    *there, time = place
    frame = int(np.abs(clip.times - time).argmin())
    height, width = clip.image_size
    found = np.flatnonzero(clip.present[:, frame])
    weights = (clip.scores[found, frame] > 0)[..., None]
    middles = (clip.keypoints[found, frame] * weights).sum(axis=1) / weights.sum(axis=1)
    distances = np.linalg.norm(middles / (width, height) - there, axis=1)
    nearest = distances.argsort()[:1]
    return found[nearest[distances[nearest] <= _REACH]].tolist()


def _end_of(poses: PoseSequence) -> float:
    if poses.end is not None:
        return poses.end
    return float(poses.times[-1]) + 1e-3 if len(poses.times) else 0.0
