"""Reading a video in a thread of its own, so that it need not wait for us, nor we for it; and as slowly as it plays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Condition, Event, Thread
from time import monotonic

from .decoding import Decoder, Feed, Picture

# Pictures between the reader's thread and whoever fetches them. Decoded ones are large: 12 MB in 4K.
_HELD = 4
# How long closing waits for a thread that waits for the network, which ends by itself when the source stalls.
_CLOSING = 1.0


class Reader:
    """A `Feed` that another one fills, in a thread.

    open_feed: opens it, in that thread too, so that Ctrl-C is heard meanwhile. drops: give up the oldest picture
    rather than let the source wait. stopped: what ends the other feed; set by `close`.
    """

    def __init__(self, open_feed: Callable[[], Feed], *, drops: bool, stopped: Event):
        self._open_feed, self._drops = open_feed, drops
        self._stopped = stopped
        self._held: deque[Picture] = deque()
        self._changed = Condition()
        self._feed: Feed | None = None
        self.announced_end: float | None = None
        self._start: float | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._thread = Thread(target=self._read, name="poseact-reader", daemon=True)
        self._thread.start()
        try:
            self._wait(lambda: self._feed is not None or self._ended)
        except BaseException:
            self._stopped.set()
            raise
        if self._error is not None:
            raise self._error
        assert self._feed is not None
        self.fps, self.announced_end = self._feed.fps, self._feed.announced_end

    @property
    def decode_errors(self) -> int:
        return self._feed.decode_errors if self._feed is not None else 0

    def pictures(self, start: float = 0.0, wanted: Callable[[float], bool] | None = None) -> Iterator[Picture]:
        """What the other feed gives, from when this is first asked on. Raises what that raises."""
        with self._changed:
            self._start = start
            self._changed.notify_all()
        while True:
            self._wait(lambda: bool(self._held) or self._ended or self._stopped.is_set())
            with self._changed:
                picture = self._held.popleft() if self._held else None
                self._changed.notify_all()
            if picture is None:
                break
            yield picture
        if self._error is not None and not self._stopped.is_set():
            raise self._error

    def close(self) -> None:
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(_CLOSING)

    def _read(self) -> None:
        try:
            feed = self._open_feed()
            with self._changed:
                self._feed = feed
                self._changed.notify_all()
            try:
                self._wait(lambda: self._start is not None or self._stopped.is_set())
                for picture in feed.pictures(self._start or 0.0):
                    if not self._put(picture if picture.arrived else replace(picture, arrived=monotonic())):
                        break
            finally:
                feed.close()
        except BaseException as error:  # raised again where pictures are fetched
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, picture: Picture) -> bool:
        """Hold `picture` until it is fetched; False if nobody will."""
        if not self._drops:
            self._wait(lambda: len(self._held) < _HELD or self._stopped.is_set())
        with self._changed:
            if len(self._held) == _HELD:
                oldest, following = self._held.popleft(), self._held.popleft()
                self._held.appendleft(_without(oldest, following))
            self._held.append(picture)
            self._changed.notify_all()
        return not self._stopped.is_set()

    def _wait(self, is_so: Callable[[], bool]) -> None:
        with self._changed:
            # Windows hears Ctrl-C only between waits that end.
            while not self._changed.wait_for(is_so, timeout=0.5):
                pass


def _without(dropped: Picture, following: Picture) -> Picture:
    """`following`, which tells that `dropped` before it was given up."""
    return replace(
        following,
        dropped=following.dropped + dropped.dropped + 1,
        after_gap=following.after_gap or dropped.after_gap,
    )


class Playback:
    """A `Feed` that gives what another one has, at the speed of the video."""

    announced_end = None

    def __init__(self, decoder: Decoder, stopped: Event):
        self._decoder, self._stopped = decoder, stopped
        self.fps = decoder.fps

    @property
    def decode_errors(self) -> int:
        return self._decoder.decode_errors

    def pictures(self, start: float = 0.0, wanted: Callable[[float], bool] | None = None) -> Iterator[Picture]:
        began: float | None = None
        for picture in self._decoder.pictures(start):
            if picture.time >= start - 1e-6:
                began = monotonic() - picture.time if began is None else began
                self._stopped.wait(max(0.0, began + picture.time - monotonic()))
            yield picture

    def close(self) -> None:
        self._decoder.close()
