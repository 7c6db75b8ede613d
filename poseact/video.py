"""Reading video with PyAV: frames in order, one at a time, with the stream's own timestamps."""

from __future__ import annotations

import contextlib
import math
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from .errors import InputError

# Taken where a stream tells no frame rate at all.
_FALLBACK_FPS = 25.0
# A stream that ends this much (seconds) before its announced end was cut.
_CUT_TOLERANCE = 0.5


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """One picture. image: (H, W, 3) uint8 RGB, upright; index: from 0 at the first frame of the span that is read;
    time: seconds from the start of the video, by the stream's own timestamps."""

    image: np.ndarray
    index: int
    time: float

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"a frame must be (H, W, 3) uint8, got {self.image.shape} {self.image.dtype}")

    def blank(self) -> Frame:
        """The same without what is to be seen: as large, but black, and of no memory."""
        return replace(self, image=np.broadcast_to(np.uint8(0), self.image.shape))

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"Frame({self.index}, {self.time:.3f} s, {width}×{height})"


class Video:
    """A video file, opened. Iterate `frames` once; then `end`, `decode_errors` and `was_cut` tell how it went.

    fps: nominal frames per second. announced_end: seconds, by the container; None if it does not say.
    Raises InputError if there is no video to be read.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.container = _open(self.path)
        self.stream = _video_stream(self.container, self.path)
        self.stream.thread_type = "AUTO"
        self.fps = float(self.stream.guessed_rate or self.stream.average_rate or _FALLBACK_FPS)
        self.origin = self._origin()
        self.announced_end = self._announced_end()
        self.end = 0.0
        self.decode_errors = 0
        self.decoded = 0

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @property
    def was_cut(self) -> bool:
        """Whether the stream ended well before the end that the container announces."""
        return self.announced_end is not None and self.end < self.announced_end - _CUT_TOLERANCE

    def frames(
        self,
        start: float | None = None,
        end: float | None = None,
        wanted: Callable[[float], bool] | None = None,
    ) -> Iterator[Frame]:
        """Frames of [start, end) seconds in order. wanted: told the time of each, says whether to yield it;
        a frame that is not wanted is decoded, since others build on it, but not converted to RGB.

        Raises InputError if nothing could be decoded.
        """
        for picture, time, duration in self._pictures_around(start or 0.0):
            if start is not None and time < start - 1e-6:
                continue
            if end is not None and time >= end - 1e-6:
                self.end = end
                self.announced_end = None  # the rest was not looked at
                break
            self.end = time + duration
            self.decoded += 1
            if wanted is None or wanted(time):
                image = self._convert(picture)
                if image is not None:
                    yield Frame(image, self.decoded - 1, time)
        if not self.decoded:
            if self.end and self.end == end:
                raise InputError(f"{self.path} has no picture between {start or 0:g} and {end:g} s; choose others")
            if start:
                raise InputError(f"{self.path} has nothing after {start:g} s; choose an earlier --start")
            raise InputError(f"{self.path}: no frame can be decoded; the file is damaged, try to export it again")

    def _pictures_around(self, start: float) -> Iterator[tuple[av.VideoFrame, float, float]]:
        """Timed pictures from before `start` on; from the very first if the container cannot seek to one there."""
        if start > 0:
            self._seek(start)
            pictures = self._timed_pictures()
            first = next(pictures, None)
            if first is not None and first[1] <= start:
                yield first
                yield from pictures
                return
            # A file that lost its index may land between keyframes, where nothing can be decoded.
            self.decode_errors = 0
            self._seek(0.0)
        yield from self._timed_pictures()

    def _timed_pictures(self) -> Iterator[tuple[av.VideoFrame, float, float]]:
        """Decoded pictures with time and duration in seconds; times always increase."""
        interval = 1 / self.fps
        last = -math.inf
        for picture in self._pictures():
            time = picture.time - self.origin if picture.time is not None else last + interval
            if not math.isfinite(time):
                time = 0.0
            if time <= last:
                time = last + interval
            duration = float(picture.duration * picture.time_base) if picture.duration and picture.time_base else 0.0
            last = time
            yield picture, time, duration or interval

    def _pictures(self) -> Iterator[av.VideoFrame]:
        """What can be decoded; damage in the stream is passed over and counted."""
        for packet in self._packets():
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                self.decode_errors += 1
                continue
            yield from pictures

    def _packets(self) -> Iterator[av.Packet]:
        try:
            yield from self.container.demux(self.stream)
        except av.FFmpegError:
            # The container itself is broken off here, or the disk is.
            self.decode_errors += 1

    def _convert(self, picture: av.VideoFrame) -> np.ndarray | None:
        try:
            return _upright_rgb(picture)
        except (av.FFmpegError, ValueError):
            self.decode_errors += 1
            return None

    def _seek(self, start: float) -> None:
        target = int((start + self.origin) / self.stream.time_base)
        # Not every container can seek; then all is decoded and what lies before is dropped.
        with contextlib.suppress(av.FFmpegError):
            self.container.seek(max(target, 0), stream=self.stream)

    def _origin(self) -> float:
        """Players count from the container's first timestamp, and so do we."""
        start = self.container.start_time
        return start / av.time_base if start else 0.0

    def _announced_end(self) -> float | None:
        if self.stream.duration and self.stream.time_base:
            first = float((self.stream.start_time or 0) * self.stream.time_base)
            return first - self.origin + float(self.stream.duration * self.stream.time_base)
        if self.container.duration:
            return self.container.duration / av.time_base
        return None


def _open(path: Path) -> Any:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path} is a folder, not a video; name the videos in it, for example {path}/*.mp4")
        if stat.S_ISREG(found.st_mode) and found.st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy it again")
        # The prefix keeps FFmpeg from taking a name like 10:30.mp4 for a protocol.
        return av.open(f"file:{path}")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(_why_not_opened(path, error)) from error


def _why_not_opened(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{path} cannot be read: permission denied; change its permissions"
    if isinstance(error, av.InvalidDataError):
        return (
            f"{path} is not a video that FFmpeg can read; it may be another kind of file, "
            "or a recording that was not finished (an mp4 without its index)"
        )
    return f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}"


def _video_stream(container: Any, path: Path) -> Any:
    for stream in container.streams.video:
        # The cover picture of a piece of music is a video stream of one frame.
        if not (stream.disposition & av.stream.Disposition.attached_pic) and stream.codec_context is not None:
            return stream
    kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
    container.close()
    raise InputError(f"{path} has no video stream (it holds: {kinds}); give a file with pictures")


def _upright_rgb(picture: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8 RGB of any pixel format, turned as the stream's display matrix says."""
    image = picture.to_ndarray(format="rgb24")
    quarter_turns = round(picture.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image
