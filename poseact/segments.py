"""Consecutive clips with the same label as one segment: "squat from 0:12 to 0:31"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .clips import ClipLabel, LabelScore, choose_labels, only_labels
from .errors import UsageError
from .failure import Failure

if TYPE_CHECKING:
    from .bundle import BundleInfo

# Seconds that float arithmetic may be off by.
_SLACK = 1e-6


@dataclass(frozen=True)
class SegmentRule:
    """What makes a segment.

    min_length: seconds; shorter segments are left out. patience: seconds for which something else - other labels,
    none, nobody - may interrupt a label without ending it. sure: a clip of another label with this score or more
    ends it all the same. With a patience of 0 every change of the label ends a segment. Raises UsageError.
    """

    min_length: float = 0.0
    patience: float = 1.5
    sure: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.min_length < float("inf"):
            raise UsageError(f"a segment's least length must be 0 s or more, got {self.min_length:g}")
        if not 0 <= self.patience < float("inf"):
            raise UsageError(f"a label can be interrupted for 0 s or more, got {self.patience:g}")
        if not 0 <= self.sure <= 1:
            raise UsageError(f"the score that ends another label must be in [0, 1], got {self.sure:g}")


def merge_segments(clips: Iterable[ClipLabel], rule: SegmentRule | None = None) -> Iterator[ClipLabel]:
    """Segments of clips, for each person of each source, as soon as nothing to come can change them.

    clips: of one source after the other, in the order of their start. Where two clips overlap, the border between
    them lies in the middle; so the segments of a person never do. What has no label is in none, unless it
    interrupts one (see `SegmentRule`).
    A segment is a ClipLabel: clip is its number in its source, label the likeliest over all of its time of those that
    its clips have, score the mean of that label's probability over time, top that of all labels (0 where a clip does
    not list one), persons the most of any of its clips.
    What goes wrong with the clips, Ctrl-C included, is raised after the segments that were begun.

    stride 1, length 2, labels a a b b: clips [0, 2) [1, 3) [2, 4) [3, 5) -> a [0, 2.5), b [2.5, 5).
    """
    rule = rule or SegmentRule()
    people: dict[int | None, _Person] = {}
    before: ClipLabel | None = None
    count = 0
    failure = Failure(also=KeyboardInterrupt)  # which is how a live source is ended
    for clip in failure.after(clips):
        if before is not None and _begins_anew(clip, before, people):
            yield from _numbered(_ended(people, None), count)
            count = 0
        before = clip
        for segment in [*_ended(people, clip.start), *people.setdefault(clip.person, _Person(rule)).add(clip)]:
            yield replace(segment, clip=count)
            count += 1
    yield from _numbered(_ended(people, None), count)
    failure.check()


def _begins_anew(clip: ClipLabel, before: ClipLabel, people: dict[int | None, _Person]) -> bool:
    """Whether a clip is of another source than the one before it, be it one of the same name."""
    if clip.source != before.source or clip.clip < before.clip:
        return True
    return clip.person in people and people[clip.person].was_in(clip.clip)


def _numbered(segments: list[ClipLabel], first: int) -> Iterator[ClipLabel]:
    return (replace(segment, clip=number) for number, segment in enumerate(segments, first))


def _ended(people: dict[int | None, _Person], now: float | None) -> list[ClipLabel]:
    """The last segments, in the order of their start, of those who are gone by `now` seconds, or of all; they are
    forgotten."""
    gone = [person for person, own in people.items() if now is None or own.is_over(now)]
    return sorted((segment for person in gone for segment in people.pop(person).end()), key=lambda s: s.start)


@dataclass(frozen=True)
class RowRule:
    """What is told of clips. segments: merge them by this rule; None: each is a row. only: no labels but these."""

    segments: SegmentRule | None = None
    only: tuple[str, ...] | None = None

    def check(self, info: BundleInfo) -> None:
        """Raises UsageError if the classifier of this bundle knows none such."""
        self._wanted(info)

    def rows(self, clips: Iterable[ClipLabel], info: BundleInfo) -> Iterator[ClipLabel]:
        """The rows of clips, as soon as each is certain. info: of the classifier's bundle."""
        merged = iter(clips) if self.segments is None else merge_segments(clips, self.segments)
        wanted = self._wanted(info)
        return merged if wanted is None else only_labels(merged, wanted)

    def _wanted(self, info: BundleInfo) -> frozenset[str] | None:
        return None if self.only is None else choose_labels(self.only, info.labels, info.aliases)


