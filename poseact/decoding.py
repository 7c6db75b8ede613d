"""Pictures out of an opened container, in order and timed, with PyAV; what nobody wants is skipped where it can be."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any, Protocol

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

from .errors import InputError
from .skipping import Lookahead, can_skip

log = logging.getLogger(__name__)

# Taken where a stream tells no frame rate at all.
_FALLBACK_FPS = 25.0
# NVDEC decodes into at most 32 surfaces, of which each thread of FFmpeg's holds one beside those of the stream itself.
_HARDWARE_THREADS = 4
# A title need not be UTF-8, at which PyAV stumbles before version 19 unless it is told this, and since then never.
_ANY_TITLE: dict[str, str] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
# Seconds until a camera that has no picture yet is asked again.
_UNTIL_NEXT_PICTURE = 0.005


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture of a video, before it becomes a `Frame`. picture: None if it was skipped, since not wanted; time,
    duration: seconds; wanted: None if that is still to be asked; arrived: time.monotonic() when it came off a live
    source; after_gap: pictures are missing before it; dropped: so many before it were decoded and given up."""

    picture: av.VideoFrame | None
    time: float
    duration: float
    wanted: bool | None = None
    arrived: float | None = None
    after_gap: bool = False
    dropped: int = 0


class Feed(Protocol):
    """Where a video's pictures come from. fps: nominal frames per second; announced_end: seconds, None if unknown;
    decode_errors: damaged parts that were passed over so far."""

    @property
    def fps(self) -> float: ...
    @property
    def announced_end(self) -> float | None: ...
    @property
    def decode_errors(self) -> int: ...

    def pictures(self, start: float, wanted: Callable[[float], bool] | None = None) -> Iterator[Picture]:
        """Pictures in order from `start` seconds, or from before it. wanted: see `Decoder.pictures`."""
        ...

    def close(self) -> None: ...


