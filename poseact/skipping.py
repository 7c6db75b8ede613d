"""Pictures that nobody wants and no other builds on need not be decoded: packets are read ahead to know which."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import av

# H.264 and HEVC let at most 16 pictures be decoded before one that is shown earlier.
_LONGEST_REORDERING = 16
# Containers that store when each picture is shown; of others FFmpeg may have guessed it.
_TIMED_CONTAINERS = {"mov", "matroska"}
# AV_FIELD_UNKNOWN, AV_FIELD_PROGRESSIVE: half of an interlaced picture may be a packet of its own.
_WHOLE_PICTURES = (0, 1)


@dataclass(frozen=True)
class Announced:
    """A picture as its packet tells of it. pts, duration: in the stream's time base."""

    pts: int
    duration: int


def can_skip(container: Any, stream: Any) -> bool:
    """Whether the packets of this stream tell in which order pictures are shown, and each is a whole picture."""
    is_timed = not _TIMED_CONTAINERS.isdisjoint(container.format.name.split(","))
    return is_timed and getattr(stream.codec_context, "field_order", 0) in _WHOLE_PICTURES


class Lookahead:
    """Reads packets ahead and asks for each picture, in the order in which they are shown, whether it is wanted.

    Packets come as they are decoded: I0 P3 B1 B2. Read ahead, sorted, asked: 0, 1, 2, 3.
    seconds: of a time in the stream's time base. wanted: told the seconds of a picture, says whether it is wanted.
    """

    def __init__(self, seconds: Callable[[int], float], wanted: Callable[[float], bool]):
        self._seconds, self._wanted = seconds, wanted
        self._unasked: list[tuple[int, int]] = []
        self._answers: dict[int, bool] = {}
        self._unwanted: deque[Announced] = deque()
        self._last: int | None = None

    def packets(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """The same packets, some of them late; of those that come out, it is known whether they are wanted."""
        waiting: deque[av.Packet] = deque()
        for packet in packets:
            waiting.append(packet)
            pts = _shown_at(packet)
            if pts is not None:
                heapq.heappush(self._unasked, (pts, packet.duration or 0))
            if len(self._unasked) > _LONGEST_REORDERING:
                self._ask()
            while waiting and not self._is_unasked(waiting[0]):
                yield waiting.popleft()
        while self._unasked:
            self._ask()
        yield from waiting

    def may_skip(self, packet: av.Packet) -> bool:
        """Whether nobody wants the picture in `packet`."""
        pts = _shown_at(packet)
        return pts is not None and self._answers.get(pts) is False

    def answer(self, pts: int) -> bool | None:
        """Whether the picture at `pts`, now decoded, is wanted; None if it was not announced. To be asked once."""
        return self._answers.pop(pts, None)

    def skipped_before(self, pts: int | None) -> Iterator[Announced]:
        """The unwanted pictures shown before `pts` (None: all) that were not decoded, each once."""
        while self._unwanted and (pts is None or self._unwanted[0].pts < pts):
            announced = self._unwanted.popleft()
            if self._answers.pop(announced.pts, None) is False:
                yield announced

    def _ask(self) -> None:
        pts, duration = heapq.heappop(self._unasked)
        if self._last is not None and pts <= self._last:
            return  # a broken timestamp: decoded, and asked for then
        self._last = pts
        self._answers[pts] = self._wanted(self._seconds(pts))
        if not self._answers[pts]:
            self._unwanted.append(Announced(pts, duration))

    def _is_unasked(self, packet: av.Packet) -> bool:
        pts = _shown_at(packet)
        return pts is not None and bool(self._unasked) and pts >= self._unasked[0][0]


def _shown_at(packet: av.Packet) -> int | None:
    """None for the packet that ends a stream, and for what an edit list hides."""
    return None if packet.size == 0 or packet.is_discard else packet.pts
