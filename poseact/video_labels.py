"""What is done in a video, as somebody noted it down: by the folder it lies in, or in a table."""

from __future__ import annotations

import csv
import io
import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from .errors import InputError, UsageError
from .sources import SourceVideo

log = logging.getLogger(__name__)

# By these a table is told from a pose file.
TABLE_ENDINGS = (".csv", ".tsv")
_COLUMNS = ("video", "label")
_NUMBERS = ("start", "end", "x", "y", "at")


@dataclass(frozen=True)
class LabelledSpan:
    """A row of a table: what is done in [start, end) seconds of a video. video: as it is named there. start, end:
    None: from the first frame, to the last. line: of the table, from 1. place: (x, y, seconds): by whom, in shares of
    the picture's width and height, and when they are there; None: by whom it is mostly about."""

    video: str
    label: str
    start: float | None
    end: float | None
    line: int
    place: tuple[float, float, float] | None = None

    def __str__(self) -> str:
        if self.start is None and self.end is None:
            return f"{self.video} in line {self.line}"
        start = "the start" if self.start is None else f"{self.start:g}"
        end = "the end" if self.end is None else f"{self.end:g} s"
        return f"{self.video} from {start} to {end} in line {self.line}"


@dataclass(frozen=True)
class VideoLabels:
    """names: of the classes, in label order. index_of: class index by the name of the video, of labelled ones."""

    names: Sequence[str] = ()
    index_of: Mapping[str, int] | None = None

    def of(self, video: str) -> int:
        """The class index of a video; -1 if it has no label."""
        return (self.index_of or {}).get(video, -1)


def labels_from_folders(videos: Sequence[SourceVideo]) -> VideoLabels:
    """The class is the topmost folder below the one that was named, or if the video lies in that one itself, or was
    named itself, the folder that holds it.

    Raises UsageError if a folder holds both videos and folders of videos, since then one of both readings is wrong.
    """
    sorted_ones = {v.folder for v in videos if v.folder is not None and _inside(v) > 1}
    for video in videos:
        if video.folder in sorted_ones and _inside(video) == 1:
            raise UsageError(
                f"{video.path} lies beside folders of videos, so its class cannot be told; put it into one of them"
            )
    return _numbered({video.name: _class_of(video) for video in videos})


def _inside(video: SourceVideo) -> int:
    """How many folders deep a video lies in the one that was named, counting that one."""
    return len(video.path.relative_to(video.folder).parts) if video.folder is not None else 1


def _class_of(video: SourceVideo) -> str:
    if video.folder is not None and _inside(video) > 1:
        return video.path.relative_to(video.folder).parts[0]
    return PurePath(os.path.abspath(video.path)).parent.name


def labels_from_table(videos: Sequence[SourceVideo], table: Path) -> VideoLabels:
    """The classes of a CSV file with the columns `video` and `label`.

    A video is named there as in the pose file, by its path from the table's folder or the current one, or by the
    file's name if no other video has the same. Videos without a row have no label; that, and rows without a video,
    is reported through the logger. Raises InputError if the table cannot be read or names none of the videos.
    """
    rows = read_table(table)
    known = _ways_to_name(videos)
    found: dict[str, str] = {}
    strangers = []
    for row in rows:
        named, label = row.video, row.label
        ways = (os.path.normpath(named), os.path.abspath(named), os.path.abspath(table.parent / named))
        name = next((known[way] for way in ways if way in known), None)
        if name is None:
            strangers.append(named)
        elif found.setdefault(name, label) != label:
            raise InputError(
                f"{table} gives {named} the labels {found[name]!r} and {label!r}; keep one of them, or if its rows are "
                f"of parts of the videos, by the columns start and end, train on them by `poseact train {table}`"
            )
    if not found:
        raise InputError(f"{table} names none of the videos; its first row is of {rows[0].video}")
    if strangers:
        log.warning("%d rows of %s name no video that is looked at, such as %s", len(strangers), table, strangers[0])
    if len(found) < len(videos):
        unnamed = next(video.name for video in videos if video.name not in found)
        log.warning("%s has no row for %d videos, such as %s", table, len(videos) - len(found), unnamed)
    return _numbered(found)


def read_table(table: Path) -> list[LabelledSpan]:
    """The rows of a CSV file with the columns `video` and `label`; and if they are there `start` and `end` in seconds,
    and of a place `x`, `y` and `at`, as shares of the picture and in seconds. They are separated by commas, semicolons
    or tabs, in any order, with others among them.

    Raises InputError if it cannot be read, lacks a column, has no row with a video and its label, or a number is none.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")  # Windows' editors put a mark first
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"the labels {table} cannot be read: {reason}") from error
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)  # what a spreadsheet writes depends on its language
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    if not all(name in columns for name in _COLUMNS):
        raise InputError(f"the first line of {table} must name the columns video and label, but is {header!r}")
    rows = []
    for row in reader:
        video, label, *numbers = (
            (row[columns[name]] or "").strip() if name in columns else "" for name in (*_COLUMNS, *_NUMBERS)
        )
        if video and label:
            line = reader.line_num
            start, end, x, y, at = (_number(text, table, line) for text in numbers)
            place = None if x is None or y is None or at is None else (x, y, at)
            rows.append(LabelledSpan(video, label, start, end, line, place))
    if not rows:
        raise InputError(f"{table} holds no row with a video and its label")
    return rows


def _number(text: str, table: Path, line: int) -> float | None:
    if not text:
        return None
    try:
        number = float(text.replace(",", "."))  # where semicolons separate, commas are decimal
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"line {line} of {table} has {text!r} for a time or place; write a number, such as 12.5")
    return number


def _ways_to_name(videos: Sequence[SourceVideo]) -> dict[str, str]:
    """The names of the videos by what a table may call them; the least telling first, so that others win."""
    files = Counter(video.path.name for video in videos)
    ways = {video.path.name: video.name for video in videos if files[video.path.name] == 1}
    ways |= {os.path.abspath(video.path): video.name for video in videos}
    return ways | {os.path.normpath(video.name): video.name for video in videos}


def class_order(names: Iterable[str]) -> list[str]:
    """Classes, each once, in the order of their names; numbers in that of their values, so that 0, 1, ... keep
    theirs."""
    once = sorted(set(names))
    return sorted(once, key=int) if all(name.isdecimal() for name in once) else once


def _numbered(class_of: Mapping[str, str]) -> VideoLabels:
    names = class_order(class_of.values())
    index = {name: place for place, name in enumerate(names)}
    return VideoLabels(names, {video: index[name] for video, name in class_of.items()})
