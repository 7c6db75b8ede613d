"""Writing a file so that nobody ever sees half of it, whether it may be written, checked before hours of work, and what
to call it."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import OutputError, UsageError


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it is renamed to `path` at the end, or deleted on an error."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".part")
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o666 & ~_umask())  # mkstemp's own mode shuts everybody else out
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def readable(name: str | Path) -> str:
    """The name as text that every file and terminal can take, even where the file system's is no text."""
    return os.fsencode(name).decode("utf-8", "replace")


def check_output(output: Path, sources: Iterable[Path] = ()) -> None:
    """Raises OutputError if a file cannot be written there, UsageError if it would overwrite one of the sources,
    which need not exist yet."""
    folder = output.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"the folder of {output} does not exist; make it first")
    replaceable = output.is_file() or not output.exists()  # a device such as /dev/null would be gone
    if not replaceable or not os.access(folder, os.W_OK):
        raise OutputError(
            f"{output} cannot be written: it is a folder or a device, or its folder is not yours to write"
        )
    if any(_same(output, source) for source in sources):
        raise UsageError(f"{output} would overwrite what it is made from; choose another name")


def why_not_written(name: str, error: OSError) -> str:
    """One sentence on what is wrong with an output, and what to do. name: of it, for people."""
    cures = {
        errno.ENOSPC: "free some space or choose another disk",
        errno.EDQUOT: "free some space or choose another disk",
        errno.EACCES: "choose a place where you may write",
        errno.EROFS: "choose a place where you may write",
        errno.ENOENT: "make its folder first",
    }
    cure = cures.get(error.errno or 0, "choose another place")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{name} cannot be written: {reason.lower()}; {cure}"


def _same(one: Path, other: Path) -> bool:
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return one.resolve() == other.resolve()
