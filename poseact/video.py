"""Videos, from files or live: frames in order, one at a time, with the stream's own timestamps."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import av
import numpy as np

from .addresses import address_of
from .decoding import Decoder, Feed, Picture, open_container, video_stream
from .errors import InputError
from .rgb import RgbConverter, Unconverted

# A stream that ends this much (seconds) before its announced end was cut.
_CUT_TOLERANCE = 0.5

# A picture and its index as a `Frame`.
IndexedPicture = tuple[int, Picture]
# For a picture of (H, W), the size (H, W) in which it will be looked at.
Scale = Callable[[tuple[int, int]], tuple[int, int]]


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """One picture. source: (H, W, 3) uint8 RGB, upright, or what becomes that; index: from 0 at the first frame of the
    span that is read; time: seconds from the start of the video, by the stream's own timestamps; arrived:
    time.monotonic() when it came off a live source, else None; after_gap: a live source lost what was to be seen
    between the frame before and this one, so nobody can be followed from one to the other. scaled: the same picture
    smaller, where whoever looks at it has said that this is enough for nearly everything."""

    source: np.ndarray | Unconverted
    index: int
    time: float
    arrived: float | None = None
    after_gap: bool = False
    scaled: np.ndarray | None = None

    def __post_init__(self) -> None:
        source = self.source
        if isinstance(source, np.ndarray) and (source.ndim, source.shape[2:], source.dtype) != (3, (3,), np.uint8):
            raise ValueError(f"a frame must be (H, W, 3) uint8, got {source.shape} {source.dtype}")

    @property
    def image(self) -> np.ndarray:
        """The whole picture, (H, W, 3) uint8 RGB, upright; if it is scaled this is made anew each time, so that frames
        that wait take no more memory than their `nbytes`."""
        return self.source if isinstance(self.source, np.ndarray) else self.source()

    @property
    def seen(self) -> np.ndarray:
        """The picture as it is at hand: scaled, or whole."""
        return self.image if self.scaled is None else self.scaled

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the whole picture."""
        return self.source.shape[0], self.source.shape[1]

    @property
    def nbytes(self) -> int:
        """How much memory it takes while it waits."""
        return self.source.nbytes + (0 if self.scaled is None else self.scaled.nbytes)

    def blank(self) -> Frame:
        """The same without what is to be seen: as large, but black, and of no memory."""
        return replace(self, source=np.broadcast_to(np.uint8(0), self.source.shape), scaled=None)

    def __repr__(self) -> str:
        height, width = self.size
        return f"Frame({self.index}, {self.time:.3f} s, {width}×{height})"


