"""Writes pictures as H.264, with the sound of the file that they are from, into an MP4."""

from __future__ import annotations

import os
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from .decoding import open_container, video_stream
from .errors import OutputError
from .sound import Sound

# The best first; which of them there is depends on how FFmpeg was built, and of the last ones on the machine.
_ENCODERS = ("libx264", "libopenh264", "h264_videotoolbox", "h264_mf", "h264_nvenc", "h264_qsv", "h264_amf")
_X264_OPTIONS = {"crf": "20", "preset": "veryfast"}
# What the others are given, since not all of them know a constant quality.
_BITS_PER_PIXEL = 0.15
# More threads, of which each holds pictures, encode no faster.
_MOST_THREADS = 8
# A resolution of time that every frame rate in use divides, or nearly so.
_USUAL_TIME_BASE = Fraction(1, 90_000)
_FINEST_TIME_BASE = 1_000_000
# A second.
_LEAST_TICKS = 10_000
# FFmpeg's numbers of the matrices between RGB and YUV that it converts by, of none told, and of the range of values
# that players take to hold where none is told.
_YUV_MATRICES, _UNTOLD, _LIMITED = (1, 5, 6, 7, 9), 2, 1


class Mp4:
    """An MP4 with one video stream, made from the pictures of a source, and what can be had of its sound.

    path: of the file to write. source: where sound, time base, colours and shape of the pixels are from. size: (H, W)
    of the pictures; a side that is odd becomes a pixel longer, as H.264 has it.
    Raises OutputError if no encoder for H.264 is here. What cannot be written raises `av.FFmpegError`.
    """

    def __init__(self, path: Path, source: Path, size: tuple[int, int], fps: float, *, with_sound: bool = True):
        encoder = _best_encoder()
        self._input = open_container(f"file:{source}")
        stored = video_stream(self._input, source)
        self._output = av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"})
        self._size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._stream = self._video_stream(encoder, stored, fps)
        start = self._input.start_time
        self._sound = Sound(self._input, self._output, start / av.time_base if start else 0.0) if with_sound else None
        self._reformatter = VideoReformatter()
        self._last = -1

    def __enter__(self) -> Mp4:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._input.close()
            try:
                self._output.close()
            except av.FFmpegError:
                if kind is None:
                    raise

    def write(self, image: np.ndarray, time: float, duration: float) -> None:
        """Add a picture, (H, W, 3) uint8 RGB. time, duration: seconds; times must increase."""
        frame = av.VideoFrame.from_numpy_buffer(_padded(image, self._size), format="rgb24")
        context = self._stream.codec_context
        frame.colorspace = context.colorspace
        frame = self._reformatter.reformat(frame, format="yuv420p", dst_color_range="MPEG")
        self._last = max(self._last + 1, round(time / context.time_base))
        frame.pts, frame.time_base = self._last, context.time_base
        frame.duration = max(1, round(duration / context.time_base))
        frame.color_trc, frame.color_primaries = context.color_trc, context.color_primaries
        self._mux(self._stream.encode(frame))
        if self._sound is not None:
            self._mux(self._sound.until(time))

    def _finish(self) -> None:
        self._mux(self._stream.encode(None))
        if self._sound is not None:
            self._mux(self._sound.rest())

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            self._output.mux_one(packet)

    def _video_stream(self, encoder: str, stored: Any, fps: float) -> Any:
        stream = self._output.add_stream(encoder, rate=Fraction(fps).limit_denominator(1001))
        context: Any = stream.codec_context
        before = stored.codec_context
        context.height, context.width = self._size
        context.pix_fmt = "yuv420p"
        context.time_base = _time_base(stored.time_base)
        context.thread_count = min(_MOST_THREADS, os.cpu_count() or 1)
        context.thread_type = "FRAME"
        if shape := before.sample_aspect_ratio:
            is_turned = (before.width > before.height) != (self._size[1] > self._size[0])
            context.sample_aspect_ratio = 1 / shape if is_turned else shape
        context.colorspace = before.colorspace if before.colorspace in _YUV_MATRICES else _UNTOLD
        context.color_trc, context.color_primaries = before.color_trc, before.color_primaries
        context.color_range = _LIMITED
        if encoder == "libx264":
            context.options = _X264_OPTIONS
        else:
            context.bit_rate = round(_BITS_PER_PIXEL * self._size[0] * self._size[1] * fps)
        return stream


def _time_base(stored: Any) -> Fraction:
    """A part of the source's own, so that its times are the same to the last tick, if MP4 can count in it; not a whole
    frame, since times that had to be guessed lie in between. stored: a Fraction, or what PyAV 19 has instead."""
    if stored is None or stored.numerator != 1 or stored.denominator > _FINEST_TIME_BASE:
        return _USUAL_TIME_BASE
    return Fraction(1, stored.denominator * max(1, round(_LEAST_TICKS / stored.denominator)))


@lru_cache(1)
def _best_encoder() -> str:
    for name in _ENCODERS:
        if name in av.codecs_available:
            context: Any = av.CodecContext.create(name, "w")
            context.width, context.height, context.pix_fmt, context.time_base = 256, 256, "yuv420p", Fraction(1, 25)
            try:
                context.open()
            except av.FFmpegError:
                continue  # such as one of a GPU that is not here
            return name
    raise OutputError(
        "no H.264 encoder is here, so no video can be written: "
        "this PyAV was built with an FFmpeg without one; install it with `pip install --only-binary av av`"
    )


def _padded(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture with its last row or column once more where it is one too small."""
    down, across = size[0] - image.shape[0], size[1] - image.shape[1]
    return np.pad(image, ((0, down), (0, across), (0, 0)), mode="edge") if down or across else image
