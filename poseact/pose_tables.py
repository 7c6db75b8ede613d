"""Poses as CSV or JSON, one row a person and frame, for those who do not work in Python."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from .errors import OutputError
from .files import written_aside
from .poses import Annotation

# Hundredths of a pixel; finer than any estimator.
_PIXEL_DIGITS = 2
_SCORE_DIGITS = 4
_TIME_DIGITS = 6


def write_pose_table(
    annotations: Iterable[Annotation], names: Sequence[str], splits: Mapping[str, Sequence[str]], path: Path
) -> None:
    """Write one row for each person and frame in which they are there, in the format of the path's ending, which is
    one of `TABLES`: CSV, a JSON list, or JSON lines.

    names: of the classes, in label order. A row tells video, split, label, frame (from 0, of those that were looked
    at), time in seconds, width and height of the picture, person (track id), box (x1, y1, x2, y2) and x, y and score
    of each keypoint, in pixels. The annotations, all of one layout, are taken one at a time; the file is there
    when it is complete. Raises OutputError.
    """
    in_split = {name: split for split, members in splits.items() for name in members}
    rows = (row for annotation in annotations for row in _rows(annotation, names, in_split))
    try:
        with written_aside(path) as aside, aside.open("w", encoding="utf-8", errors="replace", newline="") as file:
            TABLES[path.suffix.lower()](rows, file)
    except OSError as error:
        raise OutputError(f"the poses {path} cannot be written: {error.strerror or error}") from error


def _rows(annotation: Annotation, names: Sequence[str], in_split: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """In the order of the frames; people in the order of the annotation."""
    poses = annotation.poses
    height, width = poses.image_size
    label = names[annotation.label] if annotation.label >= 0 else None
    present = poses.present
    for t, time in enumerate(poses.times):
        for m in present[:, t].nonzero()[0]:
            points = poses.keypoints[m, t].astype(float).round(_PIXEL_DIGITS).tolist()
            scores = poses.scores[m, t].astype(float).round(_SCORE_DIGITS).tolist()
            yield {
                "video": annotation.name,
                "split": in_split.get(annotation.name),
                "label": label,
                "frame": t,
                "time": round(float(time), _TIME_DIGITS),
                "width": width,
                "height": height,
                "person": int(poses.track_ids[m]),
                "box": poses.boxes[m, t].astype(float).round(_PIXEL_DIGITS).tolist(),
                "keypoints": {
                    name: [*point, score]
                    for name, point, score in zip(poses.layout.keypoints, points, scores, strict=True)
                },
            }


def _write_csv(rows: Iterable[dict[str, Any]], file: TextIO) -> None:
    """A column for each number. Without any row there is no telling which keypoints there are, and no header."""
    writer: csv.DictWriter | None = None
    for cells in map(_flat, rows):
        if writer is None:
            writer = csv.DictWriter(file, list(cells), lineterminator="\n")
            writer.writeheader()
        writer.writerow(cells)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """box to x1, y1, x2, y2; each keypoint to NAME_x, NAME_y, NAME_score."""
    cells = {key: value for key, value in row.items() if key not in ("box", "keypoints")}
    cells |= zip(("x1", "y1", "x2", "y2"), row["box"], strict=True)
    for name, (x, y, score) in row["keypoints"].items():
        cells |= {f"{name}_x": x, f"{name}_y": y, f"{name}_score": score}
    return cells


def _write_jsonl(rows: Iterable[dict[str, Any]], file: TextIO) -> None:
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_json(rows: Iterable[dict[str, Any]], file: TextIO) -> None:
    file.write("[")
    for number, row in enumerate(rows):
        file.write((",\n" if number else "\n") + json.dumps(row, ensure_ascii=False))
    file.write("\n]\n")


# By the ending of the file.
TABLES: dict[str, Callable[[Iterable[dict[str, Any]], TextIO], None]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".jsonl": _write_jsonl,
    ".ndjson": _write_jsonl,
}
