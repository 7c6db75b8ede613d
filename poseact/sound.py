"""The sound of one file as packets for an MP4: copied where MP4 players can play it, else made AAC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av

# What MP4 holds and common players play there.
_PLAYED_IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class Sound:
    """All audio streams of a container, to be read in step with the pictures that are written.

    source: opened for reading, for this alone. output: where streams are added; before its header is written.
    origin: time in the source, in seconds, that is 0 in the output. Streams that cannot be read are left out.
    """

    def __init__(self, source: Any, output: Any, origin: float):
        self._tracks = {
            stream.index: _Copied(stream, output, origin)
            if stream.codec_context.name in _PLAYED_IN_MP4
            else _Encoded(stream, output, origin)
            for stream in source.streams.audio
            if _is_usable(stream)
        }
        streams = [stream for stream in source.streams.audio if stream.index in self._tracks]
        self._packets = source.demux(streams) if streams else iter(())
        self._waiting: Any = None

    def until(self, time: float) -> Iterator[av.Packet]:
        """Packets for the output, of what sounds up to `time` seconds and was not given before."""
        while True:
            packet, self._waiting = self._waiting or self._next(), None
            if packet is None:
                return
            track = self._tracks[packet.stream.index]
            seconds = track.seconds(packet)
            if seconds is not None and seconds > time:
                self._waiting = packet
                return
            yield from track.take(packet)

    def rest(self) -> Iterator[av.Packet]:
        """All packets that were not given yet."""
        yield from self.until(float("inf"))
        for track in self._tracks.values():
            yield from track.end()

    def _next(self) -> Any:
        """The next packet that holds something; None at the end, or where the file is broken off."""
        try:
            return next((packet for packet in self._packets if packet.size), None)
        except av.FFmpegError:
            return None


def _is_usable(stream: Any) -> bool:
    context = stream.codec_context
    return context is not None and context.sample_rate > 0 and context.layout.nb_channels > 0


class _Track:
    """One stream on its way. origin: see `Sound`."""

    def __init__(self, stream: Any, origin: float):
        self._time_base = stream.time_base
        self._offset = round(origin / stream.time_base)

    def seconds(self, packet: Any) -> float | None:
        """When a packet sounds, in the time of the output; None if it does not tell."""
        shown = packet.dts if packet.pts is None else packet.pts
        return None if shown is None else float((shown - self._offset) * self._time_base)


class _Copied(_Track):
    def __init__(self, stream: Any, output: Any, origin: float):
        super().__init__(stream, origin)
        self._stream = output.add_stream_from_template(stream)
        self._last: int | None = None

    def take(self, packet: Any) -> Iterator[av.Packet]:
        """The same packet, unless its time is broken, which the muxer would refuse."""
        dts = packet.pts if packet.dts is None else packet.dts
        if dts is None or packet.is_corrupt or (self._last is not None and dts <= self._last):
            return
        self._last = dts
        packet.dts, packet.pts = dts - self._offset, (packet.pts if packet.pts is not None else dts) - self._offset
        packet.stream = self._stream
        yield packet

    def end(self) -> Iterator[av.Packet]:
        return iter(())


class _Encoded(_Track):
    def __init__(self, stream: Any, output: Any, origin: float):
        super().__init__(stream, origin)
        context = stream.codec_context
        rate = min(_AAC_RATES, key=lambda rate: abs(rate - context.sample_rate))
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        self._encoder = output.add_stream("aac", rate=rate, layout=layout)

    def take(self, packet: Any) -> Iterator[av.Packet]:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            return  # what follows has its own time, so it stays in step
        for frame in frames:
            if frame.pts is not None:
                frame.pts -= self._offset
                yield from self._encoder.encode(frame)

    def end(self) -> Iterator[av.Packet]:
        return iter(self._encoder.encode(None))
