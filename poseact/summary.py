"""What the labels of many videos come to: seconds of each label, the main label of each video, and what failed."""

from __future__ import annotations

import contextlib
import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from .clips import ClipLabel
from .errors import OutputError
from .files import written_aside
from .records import FailedVideo, LabelledVideo
from .segments import SegmentRule, merge_segments

# What a clip with people but without a label counts as, while seconds are summed; no label is called so.
_UNSURE = "\0unsure"


def label_seconds(labels: Iterable[ClipLabel]) -> dict[str | None, float]:
    """Seconds of each label in the rows of one video, in the order in which they come; None: people were seen, but
    none of the labels was likely enough.

    Where rows of a person overlap, the border lies in the middle, so that for each person the seconds are never more
    than the video has.
    """
    named = [row if row.label or row.score is None else replace(row, label=_UNSURE) for row in labels]
    seconds: dict[str | None, float] = {}
    for segment in merge_segments((replace(row, top=()) for row in named), SegmentRule(patience=0.0)):
        label = None if segment.label == _UNSURE else segment.label
        seconds[label] = seconds.get(label, 0.0) + segment.end - segment.start
    return seconds


def main_label(video: LabelledVideo) -> str | None:
    """The label that somebody in the video has for the longest time; None if nobody has any."""
    return _longest(label_seconds(video.labels))


def was_anybody_seen(video: LabelledVideo) -> bool:
    """Whether there is a person in any clip of the video whom the classifier could look at."""
    return any(row.score is not None for row in video.labels)


def summarise(videos: Iterable[LabelledVideo], failed: Sequence[FailedVideo]) -> dict:
    """A run in numbers, as plain values for JSON; the videos are looked at one after the other.

    videos, failed: how many; seconds: of all videos; clips: rows of labels. labels: of each, longest first, how many
    videos and clips have it and for how many seconds, see `label_seconds`; unsure: the same of clips in which people
    have no label; nobody: how many clips are without any. by_video: of each its main label with its share of the
    seconds in which people were seen, its length, and how many people are in it.
    """
    in_videos, clips, seconds = Counter[str | None](), Counter[str | None](), Counter[str | None]()
    nobody, length = 0, 0.0
    by_video = []
    for video in videos:
        own = label_seconds(video.labels)
        in_videos.update(own.keys())
        seconds.update(own)
        clips.update(row.label for row in video.labels if row.score is not None)
        nobody += sum(row.score is None for row in video.labels)
        length += video.seconds
        by_video.append(_of_video(video, own))
    of_each = {
        label: {"videos": in_videos[label], "clips": clips[label], "seconds": round(seconds[label], 3)}
        for label in sorted({*clips}, key=lambda label: (-seconds[label], label or ""))
    }
    return {
        "videos": len(by_video),
        "failed": len(failed),
        "seconds": round(length, 3),
        "clips": clips.total() + nobody,
        "labels": {label: numbers for label, numbers in of_each.items() if label is not None},
        "unsure": of_each.get(None, {"videos": 0, "clips": 0, "seconds": 0.0}),
        "nobody": {"clips": nobody},
        "by_video": by_video,
    }


def write_summary(summary: Mapping, output: Path) -> None:
    """As JSON. Raises OutputError."""
    with _written(output) as file:
        json.dump(summary, file, ensure_ascii=False, indent=2)
        file.write("\n")


def write_failures(failed: Iterable[FailedVideo], output: Path) -> None:
    """As CSV with the columns video, path, attempts and error. Raises OutputError."""
    with _written(output) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["video", "path", "attempts", "error"])
        rows.writerows([video.name, video.path, video.attempts, video.error] for video in failed)


@contextlib.contextmanager
def _written(output: Path) -> Iterator[TextIO]:
    try:
        # A name that is no text becomes an escape, which JSON reads back.
        with (
            written_aside(output) as aside,
            aside.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            yield file
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror}") from error


def _of_video(video: LabelledVideo, seconds: Mapping[str | None, float]) -> dict:
    label = _longest(seconds)
    people = {row.person for row in video.labels if row.person is not None}
    return {
        "video": video.name,
        "path": str(video.path),
        "seconds": round(video.seconds, 3),
        "label": label,
        "share": None if label is None else round(seconds[label] / sum(seconds.values()), 4),
        "people": len(people) or max((row.persons for row in video.labels), default=0),
        "labels": {name: round(own, 3) for name, own in seconds.items() if name is not None},
    }


def _longest(seconds: Mapping[str | None, float]) -> str | None:
    # Sums that are the same but for rounding are told by which came first.
    labels = (label for label in seconds if label is not None)
    return max(labels, key=lambda label: round(seconds[label], 6), default=None)
