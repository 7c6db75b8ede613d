"""Which row of a video's labels holds when: one at a time for each person, and one for the whole clip."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace

from .clips import ClipLabel


class Timeline:
    """The labels of one video as spans that do not overlap, for each person and for the whole clip (None).

    labels: the rows of a video, clips or segments, in any order. Where two of a person's overlap, the border between
    them lies in the middle, as `segments.merge_segments` has it.

    stride 1, length 2: clips [0, 2) [1, 3) [2, 4) -> spans [0, 1.5) [1.5, 2.5) [2.5, 4).
    """

    def __init__(self, labels: Iterable[ClipLabel]):
        self.spans: dict[int | None, list[ClipLabel]] = {}
        for row in sorted(labels, key=lambda row: (row.start, row.end)):
            _append(self.spans.setdefault(row.person, []), row)
        self._starts = {person: [row.start for row in rows] for person, rows in self.spans.items()}

    @property
    def end(self) -> float:
        """When the last of them ends, in seconds."""
        return max((rows[-1].end for rows in self.spans.values()), default=0.0)

    @property
    def names(self) -> list[str]:
        """The labels that are given, each once, in alphabetical order."""
        return sorted({row.label for rows in self.spans.values() for row in rows if row.label is not None})

    def at(self, time: float) -> dict[int | None, ClipLabel]:
        """The rows that hold at `time` seconds, by their persons."""
        holding = {}
        for person, rows in self.spans.items():
            index = bisect_right(self._starts[person], time + 1e-6) - 1
            if index >= 0 and time < rows[index].end - 1e-6:
                holding[person] = rows[index]
        return holding

    def lanes(self, most: int) -> list[list[ClipLabel]]:
        """The spans in so many lanes at most, in none of which two overlap: people who are never there at the same
        time share one. Where that does not suffice, who is there for the shortest time has none."""
        longest_first = sorted(self.spans.values(), key=lambda rows: rows[0].start - rows[-1].end)
        lanes: list[list[list[ClipLabel]]] = []
        for rows in longest_first:
            free = (lane for lane in lanes if all(_are_apart(rows, others) for others in lane))
            lane = next(free, None)
            if lane is not None:
                lane.append(rows)
            elif len(lanes) < most:
                lanes.append([rows])
        order = {id(rows): number for number, rows in enumerate(self.spans.values())}
        lanes.sort(key=lambda lane: min(order[id(rows)] for rows in lane))
        return [[row for rows in lane for row in rows] for lane in lanes]


def _append(spans: list[ClipLabel], row: ClipLabel) -> None:
    """Add a row that starts no earlier than the last span, and move the border between them."""
    if not spans or row.start >= spans[-1].end:
        spans.append(row)
        return
    last = spans[-1]
    border = max((row.start + last.end) / 2, last.start)
    if row.end <= border:
        return
    if border > last.start:
        spans[-1] = replace(last, end=border)
    else:
        spans.pop()
    spans.append(replace(row, start=border))


def _are_apart(some: list[ClipLabel], others: list[ClipLabel]) -> bool:
    return some[-1].end <= others[0].start or others[-1].end <= some[0].start
