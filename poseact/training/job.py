"""From pose files to a bundle: what `poseact train` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .. import __version__
from ..classifier import BundleInfo, save_bundle
from ..device import choose_device
from ..errors import InputError, OutputError, UsageError
from ..nets.slowonly import SlowOnly
from ..poses import Annotation, load_poses
from ..skeleton import LAYOUTS
from .augment import Augmentation
from .dataset import PoseDataset, build_dataset, training_poses
from .evaluation import accuracy, predict_probabilities
from .labels import label_indices, labels_beside, read_labels, unite
from .loop import EpochReport, Trainer, TrainOptions


@dataclass(frozen=True)
class TrainingJob:
    """poses, labels, train_splits: for each pose file in turn; one split serves all files. validation: the
    name of a split, or the share of the training sequences that is held out. aliases: other names of classes.
    window: seconds; None: the median length of the training sequences. augment: strength, 1 as shipped."""

    poses: Sequence[Path]
    output: Path
    labels: Sequence[Path] = ()
    train_splits: Sequence[str] = ("train",)
    validation: str = "0.1"
    aliases: dict[str, str] = field(default_factory=dict)
    layout: str = "body13"
    window: float | None = None
    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 0.05
    balance: float = 0.5
    augment: float = 1.0
    seed: int = 0
    device: str = "auto"
    name: str = "my-actions"
    licence: str = ""
    restart: bool = False

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise UsageError(f"there is no layout {self.layout!r}; choose one of {', '.join(LAYOUTS)}")
        if self.labels and len(self.labels) != len(self.poses):
            raise UsageError(f"{len(self.poses)} pose files need as many --labels files, got {len(self.labels)}")
        if len(self.train_splits) not in (1, len(self.poses)):
            raise UsageError(f"give one --train-split, or one for each of the {len(self.poses)} pose files")
        if self.window is not None and not 0 < self.window < float("inf"):
            raise UsageError(f"the window must be longer than 0 s, got {self.window:g}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"the seed must be in [0, 2^63), got {self.seed}")
        folder = self.output.absolute().parent
        if not folder.is_dir():
            raise OutputError(f"the folder of {self.output} does not exist; make it first")
        if self.output.is_dir() or not os.access(folder, os.W_OK):
            raise OutputError(f"{self.output} cannot be written: it is a folder, or its folder is not yours to write")
        if any(os.path.exists(p) and self.output.exists() and self.output.samefile(p) for p in self.poses):
            raise UsageError(f"-o {self.output} would overwrite the poses; choose another name")

    @property
    def splits(self) -> list[str]:
        """The training split of each pose file."""
        return list(self.train_splits) * (len(self.poses) if len(self.train_splits) == 1 else 1)

    @property
    def checkpoint(self) -> Path:
        return self.output.with_name(self.output.name + ".checkpoint")


def train_bundle(job: TrainingJob, log: Callable[[str], None] = lambda text: None) -> Iterator[EpochReport]:
    """Train, telling of each epoch, and write the bundle at the end.

    Raises InputError, UsageError, OutputError, ModelError.
    """
    device = choose_device(job.device)
    labels, train_items, validation_items = _read(job)
    usable = [item for item in train_items if _has_keypoints(item[0])]
    if len(usable) < len(train_items):
        log(f"{len(train_items) - len(usable)} sequences without a single keypoint are left out")
    layout = LAYOUTS[job.layout]
    train_set = build_dataset(*_columns(usable), layout)
    window = job.window or _median_seconds(usable)
    validation_set = build_dataset(*_columns(validation_items), layout) if validation_items else None
    log(f"{len(usable)} sequences to train on, {len(validation_items)} to validate on, {len(labels)} labels, {device}")
    options = TrainOptions(
        epochs=job.epochs,
        batch_size=min(job.batch_size, max(2, len(usable))),
        learning_rate=job.learning_rate,
        balance=job.balance,
        seed=job.seed,
        augmentation=Augmentation().scaled(job.augment),
    )
    if job.restart:
        job.checkpoint.unlink(missing_ok=True)
    torch.manual_seed(job.seed)
    net = SlowOnly(len(layout), len(labels))
    trainer = Trainer(net, train_set, validation_set, options, job.checkpoint, device)
    if trainer.epoch:
        log(f"going on after epoch {trainer.epoch} of {job.epochs}, from {job.checkpoint}")
    yield from trainer.epochs()
    measured = {}
    if trainer.validation_set:
        measured = _measure(trainer, trainer.validation_set, labels, log)
    save_bundle(trainer.result, _describe(job, labels, usable, window, options, measured), job.output)
    job.checkpoint.unlink(missing_ok=True)
    log(f"wrote {job.output}")


Item = tuple[Annotation, int]


def _read(job: TrainingJob) -> tuple[list[str], list[Item], list[Item]]:
    files = [load_poses(path) for path in job.poses]
    label_paths = job.labels or [labels_beside(path) for path in job.poses]
    names = [read_labels(path) for path in label_paths]
    unknown = [name for name in job.aliases if not any(name in file_names for file_names in names)]
    if unknown:
        raise UsageError(f"--alias {unknown[0]}: no pose file has a class of that name")
    labels = unite(names, job.aliases)
    if len(labels) < 2:
        raise InputError(f"there is only the class {labels[0]!r}; a classifier needs at least two")
    train: list[Item] = []
    validation: list[Item] = []
    share = _fraction(job.validation)
    rng = np.random.default_rng(job.seed)
    for file, file_names, split in zip(files, names, job.splits, strict=True):
        items = _labelled(file.split(split), file_names, labels, job, file.path)
        if share is None:
            if job.validation == split:
                raise UsageError(f"--val-split {job.validation} is what is trained on; choose another")
            train += items
            validation += _labelled(file.split(job.validation), file_names, labels, job, file.path)
        else:
            kept, held_out = _hold_out(items, share, rng)
            train += kept
            validation += held_out
    return labels, train, validation


def _labelled(
    annotations: list[Annotation], names: list[str], labels: list[str], job: TrainingJob, source: Path
) -> list[Item]:
    return list(zip(annotations, label_indices(annotations, names, labels, job.aliases, source), strict=True))


def _hold_out(items: list[Item], share: float, rng: np.random.Generator) -> tuple[list[Item], list[Item]]:
    """Hold out the same share of each class, at least one of each class that has more than one."""
    held_out: set[int] = set()
    by_class: dict[int, list[int]] = {}
    for index, (_, label) in enumerate(items):
        by_class.setdefault(label, []).append(index)
    for members in by_class.values():
        count = min(len(members) - 1, max(1, round(share * len(members)))) if share else 0
        held_out.update(rng.permutation(members)[:count].tolist())
    kept = [item for index, item in enumerate(items) if index not in held_out]
    return kept, [items[index] for index in sorted(held_out)]


def _fraction(text: str) -> float | None:
    try:
        share = float(text)
    except ValueError:
        return None
    if not 0 <= share < 1:
        raise UsageError(f"--val-split takes a split's name or a share in [0, 1), got {text}")
    return share


def _has_keypoints(annotation: Annotation) -> bool:
    return bool((training_poses(annotation.poses, annotation.poses.layout)[1] > 0).any())


def _columns(items: list[Item]) -> tuple[list[Annotation], list[int]]:
    return [annotation for annotation, _ in items], [label for _, label in items]


def _measure(
    trainer: Trainer, validation: PoseDataset, labels: list[str], log: Callable[[str], None]
) -> dict[str, float]:
    options = trainer.options
    probabilities = predict_probabilities(trainer.result, validation, options.rule, options.clip_len)
    found = accuracy(probabilities, validation.labels)
    log(f"validation top-1 {found.top1:.1%} of {found.sequences} sequences; per class:")
    for label, share in found.per_class.items():
        log(f"  {labels[label]:20} {share:.0%}")
    return {"validation top-1": round(found.top1, 4)}


def _describe(
    job: TrainingJob,
    labels: list[str],
    items: list[Item],
    window: float,
    options: TrainOptions,
    measured: dict[str, float],
) -> BundleInfo:
    data = ", ".join(f"{path.stem}:{split}" for path, split in zip(job.poses, job.splits, strict=True))
    return BundleInfo(
        name=job.name,
        version=__version__,
        labels=tuple(labels),
        layout=job.layout,
        window=window,
        stride=window / 2,
        clip_len=options.clip_len,
        volume=options.rule,
        subjects=max(1, max(annotation.poses.scores.shape[0] for annotation, _ in items)),
        aliases=dict(job.aliases),
        training_data=data,
        accuracy=measured,
        licence=job.licence,
    )


def _median_seconds(items: list[Item]) -> float:
    spans = [
        len(a.poses.times) * (a.poses.times[-1] - a.poses.times[0]) / max(1, len(a.poses.times) - 1) for a, _ in items
    ]
    median = float(np.median(spans))
    if median <= 0:
        raise InputError("the training sequences have one frame each; give --window SECONDS")
    return round(median, 2)
