"""What formats with a time line share: the labels as spans that do not overlap, and names that any of them can hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..clips import ClipLabel
from ..segments import SegmentRule, merge_segments

# Seconds that float arithmetic may be off by.
_SLACK = 1e-6
# Control characters, halves of surrogate pairs, and what is no character: no text, and XML can hold none of them.
_NO_TEXT = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff\\ufffe\\uffff]")


def spans_of(rows: Sequence[ClipLabel]) -> list[ClipLabel]:
    """The segments of rows of one video, none without a label; those of a person never overlap.

    Rows that do not overlap are segments already, or clips each of which stands for itself: no label then gives way
    to its neighbours, and only what meets is joined.
    """
    rule = SegmentRule() if _do_overlap(rows) else SegmentRule(patience=0.0)
    return [span for span in merge_segments(rows, rule) if span.label is not None]


def milliseconds(seconds: float) -> int:
    """The same time in what subtitles and ELAN count."""
    return max(0, round(seconds * 1000))


def plain(name: str) -> str:
    """A name in one line, without anything that is no text."""
    return " ".join(_NO_TEXT.sub(" ", name).split())


def legible(name: str) -> str:
    """The same name where it is text, and marks where it is none."""
    return _NO_TEXT.sub("\ufffd", name)


def person_name(person: int) -> str:
    """What a person is called where people are named."""
    return f"person {person}"


def _do_overlap(rows: Sequence[ClipLabel]) -> bool:
    ends: dict[int | None, float] = {}
    for row in rows:
        if row.start < ends.get(row.person, 0.0) - _SLACK:
            return True
        ends[row.person] = row.end
    return False
