"""What may be written where: checked before the work, which may take hours."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import OutputError, UsageError


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


def _same(one: Path, other: Path) -> bool:
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return one.resolve() == other.resolve()
