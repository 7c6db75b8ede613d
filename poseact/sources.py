"""Which videos are meant: from files, folders, patterns and lists of them, each video once and under its own name."""

from __future__ import annotations

import glob
import logging
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
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
# What a list of videos is called, and what is still being written.
_LIST, _UNFINISHED = ".txt", ".part"


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


def find_videos(
    inputs: Sequence[str | Path], by_content: bool = False, leave_out: Path | None = None
) -> list[SourceVideo]:
    """The videos of files, folders (searched to the bottom, but for what is hidden), patterns such as `*/a*.mp4`, and
    lists: a `.txt` file, or `-` for standard input, with a file, folder or pattern a line.

    In a folder a video is known by its ending - by_content: or by what is in it, see `probe.is_video` - and its name
    is its path from that folder; a file that is named itself is taken whatever its ending, and its name is the file's
    own. Names that clash are lengthened by the folders above. A video that is reached in several ways is taken once.
    What a list names is looked for in the list's folder, then in the current one; `#` begins a comment.
    A file that does not exist is in the list: only who reads it can tell what is wrong.
    leave_out: a folder that is not searched, since the results are in it, say.
    Raises InputError if a folder or a list holds no videos, a pattern matches nothing, or a list is no text.
    """
    is_wanted = _is_wanted_by_content if by_content else _is_wanted_by_ending
    found: dict[object, SourceVideo] = {}
    twice: list[tuple[Path, Path]] = []
    paths = (path for given in inputs for path in _paths(str(given)))
    for video in (video for path in paths for video in _videos_at(path, is_wanted, leave_out)):
        first = found.setdefault(_identity(video.path), video)
        if first is not video and os.path.abspath(first.path) != os.path.abspath(video.path):
            twice.append((video.path, first.path))
    if twice:
        log.warning(
            "%d videos are there under another name too, such as %s and %s; each is taken once", len(twice), *twice[0]
        )
    return _with_own_names(list(found.values()))


def _paths(given: str) -> Iterable[Path]:
    """The files and folders that an input stands for."""
    if given == "-":
        return _listed(sys.stdin.buffer.read(), "standard input", Path())
    path = Path(_at_home(given))
    if path.suffix.lower() != _LIST or not path.is_file():
        return _matches(given)
    try:
        return _listed(path.read_bytes(), str(path), path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; change its permissions") from error


def _listed(content: bytes, name: str, folder: Path) -> list[Path]:
    """What a list stands for. name: of the list; folder: where it is."""
    if b"\0" in content:
        raise InputError(f"{name} is no list of videos, which is UTF-8 text with a file, folder or pattern a line")
    # Names of files need not be text.
    lines = (line.strip() for line in content.decode("utf-8-sig", "surrogateescape").split("\n"))
    paths = [path for line in lines if line and not line.startswith("#") for path in _matches(_beside(line, folder))]
    if not paths:
        raise InputError(f"{name} names no videos; it takes a file, folder or pattern a line")
    return paths


def _beside(given: str, folder: Path) -> str:
    """The name, from the folder unless it leads somewhere only from the current one."""
    given = _at_home(given)
    if os.path.lexists(folder / given) or not (os.path.lexists(given) or glob.has_magic(given)):
        return str(folder / given)
    if os.path.lexists(given):
        return given
    pattern = os.path.join(glob.escape(str(folder)), given)
    return pattern if any(glob.iglob(pattern, recursive=True)) else given


def _matches(given: str) -> list[Path]:
    """The paths that a pattern stands for, where no shell has asked the file system yet."""
    given = _at_home(given)
    if os.path.lexists(given) or not glob.has_magic(given):
        return [Path(given)]
    paths = sorted(Path(match) for match in glob.glob(given, recursive=True))
    if not paths:
        raise InputError(f"{given} matches no file; check the path")
    return paths


def _at_home(given: str) -> str:
    return given if os.path.lexists(given) else os.path.expanduser(given)


def _videos_at(path: Path, is_wanted: Callable[[Path], bool], leave_out: Path | None) -> list[SourceVideo]:
    if not path.is_dir():
        return [SourceVideo(path.name, path)]
    inside = sorted(_files_below(path, is_wanted, leave_out))
    if not inside:
        how = ", by the endings of its files" if is_wanted is _is_wanted_by_ending else ""
        raise InputError(f"{path} holds no videos{how}; check the path")
    return [SourceVideo(video.relative_to(path).as_posix(), video, path) for video in inside]


def _files_below(folder: Path, is_wanted: Callable[[Path], bool], leave_out: Path | None) -> Iterator[Path]:
    """The videos below. A link to a folder is followed, but no folder is entered twice."""
    entered = set() if leave_out is None else {_identity(leave_out)}
    for where, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        entered.add(_identity(Path(where)))
        folders[:] = sorted(name for name in folders if _is_new(Path(where, name), entered))
        for name in files:
            if not name.startswith(".") and is_wanted(Path(where, name)):
                yield Path(where, name)


def _is_wanted_by_ending(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _is_wanted_by_content(path: Path) -> bool:
    """A video that is broken has to be reported, so those with an ending are wanted by it all the same."""
    from .probe import is_video

    return _is_wanted_by_ending(path) or (path.suffix.lower() != _UNFINISHED and is_video(path))


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
