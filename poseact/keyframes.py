"""People of successive frames: searched for in the whole picture only now and then, in between where they must be."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Literal

from .cuts import MarkedFrame
from .detect import Detections, YoloDetector, detections_of
from .regions import Region, found_in, regions_of, same_people
from .video import Frame
from .yolo import Yolo, YoloResult

# Where people are searched for: in whole pictures, always; auto: where Ultralytics' networks run on a CPU, only in key
# frames so.
Search = Literal["auto", "whole"]

# Seconds from one key frame to the next, and frames at most, since they wait for it.
_INTERVAL = 0.27
_MOST_FRAMES = 8
# Where the frame rate varies, no frame lies between key frames that are more seconds apart.
_LONGEST_INTERVAL = 2 * _INTERVAL
# Regions are looked at if they have less than this share of the pixels of the whole picture.
_WORTHWHILE = 0.8


def frames_between_keys(rate: float) -> int:
    """Every how many frames is a key frame, at `rate` frames a second."""
    return min(max(1, round(_INTERVAL * rate)), _MOST_FRAMES)


class KeyFrames:
    """Finds everybody in the frames of one video, in order, a batch at a time.

    Each `every`-th frame is a key frame, in which the detector looks at the whole picture; so are the last of a batch,
    the first and last of a scene, and others where frames are far apart in time. So does it in the frames in between,
    if the people in the key frames around them are not surely the same or nearly fill the picture, or one is not where
    they were expected. Batches of multiples of `every` frames, of whatever size, give the same people.
    """

    def __init__(self, every: int):
        self._every, self._count = every, 0
        self._last: tuple[Frame, Detections] | None = None

    def detect(self, detector: YoloDetector, marked: list[MarkedFrame]) -> list[Detections]:
        """Who is in each of the frames that follow those of the call before."""
        frames = [frame for frame, _ in marked]
        found: dict[int, Detections] = {}

        def look_at(which: list[int]) -> None:
            found.update(zip(which, detector([frames[i] for i in which]), strict=True))

        keys = self._keys(marked)
        look_at(keys)
        regions = self._regions(detector.yolo, frames, keys, found)
        found |= _near(detector.yolo, frames, regions)
        look_at([i for i in range(len(frames)) if i not in found])
        # Only now, so that a batch that failed can be tried again.
        self._last = frames[-1].blank(), found[len(frames) - 1]
        self._count += len(frames)
        return [found[i] for i in range(len(frames))]

    def _keys(self, marked: list[MarkedFrame]) -> list[int]:
        before = [self._last[0] if self._last else None, *(frame for frame, _ in marked)]
        begins = [
            new_scene or frame.after_gap or last is None or last.size != frame.size
            for (frame, new_scene), last in zip(marked, before, strict=False)
        ]
        ends = [*begins[1:], True]
        times = [frame.time for frame, _ in marked]
        keys: list[int] = []
        last_key = self._last[0].time if self._last else times[0]
        for i, after in enumerate([*times[1:], times[-1]]):
            # Counted from the start of the video: how many frames come together depends on the processor's cores.
            regular = (self._count + i + 1) % self._every == 0
            if begins[i] or ends[i] or regular or after - last_key > _LONGEST_INTERVAL:
                keys.append(i)
                last_key = times[i]
        return keys

    def _regions(
        self, yolo: Yolo, frames: list[Frame], keys: list[int], found: dict[int, Detections]
    ) -> dict[int, list[Region]]:
        """What to look at in the frames between keys, of those where that is worth it."""
        known = {key: (frames[key], found[key]) for key in keys}
        if self._last:
            known[-1] = self._last
        regions = {}
        for start, end in pairwise(sorted(known)):
            (before, were), (after, are) = known[start], known[end]
            people = same_people(were, are)
            if people is None:
                continue
            for i in range(start + 1, end):
                # Two frames of a broken file may have the same time.
                share = (frames[i].time - before.time) / max(after.time - before.time, 1e-6)
                boxes = (1 - share) * were.boxes[people[:, 0]] + share * are.boxes[people[:, 1]]
                whole = yolo.whole(frames[i].size)
                wanted = regions_of(boxes, whole, yolo.stride)
                if sum(prod(region.window.size) for region in wanted) < _WORTHWHILE * prod(whole.size):
                    regions[i] = wanted
        return regions


def _near(yolo: Yolo, frames: list[Frame], regions: dict[int, list[Region]]) -> dict[int, Detections]:
    """The people in regions of frames; without the frames in which one is not where they must be."""
    wanted = [(i, region) for i, each in regions.items() for region in each]
    seen = yolo.within([frames[i].seen for i, _ in wanted], [region.window for _, region in wanted])
    people: dict[int, list[YoloResult | None]] = {i: [] for i in regions}
    for (i, region), each in zip(wanted, seen, strict=True):
        people[i].append(found_in(region, each))
    return {
        i: detections_of(YoloResult.together([part for part in parts if part], yolo.keypoint_shape))
        for i, parts in people.items()
        if None not in parts
    }
