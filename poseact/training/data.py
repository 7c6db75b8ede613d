"""What a training reads: sequences to learn from, to validate on, and to refuse."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError, UsageError
from ..planes import PLANES
from ..poses import Annotation, PoseFile, load_poses
from .dataset import training_poses
from .labels import label_indices, labels_beside, read_labels, unite

_log = logging.getLogger(__name__)

# A sequence and the index of its class.
Item = tuple[Annotation, int]


@dataclass(frozen=True)
class LabelledPoses:
    """One pose file to train on: where it is, its class names in label order, and which split. file: its content, where
    `path` is something else that it was made from."""

    path: Path
    names: Sequence[str]
    split: str
    file: PoseFile | None = None


@dataclass(frozen=True)
class TrainingData:
    """labels: of the classifier. train, validation: sequences with the index of their label. unknown: sequences of
    classes that are not learnt, which the classifier should refuse. left_out: how many sequences to train on have
    not a single keypoint. Names of sequences begin with their file, as two files may have the same."""

    labels: list[str]
    train: list[Item]
    validation: list[Item]
    unknown: list[Annotation]
    left_out: int = 0


def read_training_data(
    sources: Sequence[LabelledPoses],
    validation: str,
    aliases: Mapping[str, str],
    unknown: Sequence[str] = (),
    planes: Sequence[str] = PLANES,
    seed: int = 0,
) -> TrainingData:
    """Read pose files and divide their sequences.

    validation: the name of a split, or the share of the training sequences that is held out. aliases: other names
    of classes. unknown: classes that are not learnt. What is allowed but odd is reported through the logger.
    Raises InputError and UsageError.
    """
    all_names = [name for source in sources for name in source.names]
    for option, named in (("--alias", aliases), ("--unknown", unknown)):
        for name in named:
            if name not in all_names:
                raise UsageError(f"{option} {name}: no pose file has a class of that name")
    united = unite([source.names for source in sources], aliases)
    refused = {aliases.get(name, name) for name in unknown}
    learnt = [name for name in united if name not in refused]
    if len(learnt) < 2:
        found = f"only the class {learnt[0]!r}" if learnt else "no class to learn"
        raise InputError(f"there is {found}; two are needed")
    order = [*learnt, *(name for name in united if name in refused)]
    share = validation_share(validation)
    rng = np.random.default_rng(seed)
    train: list[Item] = []
    held_out: list[Item] = []
    for source in sources:
        file = source.file or load_poses(source.path, planes=planes)
        items = _labelled(file, source, source.split, order, aliases)
        if share is None:
            if validation == source.split:
                raise UsageError(f"--val-split {validation} is what is trained on; choose another")
            train += items
            held_out += _labelled(file, source, validation, order, aliases)
        else:
            kept, cut = hold_out(items, share, rng)
            train += kept
            held_out += cut
    if share:
        train, held_out = _keep_videos_together(train, held_out)
    usable = [item for item in train if _has_keypoints(item[0])]
    if train and not usable:
        raise InputError("there is nothing to train on: no sequence has a single keypoint")
    if share is None and not held_out:
        raise InputError(f"the split {validation!r} is empty, so there is nothing to validate on")
    _warn(usable, held_out, learnt, refused)
    return TrainingData(
        labels=learnt,
        train=[item for item in usable if item[1] < len(learnt)],
        validation=[item for item in held_out if item[1] < len(learnt)],
        unknown=[annotation for annotation, label in [*usable, *held_out] if label >= len(learnt)],
        left_out=len(train) - len(usable),
    )


def count_sequences(items: Iterable[Item]) -> int:
    """How many sequences these are; the planes of a 3D sequence are one."""
    return len({annotation.sequence for annotation, _ in items})


def _warn(train: list[Item], held_out: list[Item], learnt: list[str], refused: set[str]) -> None:
    known = {_video_of(annotation) for annotation, _ in train}
    leaked = count_sequences(item for item in held_out if _video_of(item[0]) in known)
    if leaked:
        _log.warning("%d of the sequences to validate on are trained on too, so the accuracy will flatter", leaked)
    seen = {label for _, label in train}
    unseen = [name for label, name in enumerate(learnt) if label not in seen]
    if train and unseen:
        _log.warning("no sequence to train on is of the class %s", ", ".join(unseen))
    if refused and not held_out:
        _log.warning("with nothing to validate on, --unknown only leaves its classes out; no threshold is fitted")


def hold_out(items: list[Item], share: float, rng: np.random.Generator) -> tuple[list[Item], list[Item]]:
    """Hold out the same share of the videos of each class, at least one of each class that has more than one, but of
    none the last.

    Returns what is kept and what is held out. Clips of the same video, of whatever classes, stay together, and so do
    the planes of a 3D sequence.
    """
    videos_of: dict[int, list[str]] = {}
    classes_of: dict[str, set[int]] = {}
    for annotation, label in items:
        video = _video_of(annotation)
        if label not in classes_of.setdefault(video, set()):
            classes_of[video].add(label)
            videos_of.setdefault(label, []).append(video)
    held_out: set[str] = set()
    left = {label: len(videos) for label, videos in videos_of.items()}
    for label, videos in videos_of.items():
        least = len(videos) - (min(len(videos) - 1, max(1, round(share * len(videos)))) if share else 0)
        for place in rng.permutation(len(videos)):
            video = videos[place]
            spared = video in held_out or left[label] <= least or any(left[other] < 2 for other in classes_of[video])
            if not spared:
                held_out.add(video)
                left.update({other: left[other] - 1 for other in classes_of[video]})
    kept = [item for item in items if _video_of(item[0]) not in held_out]
    return kept, [item for item in items if _video_of(item[0]) in held_out]


def _keep_videos_together(train: list[Item], held_out: list[Item]) -> tuple[list[Item], list[Item]]:
    """The same, but what is held out of one file is not trained on by way of another. Warns if nothing is held out
    because all of it is of too few videos."""
    videos = {_video_of(annotation) for annotation, _ in held_out}
    if not videos and len({_video_of(annotation) for annotation, _ in train}) < count_sequences(train):
        _log.warning("nothing is held out to validate on: no class has clips of two videos that could be spared")
    kept = [item for item in train if _video_of(item[0]) not in videos]
    return kept, [*held_out, *(item for item in train if _video_of(item[0]) in videos)]


def _video_of(annotation: Annotation) -> str:
    """What clips of the same video share: its absolute path where that is known, else the sequence's own name."""
    return annotation.source if os.path.isabs(annotation.source) else annotation.sequence


