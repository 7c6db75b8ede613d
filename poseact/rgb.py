"""Decoded pictures as arrays of RGB: the whole picture, or one scaled down before it is converted."""

from __future__ import annotations

from threading import Lock, local
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from .letterbox import GREY

# Formats of which each plane is a picture of its own, of nearly all videos there are, and those that GPUs decode to:
# the type of their numbers, and how many of them a pixel of colour has in its plane.
_PLANAR = {
    "yuv420p": ("u1", 1),
    "yuvj420p": ("u1", 1),
    "yuv420p10le": ("<u2", 1),
    "nv12": ("u1", 2),
    "p010le": ("<u2", 2),
}


class _Reformatters(local):
    """Of each thread: one for all pictures of a size, since each of its own would be set up anew."""

    def __init__(self) -> None:
        self.whole, self.small = VideoReformatter(), VideoReformatter()


class RgbConverter:
    """Turns decoded pictures into arrays (H, W, 3) uint8 RGB, upright: as the stream's display matrix says. Threads may
    share it. errors: how many could not be converted.
    """

    def __init__(self) -> None:
        self._own = _Reformatters()
        self._counting = Lock()
        self.errors = 0

    def __call__(self, picture: av.VideoFrame) -> np.ndarray | None:
        """The whole picture, of any pixel format; None if it is damaged."""
        try:
            return _converted(picture, self._own.whole, quarter_turns(picture))
        except (av.FFmpegError, ValueError):
            with self._counting:
                self.errors += 1
            return None

    def scaled(self, picture: av.VideoFrame, size: tuple[int, int]) -> np.ndarray | None:
        """The picture at (H, W), upright, for half of the work or less: much as `cv2.resize` of the whole one would be,
        with colours half as sharp. None if it is no larger than that, of a rare format, or damaged, which is for the
        whole one to tell."""
        import cv2

        turns = quarter_turns(picture)
        height, width = size[::-1] if turns % 2 else size
        stored = _PLANAR.get(picture.format.name)
        if stored is None or height >= picture.height or width >= picture.width:
            return None
        if any(plane.line_size < 0 for plane in picture.planes):  # from the bottom up
            return None
        small = av.VideoFrame(width, height, picture.format.name)
        small.colorspace, small.color_range = picture.colorspace, picture.color_range
        try:
            for number, (source, target) in enumerate(zip(picture.planes, small.planes, strict=True)):
                kind, values = stored[0], stored[1] if number else 1
                into = _pixels(target, kind, values)
                into[:] = cv2.resize(_pixels(source, kind, values), into.shape[1::-1])
            return _converted(small, self._own.small, turns)
        except (av.FFmpegError, ValueError, cv2.error):
            return None


class Unconverted:
    """A decoded picture that becomes an array (H, W, 3) uint8 RGB once it is asked for. shape: of that array;
    nbytes: of the picture as it is."""

    def __init__(self, picture: av.VideoFrame, convert: RgbConverter):
        self._picture, self._convert = picture, convert
        height, width = picture.height, picture.width
        self.shape = (width, height, 3) if quarter_turns(picture) % 2 else (height, width, 3)
        self.nbytes = sum(plane.buffer_size for plane in picture.planes)

    def __call__(self) -> np.ndarray:
        """The array; grey if the picture is damaged, so that nobody is found in it."""
        image = self._convert(self._picture)
        return np.full(self.shape, GREY, np.uint8) if image is None else image


def quarter_turns(picture: av.VideoFrame) -> int:
    """How often a picture is to be turned by 90 degrees, counterclockwise, to stand upright: 0 to 3."""
    return round(picture.rotation / 90) % 4


def _converted(picture: av.VideoFrame, reformatter: VideoReformatter, turns: int) -> np.ndarray:
    # In this thread alone: to share less than a millisecond with others costs more than they save.
    image = reformatter.reformat(picture, format="rgb24", threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _pixels(plane: Any, kind: str, values: int) -> np.ndarray:
    """A view of a plane's pixels without what lies beyond the end of each row: (H, W), or (H, W, values) of more than
    one each. kind: NumPy's name of their type."""
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : values * plane.width]
    return rows if values == 1 else rows.reshape(plane.height, plane.width, values)
