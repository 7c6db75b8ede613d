"""Where one scene ends and the next begins (PySceneDetect's detector, fed frame by frame)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from .errors import ModelError
from .failure import Failure
from .video import Frame

# The picture that changes are measured in, (W, H): little enough to cost nothing beside the detection of people.
_SIZE = (160, 90)
# A cut changes this much (mean of hue, saturation and brightness, of 255 each), and so many times as much as the
# frames around it. Cuts between videos measure 25 and more; the sun that comes out from behind somebody, 20.
_LEAST_CHANGE = 22.0
_LEAST_RATIO = 3.0
# Frames on either side that a change is compared with.
_AROUND = 2

# A frame, and whether a new scene begins with it.
MarkedFrame = tuple[Frame, bool]


class CutFinder:
    """Tells of each picture of a video whether a new scene begins with it, two pictures late.

    A cut is a change that stands out against the changes around it, so that a camera that pans or shakes makes none.
    Fades are not found, nor are cuts in the first or last two pictures. Raises ModelError without PySceneDetect.
    """

    def __init__(self) -> None:
        try:
            from scenedetect import FrameTimecode
            from scenedetect.detectors import AdaptiveDetector
        except ImportError as error:
            raise ModelError(f"PySceneDetect cannot be imported ({error}); run: pip install scenedetect") from error
        self._timecode = FrameTimecode
        self._detector = AdaptiveDetector(
            adaptive_threshold=_LEAST_RATIO, min_scene_len=1, window_width=_AROUND, min_content_val=_LEAST_CHANGE
        )
        self._taken = self._told = 0
        self._cuts: set[int] = set()

    def take(self, picture: np.ndarray) -> list[bool]:
        """The next picture, as `small` makes it. Of those not told of yet, what is certain now: of one, or of none."""
        # It counts frames by their time; at one frame a second the two are the same.
        found = self._detector.process_frame(self._timecode(self._taken, fps=1.0), picture)
        self._cuts.update(cut.frame_num for cut in found)
        self._taken += 1
        return self._tell(self._taken - _AROUND)

    def rest(self) -> list[bool]:
        """Of the last ones, after which nothing comes."""
        return self._tell(self._taken)

    def _tell(self, until: int) -> list[bool]:
        first, self._told = self._told, max(self._told, until)
        return [number in self._cuts for number in range(first, self._told)]


def mark_cuts(frames: Iterable[Frame]) -> Iterator[MarkedFrame]:
    """Each frame, and whether a new scene begins with it; two frames late, see `CutFinder`."""
    finder = CutFinder()
    waiting: deque[Frame] = deque()
    failure = Failure()
    for frame in failure.after(frames):
        waiting.append(frame)
        for new_scene in finder.take(small(frame.seen)):
            yield waiting.popleft(), new_scene
    yield from zip(waiting, finder.rest(), strict=True)
    failure.check()


def small(image: np.ndarray) -> np.ndarray:
    """What changes are measured in, (90, 160, 3) uint8 BGR, of a picture (H, W, 3) uint8 RGB of any size, which may
    change within a video."""
    import cv2

    step = max(1, min(image.shape[0] // _SIZE[1], image.shape[1] // _SIZE[0]))
    # Channel by channel: NumPy is twice as slow where the innermost axis has three elements.
    coarse = cv2.merge([np.ascontiguousarray(image[::step, ::step, channel]) for channel in (2, 1, 0)])
    return cv2.resize(coarse, _SIZE)
