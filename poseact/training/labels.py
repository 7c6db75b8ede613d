"""Class names: of one pose file, and of several files whose classes are united."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError, OutputError
from ..files import written_aside
from ..poses import Annotation

_log = logging.getLogger(__name__)


def read_labels(path: Path) -> list[str]:
    """Class names, one a line, in label order, each another. Raises InputError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows' editors put a mark first
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"the class names {path} cannot be read: {reason}") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise InputError(f"{path} holds no class names; write one a line, in label order")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path} has {twice!r} more than once; class names must differ")
    return names


def write_labels(names: Sequence[str], path: Path) -> None:
    """Write class names as `read_labels` reads them. Raises OutputError."""
    try:
        with written_aside(path) as aside:
            aside.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="replace")
    except OSError as error:
        raise OutputError(f"the class names {path} cannot be written: {error.strerror or error}") from error


def labels_beside(poses: Path) -> Path:
    """Where the class names of a pose file are looked for: my.pkl, my_labels.txt."""
    return poses.with_name(poses.stem + "_labels.txt")


def class_names(poses: Path, labels: Path | None, otherwise: Sequence[str]) -> list[str]:
    """The class names of a pose file: those of the file `labels`, else those beside it, else, with a warning,
    the names `otherwise`. Raises InputError if a file cannot be read."""
    beside = labels_beside(poses)
    if labels is None and not beside.exists():
        _log.warning(
            "there is no %s, so the labels of %s are taken to count the classifier's own %d classes in order; "
            "--labels FILE names them",
            beside,
            poses,
            len(otherwise),
        )
        return list(otherwise)
    return read_labels(labels or beside)


def unite(names: Sequence[Sequence[str]], aliases: Mapping[str, str]) -> list[str]:
    """All class names in order of appearance, each once; an alias counts as the name it stands for."""
    united: dict[str, None] = {}
    for file_names in names:
        united.update(dict.fromkeys(aliases.get(name, name) for name in file_names))
    return list(united)


def label_indices(
    annotations: Sequence[Annotation],
    names: Sequence[str],
    labels: Sequence[str],
    aliases: Mapping[str, str],
    source: Path,
) -> list[int]:
    """The index into `labels` of each annotation, whose own label is an index into its file's `names`.

    Raises InputError for an unlabelled annotation, a label without a name, or a name that `labels` lacks.
    """
    index_of = {label: index for index, label in enumerate(labels)}
    indices = []
    for annotation in annotations:
        if not 0 <= annotation.label < len(names):
            raise InputError(
                f"{source}: annotation {annotation.name} has label {annotation.label}, "
                f"but there are {len(names)} class names (0 to {len(names) - 1})"
            )
        name = names[annotation.label]
        name = aliases.get(name, name)
        if name not in index_of:
            raise InputError(f"{source}: class {name!r} is none of the classifier's labels")
        indices.append(index_of[name])
    return indices
