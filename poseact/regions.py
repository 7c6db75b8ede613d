"""Where people must be between two frames in which they were found, what to look at to see them, and whether they
are there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .detect import Detections, iou, likeness
from .letterbox import Letterbox
from .yolo import YoloResult

# Of the people seen in a region, whoever must be there overlaps the box in which they must be at least so much.
_LEAST_LIKENESS = 0.3
# Whoever comes so near to the edge of a region, in pixels of the network's input, may go on beyond it.
_EDGE = 2.0
# Who is found less surely, and only in one of the two frames, is not looked for in between.
_SURE = 0.3
# Boxes of two frames are of the same person if squares round them, as wide as the boxes are long, overlap at least so
# much, and neither overlaps another more: somebody who walks leaves a narrow box in a quarter of a second.
_LEAST_OVERLAP = 0.3
# What is seen round each box: this share of its longer side, but at least so many pixels of the network's input.
_MARGIN, _LEAST_MARGIN = 0.2, 16
# Sizes of regions, (W, H) in pixels of the network's input, the smallest first: of somebody who stands further off, who
# moves there, who lies, who stands near. To compile one takes as long as to look at ten whole pictures, so they are
# few, and none is nearly as large as the whole.
_SIZES = (160, 256), (256, 256), (384, 256), (256, 512)


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a picture to look at. window: of the network's input that the whole picture would be. boxes: (P, 4)
    float32 xyxy, in pixels of the picture, of the people who must be there."""

    window: Letterbox
    boxes: np.ndarray


def same_people(before: Detections, after: Detections) -> np.ndarray | None:
    """Who is who in two frames, (P, 2) int64 indices; None if somebody is surely in only one of them."""
    squares = _squares(after.boxes)
    overlaps = np.array([iou(squares, box) for box in _squares(before.boxes)]).reshape(len(before), len(after))
    # First among the sure, or one who is found twice would be taken for another.
    sure = (before.scores >= _SURE)[:, None] & (after.scores >= _SURE)
    pairs = _nearest(np.where(sure, overlaps, 0))
    for b, a in pairs:
        overlaps[b], overlaps[:, a] = 0, 0
    pairs += _nearest(np.where(sure, 0, overlaps))
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    for detections, known in ((before, found[:, 0]), (after, found[:, 1])):
        if (np.delete(detections.scores, known) >= _SURE).any():
            return None
    return found


def _squares(boxes: np.ndarray) -> np.ndarray:
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([center - half, center + half], axis=1)


def _nearest(overlaps: np.ndarray) -> list[tuple[int, int]]:
    """Rows and columns that overlap each other most, and enough."""
    if not overlaps.size:
        return []
    columns, rows = overlaps.argmax(axis=1), overlaps.argmax(axis=0)
    return [(b, a) for b, a in enumerate(columns) if rows[a] == b and overlaps[b, a] >= _LEAST_OVERLAP]


def regions_of(boxes: np.ndarray, whole: Letterbox, stride: int) -> list[Region]:
    """What to look at to see the people in boxes (P, 4) float32 xyxy of a picture: those who are near each other
    together.

    whole: how the network sees the whole picture. A region begins at multiples of `stride` pixels of that, so that its
    people lie in the network's cells as they would in the whole: found by regions and in whole pictures in turn, they
    would seem to tremble otherwise.
    """
    placed = whole.bring(boxes.reshape(-1, 2)).reshape(-1, 4)
    margins = np.maximum(_MARGIN * (placed[:, 2:] - placed[:, :2]).max(axis=1, keepdims=True), _LEAST_MARGIN)
    groups = [
        (_window(np.concatenate([box[:2] - margin, box[2:] + margin]), whole, stride), [i])
        for i, (box, margin) in enumerate(zip(placed, margins, strict=True))
    ]
    while (overlapping := _overlapping(groups)) is not None:
        (one, some), (other, others) = (groups[which] for which in overlapping)
        groups = [group for which, group in enumerate(groups) if which not in overlapping]
        around = np.concatenate([np.minimum(one[:2], other[:2]), np.maximum(one[2:], other[2:])])
        groups.append((_window(around, whole, stride), [*some, *others]))
    return [Region(whole.window(place), boxes[people]) for place, people in groups]


def found_in(region: Region, seen: YoloResult) -> YoloResult | None:
    """Of those seen in a region, the people who must be there; None if one of them is not, or may go on beyond it."""
    chosen: list[int] = []
    for box in region.boxes:
        likely = likeness(seen.boxes, seen.scores, box)
        likely[chosen] = 0
        if not likely.max(initial=0) >= _LEAST_LIKENESS:
            return None
        chosen.append(int(likely.argmax()))
    people = seen.of(chosen)
    return None if _leave(region.window, people.boxes) else people


def _leave(window: Letterbox, boxes: np.ndarray) -> bool:
    """Whether boxes (P, 4) xyxy of the picture may go on beyond a window, where the picture does."""
    placed = window.bring(boxes.reshape(-1, 2)).reshape(-1, 4)
    first, size = np.array(window.corner[::-1]), np.array(window.size[::-1])
    goes_on = first < 0, first + window.fitted[::-1] > size
    at_edge = placed[:, :2] < _EDGE, placed[:, 2:] > size - _EDGE
    return any((at & on).any() for at, on in zip(at_edge, goes_on, strict=True))


def _overlapping(groups: list[tuple[np.ndarray, list[int]]]) -> tuple[int, int] | None:
    for one, other in combinations(range(len(groups)), 2):
        first, second = groups[one][0], groups[other][0]
        if (first[:2] < second[2:]).all() and (second[:2] < first[2:]).all():
            return one, other
    return None


def _window(around: np.ndarray, whole: Letterbox, stride: int) -> np.ndarray:
    """The smallest window (4,) int64 xyxy that shows `around`, as far as the whole input does."""
    limit = np.array(whole.size[::-1])
    low = np.clip(around[:2] // stride * stride, 0, limit - stride)
    extent = np.minimum(around[2:], limit) - low
    fitting = (np.minimum(size, limit) for size in _SIZES if not any(side % stride for side in size))
    size = next((size for size in fitting if (extent <= size).all()), limit)
    low = np.minimum(low, limit - size)
    return np.concatenate([low, low + size]).astype(np.int64)
