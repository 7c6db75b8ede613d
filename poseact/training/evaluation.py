"""How often a classifier is right, and how well it knows: on the sequences of a split of a pose file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..bundle import load_bundle, replace_info
from ..classifier import Classifier, Ensemble
from ..errors import InputError, ModelError, UsageError
from ..heatmaps import VolumeRule, heatmap_volume
from ..planes import PLANES, check_planes
from ..poses import Annotation, load_poses
from ..sampling import pyskl_test_indices
from ..skeleton import Layout, check_part, conversion
from .data import check_layouts
from .dataset import PoseDataset, build_dataset
from .labels import class_names, label_indices
from .metrics import (
    calibration_error_by_chance,
    class_accuracies,
    confusion_matrix,
    confusion_pairs,
    expected_calibration_error,
    mean_class_accuracy,
    top_k_accuracy,
)

_log = logging.getLogger(__name__)

# Footnote 3 of the paper.
_LIMB_KEYPOINTS = ("elbow", "wrist", "knee", "ankle")


# While training: a network


@dataclass(frozen=True)
class Accuracy:
    """top1: share of sequences that are right. per_class: share for each class index that occurs."""

    top1: float
    per_class: dict[int, float]
    sequences: int


def uniform_frames(lengths: Tensor, clip_len: int, clips: int = 1) -> Tensor:
    """Uniform sampling (section 3.2) of several clips of each sequence: (N,) int64 to (N, clips·clip_len) int64.

    Of each of the `clip_len` equal segments, each clip takes another place, evenly apart; a single clip takes the
    middles, as `sampling.uniform_indices` does.
    """
    segments = torch.arange(clip_len, device=lengths.device)
    places = 2 * torch.arange(clips, device=lengths.device)[:, None] + 1
    steps = (2 * clips * segments + places).flatten()
    return steps * lengths[:, None] // (2 * clips * clip_len)


@torch.inference_mode()
def predict_probabilities(
    net: nn.Module,
    dataset: PoseDataset,
    rule: VolumeRule,
    clip_len: int,
    batch_size: int = 32,
    limbs: Sequence[tuple[int, int]] | None = None,
) -> Tensor:
    """Probabilities (N, n_labels) float32 of each sequence of the data set, one clip of each, on its device.

    limbs: what the network sees, pairs of keypoint indices; None: joints.
    """
    was_training = net.training
    net.eval()
    device = dataset.labels.device
    rows = []
    for indices in torch.arange(len(dataset), device=device).split(batch_size):
        batch = dataset.batch(indices, uniform_frames(dataset.lengths[indices], clip_len))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            volume = heatmap_volume(batch.keypoints, batch.scores, batch.image_size, rule, limbs=limbs)
            rows.append(net(volume).float().softmax(dim=1))
    net.train(was_training)
    return torch.cat(rows)


def accuracy(probabilities: Tensor, labels: Tensor) -> Accuracy:
    """probabilities: (N, n_labels); labels: (N,)."""
    right = (probabilities.argmax(dim=1) == labels).float()
    classes = labels.unique().tolist()
    return Accuracy(
        top1=right.mean().item(),
        per_class={c: right[labels == c].mean().item() for c in classes},
        sequences=len(labels),
    )


# Afterwards: a bundle


@dataclass(frozen=True)
class EvaluationOptions:
    """How sequences are shown to a classifier.

    clips: of each sequence, see `uniform_frames`; several of a bundle that was PYSKL's are sampled as its test
    pipeline does.
    mirror: each clip also mirrored. batch_size: clips at a time, though never fewer than one sequence's; None: 8,
    on a GPU 32. drop_keypoint: probability that, in each frame, one random elbow, wrist, knee or ankle of each
    person is lost (table 4). seed: of that. hide: a part of everybody, one of PARTS, that is not seen at all.
    visibility_as_score: keep annotators' visibility flags as scores (see `training_poses`). planes: onto which 3D poses
    are projected.
    """

    clips: int = 1
    mirror: bool = False
    batch_size: int | None = None
    drop_keypoint: float = 0.0
    seed: int = 0
    hide: str | None = None
    visibility_as_score: bool = False
    planes: tuple[str, ...] = PLANES

    def __post_init__(self) -> None:
        if self.clips < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise UsageError("an evaluation needs at least 1 clip of a sequence and a batch of at least 1")
        if not 0 <= self.drop_keypoint <= 1:
            raise UsageError(f"the probability to drop a keypoint must be in [0, 1], got {self.drop_keypoint:g}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"the seed must be in [0, 2^63), got {self.seed}")
        if self.hide is not None:
            check_part(self.hide)
        check_planes(self.planes)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a classifier said of N sequences, and what it should have said.

    labels: the classifier's. names: (N,) of the sequences. probabilities: (N, n_labels) float32.
    truth: (N,) int64, class indices. All measures are fractions.
    """

    labels: tuple[str, ...]
    names: tuple[str, ...]
    probabilities: np.ndarray
    truth: np.ndarray

    @cached_property
    def matrix(self) -> np.ndarray:
        """(n_labels, n_labels) int64: rows are true classes, columns answers."""
        return confusion_matrix(self.probabilities.argmax(axis=1), self.truth, len(self.labels))

    @property
    def top1(self) -> float:
        return top_k_accuracy(self.probabilities, self.truth, 1)

    @property
    def top5(self) -> float:
        return top_k_accuracy(self.probabilities, self.truth, 5)

    @property
    def mean_class_accuracy(self) -> float:
        return mean_class_accuracy(self.matrix)

    @property
    def ece(self) -> float:
        """Expected calibration error in 15 bins."""
        return expected_calibration_error(self.probabilities, self.truth)

    @property
    def ece_by_chance(self) -> float:
        """What that would be of a model without any, on as few sequences."""
        return calibration_error_by_chance(self.probabilities)

    @property
    def per_class(self) -> dict[str, float]:
        """The accuracy of each class that occurs."""
        return {self.labels[c]: share for c, share in class_accuracies(self.matrix).items()}

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """The five most confused pairs of classes with their confusion score (table 18)."""
        return [(self.labels[i], self.labels[j], score) for i, j, score in confusion_pairs(self.matrix)]

    def to_dict(self) -> dict:
        """The measures, ready for JSON."""
        return {
            "top1": self.top1,
            "top5": self.top5,
            "mean_class_accuracy": self.mean_class_accuracy,
            "ece": self.ece,
            "ece_by_chance": self.ece_by_chance,
            "per_class": self.per_class,
            "sequences": len(self.names),
            "confusions": [{"classes": [one, other], "score": score} for one, other, score in self.confusions],
        }

    def scores(self) -> dict[str, list[float]]:
        """The probabilities of each sequence by its name, in the order of the labels, ready for JSON."""
        return dict(zip(self.names, self.probabilities.tolist(), strict=True))