def find_names(poses: Path, labels: Path | None) -> list[str]:
    """The class names of a pose file, from `labels` or from beside it. Raises InputError."""
    if not poses.exists():
        raise InputError(f"{poses} cannot be read: No such file or directory; check the path")
    if labels is None and not labels_beside(poses).exists():
        raise InputError(
            f"there is no {labels_beside(poses)} with the class names of {poses}; --labels FILE gives them"
        )
    return read_labels(labels or labels_beside(poses))


def _labelled(
    file: PoseFile, source: LabelledPoses, split: str, labels: list[str], aliases: Mapping[str, str]
) -> list[Item]:
    annotations = file.split(split)
    check_layouts(annotations, source.path)
    annotations = [replace(a, sequence=f"{source.path.resolve()}:{a.sequence}") for a in annotations]
    return list(zip(annotations, label_indices(annotations, source.names, labels, aliases, source.path), strict=True))


def check_layouts(annotations: Sequence[Annotation], path: Path) -> None:
    """Raises InputError if the sequences of one pose file have different keypoints."""
    first = annotations[0] if annotations else None
    for other in annotations:
        if first and other.poses.layout != first.poses.layout:
            raise InputError(
                f"{path} mixes layouts: {first.name} is {first.poses.layout.name}, {other.name} is "
                f"{other.poses.layout.name}; give one file for each"
            )


def validation_share(text: str) -> float | None:
    """What `--val-split` holds out; None: it names a split. Raises UsageError."""
    try:
        share = float(text)
    except ValueError:
        return None
    if not 0 <= share < 1:
        raise UsageError(f"--val-split takes a split's name or a share in [0, 1), got {text}")
    return share


def _has_keypoints(annotation: Annotation) -> bool:
    return bool((training_poses(annotation.poses, annotation.poses.layout)[1] > 0).any())
