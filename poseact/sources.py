"""Which videos are meant: from files, folders and patterns to a list, each video once and under a name of its own."""

from __future__ import annotations

import glob
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from .errors import InputError

log = logging.getLogger(__name__)

# fmt: off
ENDINGS = {
    ".3gp", ".asf", ".avi", ".divx", ".dv", ".flv", ".gif", ".h264", ".hevc", ".ivf", ".m2ts", ".m2v", ".m4v",
    ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".ts",
    ".vob", ".webm", ".wmv", ".y4m",
}
# fmt: on


@dataclass(frozen=True)
class SourceVideo:
    """name: of the video among the others, with `/` between folders. path: as the user named it.
    folder: the folder that was named and in which it was found; None: the file itself was named."""

    name: str
    path: Path
    folder: Path | None = None


def stamp_of(path: Path) -> str:
    """A text that changes when the file does. Raises InputError."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return f"{found.st_size} bytes, {found.st_mtime_ns} ns"


def find_videos(inputs: Sequence[str | Path]) -> list[SourceVideo]:
    """The videos of files, folders (searched to the bottom, but for what is hidden) and patterns such as `*/a*.mp4`.

    In a folder a video is known by its ending, and its name is its path from that folder; a file that is named
    itself is taken whatever its ending, and its name is the file's own. Names that clash are lengthened by the
    folders above. A video that is reached in several ways is taken once.
    A file that does not exist is in the list: only who reads it can tell what is wrong.
    Raises InputError if a folder holds no videos, or a pattern matches nothing.
    """
    found: dict[object, SourceVideo] = {}
    twice: list[tuple[Path, Path]] = []
    for video in (video for given in inputs for path in _matches(str(given)) for video in _videos_at(path)):
        first = found.setdefault(_identity(video.path), video)
        if first is not video and os.path.abspath(first.path) != os.path.abspath(video.path):
            twice.append((video.path, first.path))
    if twice:
        log.warning(
            "%d videos are there under another name too, such as %s and %s; each is taken once", len(twice), *twice[0]
        )
    return _with_own_names(list(found.values()))


def _matches(given: str) -> list[Path]:
    """The paths that a pattern stands for, where no shell has asked the file system yet."""
    if os.path.lexists(given) or not glob.has_magic(given):
        return [Path(given)]
    paths = sorted(Path(match) for match in glob.glob(given, recursive=True))
    if not paths:
        raise InputError(f"{given} matches no file; check the path")
    return paths


def _videos_at(path: Path) -> list[SourceVideo]:
    if not path.is_dir():
        return [SourceVideo(path.name, path)]
    videos = [SourceVideo(inside.relative_to(path).as_posix(), inside, path) for inside in sorted(_files_below(path))]
    if not videos:
        raise InputError(f"{path} holds no videos, by the endings of its files; check the path")
    return videos


def _files_below(folder: Path) -> Iterator[Path]:
    """Videos by their endings. A link to a folder is followed, but no folder is entered twice."""
    entered = set()
    for where, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        entered.add(_identity(Path(where)))
        folders[:] = sorted(name for name in folders if _is_new(Path(where, name), entered))
        for name in files:
            if not name.startswith(".") and PurePath(name).suffix.lower() in ENDINGS:
                yield Path(where, name)


def _is_new(folder: Path, entered: set[object]) -> bool:
    return not folder.name.startswith(".") and _identity(folder) not in entered


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read: {error.strerror}; change its permissions") from error


def _identity(path: Path) -> object:
    """The same for the same file under any name."""
    try:
        found = os.stat(path)
    except OSError:
        return os.path.abspath(path)
    # Some file systems number nothing.
    return (found.st_dev, found.st_ino) if found.st_ino and not stat.S_ISFIFO(found.st_mode) else os.path.realpath(path)


def _with_own_names(videos: list[SourceVideo]) -> list[SourceVideo]:
    """Lengthen names that clash by one folder at a time until all differ."""
    while True:
        count = Counter(video.name for video in videos)
        if len(count) == len(videos):
            return videos
        videos = [replace(video, name=_longer(video)) if count[video.name] > 1 else video for video in videos]


def _longer(video: SourceVideo) -> str:
    parts = Path(os.path.abspath(video.path)).parts
    return "/".join(parts[-len(PurePath(video.name).parts) - 1 :]).lstrip("/")
