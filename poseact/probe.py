"""Whether a file is a video, or a still picture, by what is in it and not by its name."""

from __future__ import annotations

import os
import stat
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import av

from .decoding import open_container, video_stream
from .errors import InputError

# Containers, and streams without one, that hold moving pictures, by FFmpeg's names. Not among them: still images,
# text, sound, and above all what points to other files or servers (playlists, session descriptions), which nobody
# meant to be opened by naming a folder.
_FORMATS = (
    "apng,asf,avi,dhav,dv,flv,gif,gxf,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nsv,nut,nuv,obu,"
    "ogg,rm,vc1,webm,wtv,yuv4mpegpipe"
)
_OPTIONS = {
    "format_whitelist": _FORMATS,
    "protocol_whitelist": "file",
    # Bytes that are read before the format must be clear, and to find what is in it.
    "formatprobesize": "131072",
    "probesize": "1000000",
    "analyzeduration": "1000000",
}
# Seconds that a disk may take.
_TIMEOUT = 10.0
# A picture does not move alone.
_PICTURES = 2


def is_video(path: Path) -> bool:
    """Whether FFmpeg finds moving pictures in a file, which takes milliseconds.

    Still images, sound with a cover picture, subtitles and playlists are none, nor is what is no file (a folder, a
    pipe, a device) or cannot be read. Nothing that a file refers to is opened.
    """
    try:
        if not _is_filled(path):
            return False
        # The prefix keeps FFmpeg from taking a name like 10:30 for a protocol.
        with open_container(f"file:{path}", options=_OPTIONS, timeout=_TIMEOUT) as container:
            return _moves(container, video_stream(container, path))
    except (InputError, av.FFmpegError, OSError, ValueError):
        return False


def check_moves(path: Path) -> None:
    """Raises InputError if a file is a still picture, such as a photo; of any other that is known in 0.1 ms.

    Several pictures in one file move, and so do GIF and APNG. What cannot be read passes.
    """
    options = {**_OPTIONS, "format_whitelist": ",".join(_picture_formats())}
    try:
        if not _is_filled(path):
            return
        with open_container(f"file:{path}", options=options, timeout=_TIMEOUT) as container:
            is_still = len(list(islice(container.decode(video=0), _PICTURES))) == 1
    except (av.FFmpegError, OSError, ValueError):
        return
    if is_still:
        raise InputError(f"{path} is a still picture, and there is no action in one; give a video")


def _is_filled(path: Path) -> bool:
    """Whether it is a file and not empty; of a pipe nobody could read again what was read."""
    found = os.stat(path)
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


@cache
def _picture_formats() -> list[str]:
    """FFmpeg's names of what reads files of a picture each: image2, jpeg_pipe, png_pipe and so on."""
    return [name for name in av.formats_available if name == "image2" or name.endswith("_pipe")]


def _moves(container: Any, stream: Any) -> bool:
    pictures = 0
    for packet in container.demux(stream):
        pictures += packet.size > 0
        if pictures >= _PICTURES:
            return True
    return False
