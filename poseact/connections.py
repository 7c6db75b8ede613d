"""Opening cameras, streams and standard input with PyAV, and saying in one sentence why that failed."""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
from threading import Event
from urllib.parse import urlsplit

import av

from .addresses import Address
from .decoding import Decoder, open_container, video_stream
from .errors import InputError

MP4_HINT = "an mp4 must have its index in front (ffmpeg -movflags faststart), or be given as a file"


def connect(address: Address, stopped: Event, stall: float, device: str) -> Decoder:
    """A camera or a stream, opened. stopped, once set, ends reading; stall: so many seconds without anything end it
    too; device: see `decoding.open_container`. Raises InputError if it cannot be had."""
    try:
        container = open_container(
            address.url, device, format=address.format, options=dict(address.options), timeout=(stall, stall)
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        # Not `from error`: what FFmpeg says holds the address with its password.
        raise InputError(_why_not_connected(address, error, stall)) from None
    # FFmpeg's frame threads would hold a picture each, and so make each picture late.
    return Decoder(container, video_stream(container, address.name), frame_threads=False, stopped=stopped)


def _why_not_connected(address: Address, error: Exception, stall: float) -> str:
    name = address.name
    if isinstance(error, PermissionError):
        return f"{name} cannot be opened: permission denied; allow this user to use cameras (on Linux the group video)"
    if isinstance(error, FileNotFoundError) and address.kind == "camera":
        return f"there is no {name} ({address.url}); give the number of another, or connect it"
    if isinstance(error, av.HTTPUnauthorizedError):
        return f"{name} asks for a user and a password; write them into the address: protocol://user:password@host/..."
    if isinstance(error, av.HTTPForbiddenError):
        return f"{name} refuses access (403); check user and password"
    if isinstance(error, av.HTTPNotFoundError):
        return f"{name} does not exist on its server (404); check the path in the address"
    if isinstance(error, ConnectionRefusedError):
        return f"{name} refuses the connection; check host and port, and whether the server runs"
    if isinstance(error, (av.ExitError, TimeoutError)):
        return f"{name} does not answer within {spoken(stall)}; check the address and the network"
    if isinstance(error, av.ProtocolNotFoundError):
        return f"{name} cannot be read: this FFmpeg lacks the protocol; use rtsp or http"
    if isinstance(error, av.InvalidDataError):
        return f"{name} sends nothing that FFmpeg knows as video"
    if address.kind == "stream" and not _is_known_host(address.url):
        return f"{name}: its host is unknown; check the name and the network"
    return f"{name} cannot be opened: {getattr(error, 'strerror', None) or type(error).__name__}"


def _is_known_host(url: str) -> bool:
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except OSError:
        return False
    return True


def spoken(seconds: float) -> str:
    """Seconds for people."""
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} minutes"


def open_stdin(stopped: Event, realtime: bool, device: str) -> Decoder:
    """What is piped into this process, opened. realtime: no picture may be late. Raises InputError if it is no
    video."""
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        raise InputError("nothing is piped into standard input; for example: cat video.mkv | poseact predict -")
    try:
        container = open_container(StandardInput(sys.stdin.fileno(), stopped), device)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"standard input is no video that FFmpeg can read as it comes; {MP4_HINT}") from error
    stream = video_stream(container, "standard input")
    return Decoder(container, stream, frame_threads=not realtime, stopped=stopped)


class StandardInput:
    """What FFmpeg reads from a pipe: what is there, as soon as anything is, until `stopped` is set."""

    def __init__(self, descriptor: int, stopped: Event):
        self._descriptor, self._stopped = descriptor, stopped

    def read(self, size: int) -> bytes:
        while not self._stopped.is_set():
            if sys.platform == "win32" or select.select([self._descriptor], [], [], 0.1)[0]:
                return os.read(self._descriptor, size)
        return b""

    def seekable(self) -> bool:
        """True for a file that the shell opened: predict - < video.mp4."""
        return stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        return self.seek(0, os.SEEK_CUR)
