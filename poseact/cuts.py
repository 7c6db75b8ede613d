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


def mark_cuts(frames: Iterable[Frame]) -> Iterator[MarkedFrame]:
    """Each frame, and whether a new scene begins with it; two frames late.

    A cut is a change that stands out against the changes around it, so that a camera that pans or shakes makes none.
    Fades are not found, nor are cuts in the first or last two frames.
    """
    try:
        from scenedetect import FrameTimecode
        from scenedetect.detectors import AdaptiveDetector
    except ImportError as error:
        raise ModelError(f"PySceneDetect cannot be imported ({error}); run: pip install scenedetect") from error

    detector = AdaptiveDetector(
        adaptive_threshold=_LEAST_RATIO, min_scene_len=1, window_width=_AROUND, min_content_val=_LEAST_CHANGE
    )
    waiting: deque[tuple[int, Frame]] = deque()
    cuts: set[int] = set()
    failure = Failure()
    for number, frame in enumerate(failure.after(frames)):
        waiting.append((number, frame))
        # It counts frames by their time; at one frame a second the two are the same.
        found = detector.process_frame(FrameTimecode(number, fps=1.0), _small(frame.seen))
        cuts.update(cut.frame_num for cut in found)
        if len(waiting) > _AROUND:
            first, ready = waiting.popleft()
            yield ready, first in cuts
    yield from ((frame, number in cuts) for number, frame in waiting)
    failure.check()


def _small(image: np.ndarray) -> np.ndarray:
    """(90, 160, 3) uint8 BGR, whatever the size of the picture, which may change within a video."""
    import cv2

    step = max(1, min(image.shape[0] // _SIZE[1], image.shape[1] // _SIZE[0]))
    # Channel by channel: NumPy is twice as slow where the innermost axis has three elements.
    coarse = cv2.merge([np.ascontiguousarray(image[::step, ::step, channel]) for channel in (2, 1, 0)])
    return cv2.resize(coarse, _SIZE)
