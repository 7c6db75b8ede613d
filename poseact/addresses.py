"""What the name of a source means: a video file, or a camera, a stream or standard input, and how FFmpeg opens it."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from .errors import InputError, UsageError

Kind = Literal["camera", "stream", "stdin"]

PROTOCOLS = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "udp", "tcp", "srt")
# FFmpeg looks so long (microseconds) at a stream before it says what is in it; its own 5 seconds are 5 too late.
_ANALYZE = {"analyzeduration": "2000000"}
_OPTIONS = {
    # Packets of UDP get lost, and each one lost is a grey picture.
    "rtsp": {"rtsp_transport": "tcp"},
    "rtsps": {"rtsp_transport": "tcp"},
    # Of a file on a web server, what was not sent is asked for again; streams are reconnected by us.
    "http": {"reconnect": "1", "reconnect_delay_max": "30"},
    "https": {"reconnect": "1", "reconnect_delay_max": "30"},
}
# Some cameras want it in the path: /user=admin_password=12345_channel=1.sdp
_SECRET = re.compile(r"((?:pass|pwd|psw|token|key|secret|auth|sig)[^=&?/#]*=)[^&#]*", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """Where frames come from, other than a file. name: for people, without passwords; url, format, options: what
    FFmpeg is given."""

    kind: Kind
    name: str
    url: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)


def address_of(source: str | Path) -> Address | None:
    """The address that `source` is; None for the name of a file.

    `-` is standard input, a number the camera of that number, `rtsp://...` and the like a stream. A Path is always
    a file, and so is the name of a file that is there, even if it is `0`.
    Raises UsageError for an address that cannot be one, and InputError for a camera that cannot be named.
    """
    if isinstance(source, Path):
        return None
    if source == "-":
        return Address("stdin", "standard input", "-")
    scheme, separator, _ = source.partition("://")
    if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return _stream(source, scheme.lower())
    if source.isascii() and source.isdigit() and not os.path.lexists(source):
        return _camera(int(source))
    return None


def _stream(url: str, scheme: str) -> Address:
    if scheme not in PROTOCOLS:
        raise UsageError(f"{scheme}:// cannot be read; give a file, or an address of {', '.join(PROTOCOLS)}")
    try:
        parts = urlsplit(url)
        host = "" if parts.port is None else f":{parts.port}"
    except ValueError as error:
        hint = "write special characters of a password as %40 for @, %3A for : and %2F for /"
        raise UsageError(f"this {scheme}:// address has no proper host and port ({hint})") from error
    if not parts.hostname and scheme not in ("udp", "tcp", "srt"):
        raise UsageError(f"{scheme}:// needs a host, for example {scheme}://192.168.1.20/stream")
    # urlsplit's hostname is in lower case and without the brackets of IPv6.
    host = parts.netloc.rpartition("@")[2] or host
    name = _SECRET.sub(r"\1***", parts._replace(netloc=host).geturl())
    return Address("stream", name, url, options={**_ANALYZE, **_OPTIONS.get(scheme, {})})


def _camera(number: int) -> Address:
    name = f"camera {number}"
    if sys.platform == "darwin":
        # AVFoundation's own default, 29.97, is refused by most cameras.
        return Address("camera", name, str(number), "avfoundation", {"framerate": "30"})
    if sys.platform == "win32":
        return Address("camera", name, f"video={_windows_camera(number)}", "dshow", {"rtbufsize": "128M"})
    return Address("camera", name, f"/dev/video{number}", "v4l2")


def _windows_camera(number: int) -> str:
    """DirectShow knows cameras by name only."""
    from av.device import enumerate_input_devices

    cameras = [device.name for device in enumerate_input_devices("dshow") if "video" in device.media_types]
    if number >= len(cameras):
        raise InputError(f"there is no camera {number}; found: {', '.join(cameras) or 'none'}")
    return cameras[number]
