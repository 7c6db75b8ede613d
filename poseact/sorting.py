"""Sorting videos into folders by their labels, as links or copies: a video itself is never moved, and nothing is ever
overwritten."""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PureWindowsPath
from typing import Literal

from .errors import OutputError
from .files import written_aside
from .records import LabelledVideo
from .summary import label_seconds, main_label, was_anybody_seen

log = logging.getLogger(__name__)

# The folders of videos without a label: nobody is in them, or nobody does anything that is likely enough.
NOBODY, UNSURE = "_nobody", "_unsure"
# What some system does not take in a name; a dot in front would hide the folder.
_FORBIDDEN = re.compile('[<>:"/\\\\|?*\\x00-\\x1f\\x7f\\ud800-\\udfff]|^\\.')
# Bytes of a name, of the 255 that file systems take; the rest is for a number and `.part`.
_LENGTH = 230
# Seconds by which a copy's time of change may be off: FAT counts in twos.
_CLOCK = 2.0
# What file systems without links say, and Windows to those who may not make any.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_WINDOWS_NO_PRIVILEGE = 1314


def sort_videos(
    videos: Iterable[LabelledVideo], folder: Path, by: Literal["label", "labels"] = "label", copy: bool = False
) -> int:
    """Put a link to each video, or a copy of it, into FOLDER/LABEL/; returns how many videos are there by now.

    by: "label" puts a video where its main label belongs, see `summary.main_label`, "labels" into the folder of every
    label in it; those without one go to `_unsure`, those without people to `_nobody`. A video that is called `a/b.mp4`
    in the run becomes `a_b.mp4`, so that each FOLDER/LABEL holds files only, as `poseact train` takes them.
    Links are relative on the file system of the video, so that both may be moved together, else absolute. What is
    there already is left as it is; if it is something else, the new one gets a number: `a_b (2).mp4`. A video that is
    gone is told to the log and passed over.
    Raises OutputError.
    """
    count = 0
    for video in videos:
        source = Path(os.path.realpath(video.path.parent), video.path.name)
        if not source.exists():
            log.warning("%s is not there any more, so it is not sorted", video.path)
            continue
        for label in _labels_of(video, by):
            _put(source, folder / safe_name(label) / _flat(video.name), copy)
        count += 1
    return count


def safe_name(name: str) -> str:
    """A name that any system takes for a folder: `a/b` -> `a_b`, `CON` -> `CON_`, `..` -> `_`."""
    name = shortened(_FORBIDDEN.sub("_", name)).rstrip(". ").strip()
    # Reserved is what Windows takes for a device, with any ending.
    return f"{name}_" if name and PureWindowsPath(name).is_reserved() else name or "_"


def _labels_of(video: LabelledVideo, by: Literal["label", "labels"]) -> list[str]:
    main = main_label(video)
    if main is None:
        return [UNSURE if was_anybody_seen(video) else NOBODY]
    return [main] if by == "label" else [label for label in label_seconds(video.labels) if label is not None]


def _flat(name: str) -> str:
    stem, ending = os.path.splitext(name.replace("/", "_").replace("\\", "_"))
    # The end of a long name tells more than its first folders.
    return shortened(stem[::-1])[::-1] + ending


def shortened(name: str) -> str:
    """A name that leaves room for more in what file systems take."""
    while len(os.fsencode(name)) > _LENGTH:
        name = name[:-1]
    return name


def _put(source: Path, wanted: Path, copy: bool) -> None:
    with _explained(wanted.parent):
        wanted.parent.mkdir(parents=True, exist_ok=True)
    for target in _numbered(wanted):
        if os.path.lexists(target):
            if _is_there(source, target, copy):
                return
            continue
        with _explained(target):
            _copy(source, target) if copy else _link(source, target)
        return


def _numbered(wanted: Path) -> Iterator[Path]:
    yield wanted
    for number in itertools.count(2):
        yield wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")


def _is_there(source: Path, target: Path, copy: bool) -> bool:
    """Whether the target is what it would be made."""
    try:
        if not copy:
            return target.is_symlink() and (
                os.readlink(target) == _text_of_link(source, target) or os.path.samefile(source, target)
            )
        ours, theirs = os.stat(source), os.lstat(target)
    except OSError:
        return False
    return ours.st_size == theirs.st_size and abs(ours.st_mtime - theirs.st_mtime) <= _CLOCK and not target.is_symlink()


def _link(source: Path, target: Path) -> None:
    try:
        os.symlink(_text_of_link(source, target), target)
    except (OSError, NotImplementedError) as error:
        has_none = (
            not isinstance(error, OSError)
            or error.errno in _NO_LINKS
            or getattr(error, "winerror", None) == _WINDOWS_NO_PRIVILEGE
        )
        if not has_none:
            raise
        raise OutputError(f"{target.parent} cannot hold links to videos on this system; add --copy") from error


def _text_of_link(source: Path, target: Path) -> str:
    folder = os.path.realpath(target.parent)
    if os.lstat(source).st_dev == os.stat(folder).st_dev:
        return os.path.relpath(source, folder)
    return str(source)


def _copy(source: Path, target: Path) -> None:
    with written_aside(target) as aside:
        shutil.copyfile(source, aside)
        shutil.copystat(source, aside)


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{target} cannot be made: {reason.lower()}; choose another folder") from error