class Video:
    """A video, opened. Iterate `frames` once; then `end`, `decode_errors` and `was_cut` tell how it went.

    path: of the file, or the name of another source. fps: nominal frames per second. announced_end: seconds, by the
    container; None if it does not say. is_live: whether it goes on while it is watched. dropped: frames of a live
    source that were given up so far, since nobody fetched them in time.
    device: cuda and cuda:N decode there if they can, else the processor decodes. feed: pictures of it, if it is no
    file. Raises InputError if there is no video to be read.
    """

    is_live = False
    dropped = 0

    def __init__(self, path: str | Path, feed: Feed | None = None, *, device: str = "cpu"):
        self.path = Path(path) if feed is None else path
        self._feed = feed or _open_file(Path(path), device)
        self.fps = self._feed.fps
        self.announced_end = self._feed.announced_end
        self.end = 0.0
        self.decoded = 0
        # Where reading is by now, in seconds, be it before the part that is wanted.
        self.position = 0.0
        self._rgb = RgbConverter()
        self._is_held = False

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the source. For a file or a video on the web not while another thread reads `frames`."""
        if not self._is_held:
            self._feed.close()

    def leave_open(self) -> None:
        """Never close it, since a thread hangs in reading it, which FFmpeg would not survive."""
        self._is_held = True

    @property
    def decode_errors(self) -> int:
        """How many damaged parts were passed over so far."""
        return self._feed.decode_errors + self._rgb.errors

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
        """Frames of [start, end) seconds in order; see `pictures`."""
        return self.converted(self.pictures(start, end, wanted))

    def pictures(
        self,
        start: float | None = None,
        end: float | None = None,
        wanted: Callable[[float], bool] | None = None,
    ) -> Iterator[IndexedPicture]:
        """What `converted` makes frames of, of [start, end) seconds in order. wanted: told the time of each, in order,
        says whether to yield it; what is not wanted is not decoded where no other frame builds on it. It may be asked
        some frames ahead of those that are yielded.

        Raises InputError if nothing could be decoded, and if a live source is lost for good.
        """
        first, last = (start or 0.0) - 1e-6, float("inf") if end is None else end - 1e-6

        def is_wanted(time: float) -> bool:
            return first <= time < last and (wanted is None or wanted(time))

        after_gap = False
        for picture in self._feed.pictures(start or 0.0, is_wanted):
            self.dropped += picture.dropped
            self.position = picture.time
            if start is not None and picture.time < first:
                continue
            if end is not None and picture.time >= last:
                self.end = end
                self.announced_end = None  # the rest was not looked at
                break
            self.end = picture.time + picture.duration
            self.decoded += 1 + picture.dropped
            after_gap |= picture.after_gap
            wants_it = is_wanted(picture.time) if picture.wanted is None else picture.wanted
            if wants_it and picture.picture is not None:
                yield self.decoded - 1, replace(picture, after_gap=after_gap)
                after_gap = False
        if not self.decoded:
            raise self._nothing_decoded(start, end)

    def converted(self, pictures: Iterable[IndexedPicture], scale: Scale | None = None) -> Iterator[Frame]:
        """The frames of pictures, in RGB; those that are too damaged for that are left out and counted. A thread may
        do this beside the one that iterates `pictures`. scale: to have them `scaled` where that saves work; the whole
        picture is then converted only if somebody asks for it."""
        after_gap = False
        for index, picture in pictures:
            after_gap |= picture.after_gap
            source, scaled = self._converted(picture.picture, scale)
            if source is not None:
                yield Frame(source, index, picture.time, picture.arrived, after_gap, scaled)
                after_gap = False

    def _converted(
        self, picture: av.VideoFrame | None, scale: Scale | None
    ) -> tuple[np.ndarray | Unconverted | None, np.ndarray | None]:
        if picture is not None and scale is not None:
            unconverted = Unconverted(picture, self._rgb)
            scaled = self._rgb.scaled(picture, scale(unconverted.shape[:2]))
            if scaled is not None:
                return unconverted, scaled
        return None if picture is None else self._rgb(picture), None

    def _nothing_decoded(self, start: float | None, end: float | None) -> InputError:
        if self.end and self.end == end:
            return InputError(f"{self.path} has no picture between {start or 0:g} and {end:g} s; choose others")
        if start:
            return InputError(f"{self.path} has nothing after {start:g} s; choose an earlier --start")
        return InputError(f"{self.path}: no frame can be decoded; the file is damaged, try to export it again")


def open_video(source: str | Path, *, realtime: bool = False, device: str = "cpu") -> Video:
    """A video file, or a live source: `0`, `1`, ... a camera, `rtsp://...` and the like a stream, `-` standard input.

    A Path is always a file, and so is text that names a file that is there, even if that is `0`. A recording on a
    server, which tells how long it is, is read like a file. realtime: frames are dropped rather than lagging, as those
    of cameras always are; what has an end plays at its own speed, as a camera would show it. device: see `Video`.
    Raises InputError if nothing can be read there, UsageError if `source` cannot be an address.
    """
    from .live import LiveVideo, open_address
    from .reader import Playback, Reader

    address = address_of(source)
    if address is not None:
        return open_address(address, realtime=realtime, device=device)
    if not realtime:
        return Video(source, device=device)
    stopped = Event()
    reader = Reader(lambda: Playback(_open_file(Path(source), device), stopped), drops=True, stopped=stopped)
    return LiveVideo(source, reader)


def _open_file(path: Path, device: str) -> Decoder:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path} is a folder, not a video; name the videos in it, for example {path}/*.mp4")
        if stat.S_ISREG(found.st_mode) and found.st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); copy it again")
        # The prefix keeps FFmpeg from taking a name like 10:30.mp4 for a protocol.
        container = open_container(f"file:{path}", device)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(_why_not_opened(path, error)) from error
    return Decoder(container, video_stream(container, path))


def _why_not_opened(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{path} cannot be read: permission denied; change its permissions"
    if isinstance(error, av.InvalidDataError):
        return (
            f"{path} is not a video that FFmpeg can read; it may be another kind of file, "
            "or a recording that was not finished (an mp4 without its index)"
        )
    return f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}"
