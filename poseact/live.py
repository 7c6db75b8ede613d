"""Live sources: cameras, streams and standard input, read in a thread of their own, reconnected when they are lost."""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import monotonic

import av
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential,
)

from .addresses import Address
from .connections import MP4_HINT, connect, open_stdin, spoken
from .decoding import Decoder, Feed, Picture
from .errors import InputError
from .reader import Playback, Reader
from .video import Video

log = logging.getLogger(__name__)

# A source that sends nothing for so many seconds is lost, and one that is lost for so many is given up.
STALL = 10.0
PATIENCE = 300.0
# Seconds between attempts to reconnect: doubled each time, up to the longest.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
# Nobody can be followed over so many seconds without a picture.
_GAP = 1.5


class LiveVideo(Video):
    """A video that goes on while it is watched. As `Video`, but it has no known end and was never cut.

    `close` may be called from any thread, and ends `frames` in others.
    """

    is_live = True

    def __init__(self, name: str | Path, reader: Reader):
        super().__init__(name, reader)

    def _nothing_decoded(self, start: float | None, end: float | None) -> InputError:
        after = f" after {start:g} s" if start else ""
        return InputError(f"{self.path} ended before a picture{after} could be decoded; if it is a pipe, {MP4_HINT}")


def open_address(
    address: Address,
    *,
    realtime: bool = False,
    device: str = "cpu",
    stall: float = STALL,
    patience: float = PATIENCE,
    first_wait: float = _FIRST_WAIT,
) -> Video:
    """See `video.open_video`. stall: a source that sends nothing for so many seconds is lost; patience: how long it
    is tried to be reached again then, every `first_wait` seconds at first. Raises InputError if it cannot be read."""
    stopped = Event()
    if address.kind == "stdin":

        def standard_input() -> Feed:
            decoder = open_stdin(stopped, realtime, device)
            return Playback(decoder, stopped) if realtime else decoder

        return LiveVideo(address.name, Reader(standard_input, drops=realtime, stopped=stopped))

    def again() -> Decoder:
        return connect(address, stopped, stall, device)

    def stream() -> Feed:
        decoder = again()
        if decoder.is_endless:
            return Reconnecting(address.name, decoder, again, stopped, patience, first_wait)
        return Playback(decoder, stopped) if realtime else decoder

    reader = Reader(stream, drops=realtime or address.kind == "camera", stopped=stopped)
    return LiveVideo(address.name, reader) if reader.announced_end is None else Video(address.name, reader)


class Reconnecting:
    """A `Feed` of one stream or camera, connected anew whenever it is lost. Times are seconds since the first picture.

    connect: raises InputError where that fails. Each reconnect is logged as a warning.
    """

    announced_end = None

    def __init__(
        self,
        name: str,
        decoder: Decoder,
        connect: Callable[[], Decoder],
        stopped: Event,
        patience: float,
        first_wait: float,
    ):
        self.name, self._decoder, self._connect = name, decoder, connect
        self._stopped, self._patience, self._first_wait = stopped, patience, first_wait
        self.fps = decoder.fps
        self._earlier_errors = 0

    @property
    def decode_errors(self) -> int:
        """Of pictures; a connection that broke off is none."""
        return self._earlier_errors + self._decoder.decode_errors - (self._decoder.failure is not None)

    def pictures(self, start: float = 0.0, wanted: Callable[[float], bool] | None = None) -> Iterator[Picture]:
        clock = _Clock(1 / self.fps)
        pictures = self._decoder.pictures()
        first = next(pictures, None)
        if first is None and not self._stopped.is_set():
            raise InputError(f"{self.name} sends no picture that can be decoded ({self._why_lost()})")
        while first is not None:
            is_timed = not self._decoder.container.format.flags & av.format.Flags.no_timestamps.value
            clock.restart(is_timed)
            yield clock.placed(first)
            for picture in pictures:
                yield clock.placed(picture)
            if self._stopped.is_set():
                return
            first, pictures = self._reconnected(clock.last_arrived)

    def close(self) -> None:
        self._decoder.close()

    def _reconnected(self, lost: float) -> tuple[Picture | None, Iterator[Picture]]:
        """The first picture and the following ones; None and nothing if we are to stop. lost: time.monotonic() of the
        last picture."""
        why = self._why_lost()
        log.info("lost %s (%s)", self.name, why)
        # One that hangs up at once each time must not be asked without end.
        self._stopped.wait(self._first_wait)
        attempts = Retrying(
            retry=retry_if_exception_type(InputError),
            wait=wait_exponential(multiplier=self._first_wait, max=_LONGEST_WAIT),
            stop=stop_after_delay(self._patience) | stop_when_event_set(self._stopped),
            sleep=sleep_using_event(self._stopped),
        )
        try:
            found = attempts(self._first_picture)
        except RetryError as error:
            if self._stopped.is_set():
                return None, iter(())
            raise InputError(
                f"{self.name} was lost ({why}) and could not be reached again for {spoken(self._patience)}: "
                f"{error.last_attempt.exception()}"
            ) from error
        log.warning("lost %s (%s); reconnected after %.1f s", self.name, why, monotonic() - lost)
        return found

    def _first_picture(self) -> tuple[Picture, Iterator[Picture]]:
        if self._stopped.is_set():
            raise InputError(f"{self.name} is closed")
        self._decoder.close()  # many a camera serves one client only
        decoder = self._connect()
        self._earlier_errors = self.decode_errors
        self._decoder = decoder
        pictures = self._decoder.pictures()
        first = next(pictures, None)
        if first is None:
            raise InputError(f"{self.name} sends no picture ({self._why_lost()})")
        return first, pictures

    def _why_lost(self) -> str:
        failure = self._decoder.failure
        if failure is None:
            return "it ended"
        if isinstance(failure, (av.ExitError, TimeoutError)):
            return "nothing came any more"
        return "it broke off" if failure.errno == errno.EIO else failure.strerror or "for no known reason"


class _Clock:
    """Seconds since the first picture, by the stream's own times while they are sane, else by when pictures arrive."""

    def __init__(self, interval: float):
        self._interval = interval
        self._began: float | None = None
        self._last = -math.inf
        self._last_stamp = 0.0
        self.last_arrived = 0.0
        self._offset: float | None = None
        self._is_timed = True

    def restart(self, is_timed: bool) -> None:
        """A connection begins, so its times count from elsewhere. is_timed: whether the stream has times at all."""
        self._offset, self._is_timed = None, is_timed

    def placed(self, picture: Picture) -> Picture:
        """`picture`, which has just come, with its time on this clock. Times never decrease."""
        arrived = monotonic()
        is_first = self._began is None
        self._began = arrived if self._began is None else self._began
        by_arrival = max(arrived - self._began, 0.0 if is_first else self._last + 1e-3)
        # A camera's clock that is set while we watch leaps; a picture that comes late does not.
        leaps = picture.time - self._last_stamp > arrived - self.last_arrived + _GAP
        is_new = self._offset is None
        if self._offset is None or leaps:
            self._offset = by_arrival - picture.time
        time = picture.time + self._offset if self._is_timed else by_arrival
        after_gap = not is_first and (is_new or time - self._last > max(_GAP, 3 * self._interval))
        self._last, self._last_stamp, self.last_arrived = time, picture.time, arrived
        return replace(picture, time=time, arrived=arrived, after_gap=after_gap)