class _Person:
    """One person's clips as they come, and the segment that goes on."""

    def __init__(self, rule: SegmentRule):
        self._rule = rule
        self._last: ClipLabel | None = None  # cut at its border with the one before
        self._segment: _Segment | None = None
        self._interruption: list[ClipLabel] = []

    def is_over(self, now: float) -> bool:
        """Whether nothing that starts at `now` seconds or later can go on with the segment."""
        return self._last is not None and now > self._last.end + self._rule.patience + _SLACK

    def was_in(self, clip: int) -> bool:
        """Whether the last clip had this number."""
        return self._last is not None and self._last.clip == clip

    def add(self, clip: ClipLabel) -> list[ClipLabel]:
        """Returns the segments that are finished by this clip."""
        last, self._last = self._last, clip
        if last is None:
            return []
        if clip.start >= last.end:
            return self._take(last)
        border = (clip.start + last.end) / 2
        self._last = replace(clip, start=border)
        return self._take(replace(last, end=border))

    def end(self) -> list[ClipLabel]:
        """Returns the segments that are left."""
        last, self._last = self._last, None
        segments = self._take(last) if last is not None else []
        while self._segment is not None:
            segments += self._finish([])
        return segments

    def _take(self, piece: ClipLabel) -> list[ClipLabel]:
        """The next piece of time. Pieces do not overlap."""
        segment, rule = self._segment, self._rule
        if segment is None:
            self._segment = None if piece.label is None else _Segment(piece)
            return []
        if piece.label == segment.label and piece.start - segment.end <= rule.patience + _SLACK:
            segment.extend([*self._interruption, piece])
            self._interruption = []
            return []
        is_sure = piece.label not in (None, segment.label) and (piece.score or 0.0) >= rule.sure
        if is_sure or piece.end - segment.end > rule.patience + _SLACK:
            return self._finish([piece])
        self._interruption.append(piece)
        return []

    def _finish(self, pieces: list[ClipLabel]) -> list[ClipLabel]:
        """End the segment; what came since, and these pieces, may be of others."""
        assert self._segment is not None
        found, long_enough = self._segment.clip_label(), self._rule.min_length - _SLACK
        segments = [found] if found.end - found.start >= long_enough else []
        left, self._segment, self._interruption = self._interruption, None, []
        for piece in [*left, *pieces]:
            segments += self._take(piece)
        return segments


class _Segment:
    """A label that goes on, and the sums of what its pieces say."""

    def __init__(self, piece: ClipLabel):
        self._first = piece
        self._seconds = 0.0
        self._sums: dict[str, float] = {}
        self._labels: dict[str, None] = {}  # in the order in which they came
        self._listed = 1
        self._persons = 0
        self.extend([piece])

    @property
    def label(self) -> str | None:
        return self._first.label

    def extend(self, pieces: list[ClipLabel]) -> None:
        for piece in pieces:
            self._persons = max(self._persons, piece.persons)
            if piece.label is not None:
                self._labels[piece.label] = None
            top = piece.top or _only(piece)
            if top:
                seconds = piece.end - piece.start
                self._seconds += seconds
                self._listed = max(self._listed, len(top))
            for each in top:
                self._sums[each.label] = self._sums.get(each.label, 0.0) + seconds * each.score
        self.end = pieces[-1].end

    def clip_label(self) -> ClipLabel:
        means = {label: total / self._seconds for label, total in self._sums.items()}
        best = sorted(means, key=lambda label: -means[label])[: self._listed]
        # What interrupted it for moments may have been the likelier all the time.
        label = max(self._labels, key=lambda label: means.get(label, 0.0), default=None)
        return replace(
            self._first,
            end=self.end,
            label=label,
            score=None if label is None else means.get(label, 0.0),
            top=tuple(LabelScore(label, means[label]) for label in best),
            persons=self._persons,
        )


def _only(piece: ClipLabel) -> tuple[LabelScore, ...]:
    """What a clip that lists no labels still says."""
    return () if piece.label is None or piece.score is None else (LabelScore(piece.label, piece.score),)
