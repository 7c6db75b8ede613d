"""People's boxes from a file instead of a detector: ground truth, or another tracker's."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .detect import Detections
from .errors import InputError, UsageError
from .video import Frame

_NEEDED = ("frame", "x1", "y1", "x2", "y2")
_KNOWN = (*_NEEDED, "id", "score")
# MOTChallenge's columns as far as they matter here; a detection's id is -1.
_MOT = ("frame", "id", "left", "top", "width", "height", "score")


class _Row(NamedTuple):
    """frame: from 0. box: xyxy. id: -1 where none is given."""

    line: int
    frame: int
    box: tuple[float, float, float, float]
    id: int
    score: float


# Sides of the picture that a box may reach beyond it; somebody close to the camera is larger than the picture.
_BEYOND = 2


class BoxesDetector:
    """A `detect.Detector` that reads the people of each frame from a file, see `read_boxes`.

    Raises InputError for boxes so far outside of the picture that they must be of another one.
    """

    def __init__(self, path: Path):
        self._path = path
        self._found = read_boxes(path)
        self._nobody = _detections([], with_ids=False)

    def __call__(self, frames: list[Frame]) -> list[Detections]:
        return [self._in(frame) for frame in frames]

    def _in(self, frame: Frame) -> Detections:
        found = self._found.get(frame.index, self._nobody)
        side = np.tile(frame.image.shape[1::-1], 2)
        if ((found.boxes < -_BEYOND * side) | (found.boxes > (1 + _BEYOND) * side)).any():
            raise InputError(
                f"{self._path}: a box at {frame.time:.2f} s is far outside of the picture of {side[0]}x{side[1]} "
                "pixels; give the boxes of this very video"
            )
        return found


def boxes_of(boxes: Path, video: str | Path) -> Path:
    """The file with the boxes of a video: `boxes` itself, or NAME.csv or NAME.txt in it if it is a folder.

    Raises InputError.
    """
    if not boxes.is_dir():
        return boxes
    wanted = [boxes / (Path(video).stem + ending) for ending in (".csv", ".txt")]
    found = [path for path in wanted if path.exists()]
    if len(found) == 2:
        raise InputError(f"{found[0]} and {found[1].name} both have the boxes of {video}; remove one of them")
    if not found:
        raise InputError(f"{boxes} has no boxes of {video}; {wanted[0].name} or {wanted[1].name} is needed there")
    return found[0]


def check_boxes(boxes: Path, videos: Sequence[Path]) -> None:
    """Raises UsageError if several videos would share one file of boxes, InputError if there is none."""
    if not boxes.exists():
        raise InputError(f"{boxes} does not exist; check the path of the boxes")
    if not boxes.is_dir():
        count = len(set(videos))
        if count > 1:
            raise UsageError(f"{boxes} is of one video, and here are {count}; give a folder with boxes for each")
        return
    first: dict[str, Path] = {}
    for video in videos:
        other = first.setdefault(video.stem, video)
        if other != video:
            raise UsageError(f"{other} and {video} would both take the boxes {video.stem} in {boxes}; rename one")


def read_boxes(path: str | Path) -> dict[int, Detections]:
    """The people of each frame that has any, by the frame's index from 0 at the start of the video.

    NAME.csv: a header, then frame (from 0), x1, y1, x2, y2 in pixels, and if known id (from 0) and score (in [0, 1]).
    NAME.txt: MOTChallenge's det.txt or gt.txt, without header: frame (from 1), id (-1: none), left, top, width,
    height, and score; rows of score 0 do not count, as there. Either all boxes have an id or none has.
    Raises InputError naming the line.
    """
    path = Path(path)
    readers = {".csv": _csv_rows, ".txt": _mot_rows}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} is no file of boxes; a .csv with a header or MOTChallenge's .txt is needed")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(readers[path.suffix.lower()](path, csv.reader(file, skipinitialspace=True)))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path of the boxes") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a file of boxes ({error})") from error
    if not rows:
        raise InputError(f"{path} has no boxes")
    return _by_frame(path, rows)


def _csv_rows(path: Path, lines: Iterator[list[str]]) -> Iterator[_Row]:
    names = [name.strip().lower() for name in next(lines, [])]
    if not set(_NEEDED) <= set(names):
        raise InputError(f"{path} must begin with a line that names its columns: {','.join(_NEEDED)}[,id][,score]")
    unknown = [name for name in names if name not in _KNOWN]
    if unknown or len(set(names)) < len(names):
        wrong = unknown[0] if unknown else next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}, line 1: {wrong!r} is unknown or there twice; the columns are {', '.join(_KNOWN)}")
    for line, cells in enumerate(lines, 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            raise InputError(f"{path}, line {line}: {len(cells)} values, but line 1 names {len(names)} columns")
        cell = dict(zip(names, cells, strict=True))
        x1, y1, x2, y2 = (_number(path, line, name, cell[name]) for name in _NEEDED[1:])
        frame = _count(path, line, "frame", cell["frame"])
        box_id = _count(path, line, "id", cell.get("id", "").strip() or "-1")
        score = _number(path, line, "score", cell.get("score", "1"))
        yield _checked(path, _Row(line, frame, (x1, y1, x2, y2), box_id, score))


def _mot_rows(path: Path, lines: Iterator[list[str]]) -> Iterator[_Row]:
    for line, cells in enumerate(lines, 1):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) < len(_MOT) - 1:
            raise InputError(f"{path}, line {line}: {len(cells)} values; MOTChallenge's begin with {', '.join(_MOT)}")
        left, top, width, height = (_number(path, line, *pair) for pair in zip(_MOT[2:6], cells[2:6], strict=True))
        frame, box_id = _count(path, line, "frame", cells[0]), _count(path, line, "id", cells[1])
        if frame < 1:
            raise InputError(f"{path}, line {line}: frame {frame}; MOTChallenge counts frames from 1")
        score = _number(path, line, "score", cells[6]) if len(cells) > 6 else 1.0
        if score != 0:
            yield _checked(path, _Row(line, frame - 1, (left, top, left + width, top + height), box_id, score))


def _checked(path: Path, row: _Row) -> _Row:
    x1, y1, x2, y2 = row.box
    if row.frame < 0 or row.id < -1:
        raise InputError(f"{path}, line {row.line}: frame {row.frame}, id {row.id}; both count from 0")
    if not (x1 < x2 and y1 < y2):
        raise InputError(f"{path}, line {row.line}: the box from ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}) has no area")
    if not 0 <= row.score <= 1:
        raise InputError(f"{path}, line {row.line}: the score must be in [0, 1], got {row.score:g}; scale the scores")
    return row


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < float("inf"):
        raise InputError(f"{path}, line {line}: {name} must be a number, got {text.strip()!r}")
    return number


def _count(path: Path, line: int, name: str, text: str) -> int:
    number = _number(path, line, name, text)
    if number != int(number):
        raise InputError(f"{path}, line {line}: {name} must be a whole number, got {text.strip()!r}")
    return int(number)


def _by_frame(path: Path, rows: list[_Row]) -> dict[int, Detections]:
    if all(min(row.box) >= 0 and max(row.box) <= 1 for row in rows):
        raise InputError(f"{path} has its boxes as shares of the picture; pixels are needed")
    with_ids = rows[0].id >= 0
    seen: set[tuple[int, int]] = set()
    frames: dict[int, list[_Row]] = defaultdict(list)
    for row in rows:
        if (row.id >= 0) != with_ids:
            raise InputError(
                f"{path}, line {row.line}: {'an' if row.id >= 0 else 'no'} id, other than line {rows[0].line}; "
                "either all boxes need one or none"
            )
        if with_ids and (row.frame, row.id) in seen:
            raise InputError(f"{path}, line {row.line}: id {row.id} is in this frame twice")
        seen.add((row.frame, row.id))
        frames[row.frame].append(row)
    return {frame: _detections(own, with_ids) for frame, own in frames.items()}


def _detections(rows: list[_Row], with_ids: bool) -> Detections:
    return Detections(
        boxes=np.array([row.box for row in rows], np.float32).reshape(-1, 4),
        scores=np.array([row.score for row in rows], np.float32),
        ids=np.array([row.id for row in rows], np.int64) if with_ids else None,
    )
