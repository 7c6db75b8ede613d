"""What the page knows of the videos: columns of numbers, each text once, so that 50,000 videos are a few megabytes."""

from __future__ import annotations

import heapq
import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..clips import ClipLabel
from ..records import LabelledVideo, Moment
from ..skeleton import LAYOUTS
from .moments import MomentSpool, thin_out

# A label that is less likely than this says nothing to a reader.
_LEAST_SHARE = 0.005
# So many of the least certain clips have their picture before all others: they are what is looked at.
_FOR_REVIEW = 500
# Room in the file, in bytes. For pictures: for each clip, and no less and no more than this in all. A picture of 3 kB,
# base64 that it is, takes 4 kB.
_PICTURES_EACH, _PICTURES_LEAST, _PICTURES_MOST = 4_000, 20_000_000, 36_000_000
_PEOPLE_MOST = 10_000_000


class Strings:
    """Texts by number, each once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def __iter__(self):
        return iter(self._numbers)


class Contents:
    """Videos as they come, for a page in `folder`; their moments go to the spool.

    Times are milliseconds, scores and shares thousandths; -1: no person, no label, no score.
    """

    def __init__(self, folder: Path, spool: MomentSpool):
        self._folder, self._spool = folder, spool
        self._labels, self._layouts, self._places = Strings(), Strings(), Strings()
        self._videos: dict[str, list] = _columns("name place file seconds width height layout rows moments")
        self._rows: dict[str, list] = _columns("start length person label score persons tops top")
        self._times: list[int] = []
        self._ids: list[list[int]] = []
        self._covers: set[int] = set()
        self._uncertain: list[tuple[float, int]] = []

    def add(self, video: LabelledVideo) -> None:
        """The next video. Raises OSError if there is no space left for its pictures."""
        place, file = _split(str(video.path), video.name)
        height, width = video.size
        own = {
            "name": video.name,
            "place": self._places.number(place),
            "file": file,
            "seconds": _thousandths(video.seconds),
            "width": width,
            "height": height,
            "layout": self._layouts.number(video.layout),
            "rows": len(video.labels),
            "moments": len(video.moments),
        }
        for column, value in own.items():
            self._videos[column].append(value)
        self._note_what_matters(video)
        for clip in video.labels:
            self._add_row(clip)
        for moment in video.moments:
            self._times.append(_thousandths(moment.time))
            self._ids.append([person.person for person in moment.people])
            self._spool.add(moment)

    def _note_what_matters(self, video: LabelledVideo) -> None:
        """Which moments to keep first, if not all can be."""
        if not video.moments:
            return
        first = len(self._spool)
        self._covers.add(first + _nearest(video.moments, video.seconds / 2))
        for clip in video.labels:
            if clip.score is not None:
                moment = first + _nearest(video.moments, (clip.start + clip.end) / 2)
                self._uncertain.append((clip.score, moment))

    def _add_row(self, clip: ClipLabel) -> None:
        top = [each for each in clip.top if each.score >= _LEAST_SHARE]
        start = _thousandths(clip.start)
        own = {
            "start": start,
            "length": _thousandths(clip.end) - start,
            "person": -1 if clip.person is None else clip.person,
            "label": -1 if clip.label is None else self._labels.number(clip.label),
            "score": -1 if clip.score is None else _thousandths(clip.score),
            "persons": clip.persons,
            "tops": len(top),
        }
        for column, value in own.items():
            self._rows[column].append(value)
        for each in top:
            self._rows["top"] += [self._labels.number(each.label), _thousandths(each.score)]

    def choose_moments(self) -> tuple[list[bool], list[bool]]:
        """Whether the picture and whether the people of each moment go into the page. Those of a moment that loses its
        picture stay only if nothing else would show how the video looks."""
        sizes = self._spool.picture_sizes
        for_review = {moment for _, moment in heapq.nsmallest(_FOR_REVIEW, self._uncertain)}
        ranks = [0 if i in for_review else 1 if i in self._covers else 2 for i in range(len(sizes))]
        room = min(max(_PICTURES_EACH * len(self._rows["start"]), _PICTURES_LEAST), _PICTURES_MOST)
        pictures = thin_out(sizes, ranks, room)
        alone = [
            people if not kept and (not picture or i in self._covers) else 0
            for i, (people, picture, kept) in enumerate(zip(self._spool.people_sizes, sizes, pictures, strict=True))
        ]
        without = thin_out(alone, ranks, _PEOPLE_MOST)
        return pictures, [kept or other for kept, other in zip(pictures, without, strict=True)]

    def as_dict(self, pictures: Sequence[bool], people: Sequence[bool]) -> dict[str, Any]:
        """The columns as plain values, with those moments of which anything is kept."""
        sizes = self._spool.picture_sizes
        kept = [i for i, wanted in enumerate(people) if wanted]
        return {
            "labels": list(self._labels),
            "layouts": [{"keypoints": len(LAYOUTS[name]), "limbs": LAYOUTS[name].limbs} for name in self._layouts],
            "places": [[place, self._address(place)] for place in self._places],
            "separator": os.sep,
            "videos": {**self._videos, "moments": self._count_kept(people)},
            "rows": self._rows,
            "moments": {
                "time": [self._times[i] for i in kept],
                "picture": [sizes[i] if pictures[i] else 0 for i in kept],
                "people": [len(self._ids[i]) for i in kept],
                "ids": [person for i in kept for person in self._ids[i]],
            },
            "pictures": {"taken": sum(1 for size in sizes if size), "kept": sum(pictures)},
        }

    def _count_kept(self, kept: Sequence[bool]) -> list[int]:
        counts, first = [], 0
        for count in self._videos["moments"]:
            counts.append(sum(kept[first : first + count]))
            first += count
        return counts

    def _address(self, place: str) -> str:
        """The address of a folder from the page's own."""
        folder = os.path.abspath(place or ".")
        try:
            return quote(os.fsencode(Path(os.path.relpath(folder, self._folder)).as_posix())) + "/"
        except ValueError:  # another drive of Windows
            return Path(folder).as_uri() + "/"


def _columns(names: str) -> dict[str, list]:
    return {name: [] for name in names.split()}


def _thousandths(value: float) -> int:
    return round(1000 * value)


def _nearest(moments: Sequence[Moment], time: float) -> int:
    after = bisect_left(moments, time, key=lambda moment: moment.time)
    around = [i for i in (after - 1, after) if 0 <= i < len(moments)]
    return min(around, key=lambda i: abs(moments[i].time - time))


def _split(path: str, name: str) -> tuple[str, str | None]:
    """A path as the folder it is named from, with its last separator, and the rest; None: the rest is the name."""
    place = path.removesuffix(name)
    if place != path and (not place or place.endswith(os.sep)):
        return place, None
    folder, file = os.path.split(path)
    place = path.removesuffix(file)
    return (place, file) if folder else ("", path)