Progress = Callable[[int, int], None]  # sequences done, of how many


def evaluate(
    classifier: Classifier | Ensemble,
    poses: Path,
    split: str,
    labels: Path | None = None,
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Ask the classifier about each sequence of a split of a pose file.

    labels: class names of the file, one a line; None: NAME_labels.txt beside it. They are matched to the
    classifier's by name and by its aliases. Raises InputError, UsageError.
    """
    options = options or EvaluationOptions()
    info = classifier.info
    annotations = load_poses(poses, planes=options.planes).split(split)
    if not annotations:
        raise InputError(f"{poses}: the split {split!r} is empty, so there is nothing to evaluate on")
    check_layouts(annotations, poses)
    unseen = sum(not annotation.poses.present.any() for annotation in annotations)
    if unseen:
        _log.warning("%s: %d of the %d poses have not a single keypoint, and count", poses, unseen, len(annotations))
    class_of = class_names(poses, labels, info.labels)
    indices = label_indices(annotations, class_of, info.labels, info.aliases, poses)
    truth = {annotation.sequence: index for annotation, index in zip(annotations, indices, strict=True)}
    found = sequence_probabilities(classifier, annotations, options, progress)
    return Evaluation(
        labels=tuple(info.labels),
        names=tuple(found),
        probabilities=np.stack(list(found.values())),
        truth=np.array([truth[name] for name in found]),
    )


def sequence_probabilities(
    classifier: Classifier | Ensemble,
    annotations: Sequence[Annotation],
    options: EvaluationOptions,
    progress: Progress | None = None,
) -> Mapping[str, np.ndarray]:
    """The classifier's probabilities (n_labels,) float32 of each sequence, by its name, in order.

    They are averaged over clips, mirror images and, of 3D poses, planes. Raises InputError if a layout lacks
    a keypoint that the classifier needs, ModelError if it answers with NaN, UsageError if a batch does not fit into
    a GPU's memory.
    """
    dataset = _build(annotations, classifier.layout, options).to(classifier.device)
    clip_len = classifier.info.clip_len

    def classify(indices: Tensor) -> Tensor:
        frames = _clip_frames(dataset.lengths[indices], clip_len, options.clips, classifier.info.sampling)
        batch = dataset.batch(indices, frames)
        return classifier.classify(batch.keypoints, batch.scores, batch.image_size, mirror=options.mirror)

    rows: list[Tensor] = []
    done = 0
    batch_size = options.batch_size or (32 if classifier.device.type == "cuda" else 8)
    at_once = max(1, batch_size // options.clips)
    for indices in torch.arange(len(dataset), device=classifier.device).split(at_once):
        rows.append(_within_memory(classify, indices, options.clips).cpu())
        done += len(indices)
        if progress:
            progress(done, len(dataset))
    probabilities = torch.cat(rows)
    if not probabilities.isfinite().all():
        raise ModelError(f"the classifier {classifier.info.name} answers with NaN: its weights are broken")
    return mean_by_name([annotation.sequence for annotation in annotations], probabilities.numpy())


def record_accuracy(bundle: Path, name: str, top1: float) -> None:
    """Write a measured top-1, a fraction, under `name` into what a bundle says of itself; other figures stay.

    Raises ModelError if it is no bundle, OutputError if it cannot be written.
    """
    _, info = load_bundle(bundle, torch.device("cpu"))
    replace_info(bundle, replace(info, accuracy={**info.accuracy, name: round(top1, 4)}))


def drop_limb_keypoints(dataset: PoseDataset, probability: float, seed: int) -> PoseDataset:
    """The same with, in each frame, one random limb keypoint of each person gone, with this probability."""
    generator = torch.Generator().manual_seed(seed)
    limb = [i for i, name in enumerate(dataset.layout.keypoints) if name.endswith(_LIMB_KEYPOINTS)]
    shape = dataset.scores.shape[:2]
    which = torch.tensor(limb)[torch.randint(len(limb), shape, generator=generator)]
    hit = torch.rand(shape, generator=generator) < probability
    return _without(dataset, hit[..., None] & (which[..., None] == torch.arange(len(dataset.layout))))


def hide_part(dataset: PoseDataset, part: str) -> PoseDataset:
    """The same people with a part of them, one of PARTS, out of sight."""
    hidden = torch.zeros_like(dataset.scores, dtype=torch.bool)
    hidden[..., dataset.layout.part(part)] = True
    return _without(dataset, hidden)


def _without(dataset: PoseDataset, lost: Tensor) -> PoseDataset:
    """The same without some keypoints, lost (F, M, K) bool."""
    # Volume rules tell what is absent by the score or by a coordinate of 0.
    return replace(
        dataset,
        scores=torch.where(lost, 0, dataset.scores),
        keypoints=torch.where(lost[..., None], 0, dataset.keypoints),
    )


def _build(annotations: Sequence[Annotation], layout: Layout, options: EvaluationOptions) -> PoseDataset:
    for annotation in annotations:
        try:
            conversion(annotation.poses.layout, layout)
        except ValueError as error:
            raise InputError(
                f"annotation {annotation.name}: {error}, so a classifier of {layout.name} poses cannot see it"
            ) from error
    dataset = build_dataset(annotations, [annotation.label for annotation in annotations], layout)
    if options.visibility_as_score:
        dataset = _with_scores_of_the_file(dataset, annotations)
    if options.drop_keypoint:
        dataset = drop_limb_keypoints(dataset, options.drop_keypoint, options.seed)
    if options.hide:
        dataset = hide_part(dataset, options.hide)
    return dataset


def _with_scores_of_the_file(dataset: PoseDataset, annotations: Sequence[Annotation]) -> PoseDataset:
    most_people = dataset.scores.shape[1]
    rows = []
    for annotation in annotations:
        poses = annotation.poses
        scores = poses.scores[:, :, conversion(poses.layout, dataset.layout)]
        rows.append(np.pad(scores, ((0, most_people - len(scores)), (0, 0), (0, 0))).swapaxes(0, 1))
    return replace(dataset, scores=torch.from_numpy(np.concatenate(rows)))


def _clip_frames(lengths: Tensor, clip_len: int, clips: int, sampling: str) -> Tensor:
    """The frames of all clips of each sequence, one clip after the other: (N,) to (N, clips * clip_len)."""
    if clips == 1 or sampling == "uniform":
        return uniform_frames(lengths, clip_len, clips)
    rows = [pyskl_test_indices(length, clip_len, clips).reshape(-1) for length in lengths.tolist()]
    return torch.from_numpy(np.stack(rows)).to(lengths.device)


def _within_memory(classify: Callable[[Tensor], Tensor], indices: Tensor, clips: int) -> Tensor:
    """Classify sequences of so many clips each; if they do not fit into the GPU's memory, say how many would."""
    size = len(indices)
    while size:
        try:
            answer = classify(indices[:size])
        except torch.cuda.OutOfMemoryError:
            size //= 2  # and try again outside of this block, in which the error keeps the batch alive
            continue
        if size == len(indices):
            return answer
        break
    cure = f"--batch-size {size * clips} does" if size else "try fewer --clips, or --device cpu"
    raise UsageError(f"a batch of {len(indices) * clips} clips does not fit into the GPU's memory; {cure}")


def mean_by_name(names: Sequence[str], rows: np.ndarray) -> dict[str, np.ndarray]:
    """The mean of the rows (N, n_labels) that have the same name, by name, in order of appearance."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(name, []).append(index)
    return {name: rows[members].mean(axis=0) for name, members in groups.items()}