class Decoder:
    """One opened container and its video stream: a `Feed`.

    failure: what ended reading early, if anything did. frame_threads: whether FFmpeg may decode several pictures at
    once, each of which then comes that much later. stopped: once set, nothing more is read.
    """

    def __init__(self, container: Any, stream: Any, *, frame_threads: bool = True, stopped: Event | None = None):
        self.container, self.stream = container, stream
        self._stopped = stopped
        self._is_closed = False
        stream.thread_type = "AUTO" if frame_threads else "SLICE"
        if stream.codec_context.is_hwaccel:
            stream.codec_context.thread_count = _HARDWARE_THREADS
        self.fps = float(stream.guessed_rate or stream.average_rate or _FALLBACK_FPS)
        self.origin = self._origin()
        self.announced_end = self._announced_end()
        self.decode_errors = 0
        self.failure: av.FFmpegError | None = None

    def pictures(self, start: float = 0.0, wanted: Callable[[float], bool] | None = None) -> Iterator[Picture]:
        """Pictures from before `start` seconds on, with time and duration in seconds; times always increase.

        They come from the very first on if the container cannot seek to one before `start`.
        wanted: told the time of each, in order but ahead of decoding, says whether it is needed; others may be
        skipped, and come with no picture. Those that are wanted are the same with and without it.
        """
        if start > 0:
            self._seek(start)
            first = next(self._timed(None), None)
            # A file that lost its index may land between keyframes, where nothing can be decoded.
            self._seek(start if first is not None and first.time <= start else 0.0)
            self.decode_errors = 0
        lookahead = None
        if wanted is not None and can_skip(self.container, self.stream):
            lookahead = Lookahead(self._seconds_from_origin, wanted)
        yield from self._timed(lookahead)

    @property
    def is_endless(self) -> bool:
        """Whether the source goes on for ever, as far as it tells: it has neither a duration nor a number of bytes, or
        it replaces one picture by the next (multipart/x-mixed-replace), to which some cameras add a number of bytes."""
        if self.container.format.name == "mpjpeg":
            return True
        # A pipe or a stream tells no number of bytes: PyAV 19 says None, older ones what FFmpeg says, below 0.
        return self.announced_end is None and (self.container.size or 0) <= 0

    def close(self) -> None:
        """Let go of the file; whoever still iterates finds the end."""
        self._is_closed = True
        self.container.close()

    def _timed(self, lookahead: Lookahead | None) -> Iterator[Picture]:
        interval = 1 / self.fps
        last = -math.inf
        for frame in self._frames(lookahead):
            wanted = None
            if lookahead is not None and frame.pts is not None:
                wanted = lookahead.answer(frame.pts)
                for picture in self._skipped(lookahead, frame.pts):
                    last = picture.time
                    yield picture
            time = frame.time - self.origin if frame.time is not None else last + interval
            if not math.isfinite(time):
                time = 0.0
            if time <= last:
                time = last + interval
            last = time
            yield Picture(frame, time, self._seconds(frame.duration) or interval, wanted)
        if lookahead is not None and math.isfinite(last):
            yield from self._skipped(lookahead, None)

    def _skipped(self, lookahead: Lookahead, before: int | None) -> Iterator[Picture]:
        for announced in lookahead.skipped_before(before):
            time = self._seconds_from_origin(announced.pts)
            yield Picture(None, time, self._seconds(announced.duration) or 1 / self.fps, wanted=False)

    def _frames(self, lookahead: Lookahead | None) -> Iterator[av.VideoFrame]:
        """What can be decoded; damage in the stream is passed over and counted."""
        context = self.stream.codec_context
        packets = self._packets() if lookahead is None else lookahead.packets(self._packets())
        for packet in packets:
            if self._is_closed:  # FFmpeg would not survive it
                return
            if lookahead is not None:
                # FFmpeg's threads each take over the setting that holds when they are given their packet.
                context.skip_frame = "NONREF" if lookahead.may_skip(packet) else "DEFAULT"
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self.decode_errors += 1
                continue
            yield from frames

    def _packets(self) -> Iterator[av.Packet]:
        while not self._is_stopped():
            try:
                for packet in self.container.demux(self.stream):
                    yield packet
                    if self._is_stopped():
                        return
                return
            except av.BlockingIOError:
                sleep(_UNTIL_NEXT_PICTURE)  # AVFoundation does not wait for its cameras
            except av.FFmpegError as error:
                # The container itself is broken off here, or the disk or the connection is.
                self.decode_errors += 1
                self.failure = error
                yield self._last_packet()
                return

    def _last_packet(self) -> av.Packet:
        """The empty one that makes FFmpeg give the pictures that it still holds."""
        packet = av.Packet()
        packet.stream, packet.time_base = self.stream, self.stream.time_base
        return packet

    def _is_stopped(self) -> bool:
        return self._is_closed or (self._stopped is not None and self._stopped.is_set())

    def _seek(self, start: float) -> None:
        target = int((start + self.origin) / self.stream.time_base)
        # Not every container can seek; then all is decoded and what lies before is dropped.
        with contextlib.suppress(av.FFmpegError):
            self.container.seek(max(target, 0), stream=self.stream)

    def _seconds_from_origin(self, pts: int) -> float:
        return self._seconds(pts) - self.origin

    def _seconds(self, ticks: int | None) -> float:
        if not ticks:
            return 0.0
        # As float(ticks * time_base) is, but PyAV makes a new number each time that it is asked.
        numerator, denominator = self._time_base
        return ticks * numerator / denominator

    @cached_property
    def _time_base(self) -> tuple[int, int]:
        unit = self.stream.time_base
        return unit.numerator, unit.denominator

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


def open_container(name: Any, device: str = "cpu", **options: Any) -> Any:
    """PyAV's open for reading. device: cuda and cuda:N decode there where FFmpeg, driver and GPU can; else, and on any
    other device, the processor decodes. Raises what PyAV raises."""
    options = {**_ANY_TITLE, **options}
    kind, _, number = device.partition(":")
    if kind == "cuda" and kind in hwdevices_available():
        accelerator = HWAccel(kind, number or None, allow_software_fallback=True)
        try:
            return av.open(name, hwaccel=accelerator, **options)
        except av.FFmpegError as error:
            # It may as well be the video that cannot be opened, which the next attempt tells.
            log.info("the GPU does not decode (%s); the processor does", error.strerror)
    return av.open(name, **options)


def video_stream(container: Any, name: str | Path) -> Any:
    """The first stream of moving pictures. name: of the video, for people. Raises InputError if there is none."""
    for stream in container.streams.video:
        # The cover picture of a piece of music is a video stream of one frame.
        if not (stream.disposition & av.stream.Disposition.attached_pic) and stream.codec_context is not None:
            return stream
    kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
    container.close()
    raise InputError(f"{name} has no video stream (it holds: {kinds}); give a file with pictures")
