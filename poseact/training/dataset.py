"""Labelled pose sequences as tensors on one device, cut and sampled a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..poses import Annotation, PoseSequence
from ..skeleton import Layout, conversion

# Annotators park keypoints that they could not place at (1, 1), which in a picture that was enlarged since lies further
# out: in Penn Action at up to 1.5 pixels, where no other keypoint is nearer than 8.
_PARKED = 2.0


@dataclass(frozen=True)
class PoseBatch:
    """keypoints (N, M, T, K, 2) pixels, scores (N, M, T, K), image_size (N, 2) as (H, W), labels (N,)."""

    keypoints: Tensor
    scores: Tensor
    image_size: Tensor
    labels: Tensor


@dataclass(frozen=True)
class PoseDataset:
    """All frames of all sequences in one tensor: poses are small, so a whole data set fits on a device.

    keypoints: (F, M, K, 2) float32. scores: (F, M, K) float32. first, lengths: (N,) int64, where each
    sequence lies in F. image_size: (N, 2) float32, (H, W). labels: (N,) int64. M is the most people
    that any sequence has; people that a sequence lacks have score 0.
    """

    keypoints: Tensor
    scores: Tensor
    first: Tensor
    lengths: Tensor
    image_size: Tensor
    labels: Tensor
    layout: Layout

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> PoseDataset:
        names = ("keypoints", "scores", "first", "lengths", "image_size", "labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def batch(self, sequences: Tensor, frames: Tensor) -> PoseBatch:
        """The poses of some sequences (N,) at frames (N, T) counted from each sequence's first."""
        rows = self.first[sequences, None] + frames
        return PoseBatch(
            keypoints=self.keypoints[rows].transpose(1, 2),
            scores=self.scores[rows].transpose(1, 2),
            image_size=self.image_size[sequences],
            labels=self.labels[sequences],
        )


def build_dataset(annotations: Sequence[Annotation], labels: Sequence[int], layout: Layout) -> PoseDataset:
    """Stack annotations, converted to `layout`, under class indices `labels`.

    Raises InputError if there are none.
    """
    if not annotations:
        raise InputError("there is nothing to train on: the split is empty")
    most_people = max(1, *(a.poses.scores.shape[0] for a in annotations))
    keypoints, scores = [], []
    for annotation in annotations:
        try:
            points, confidences = training_poses(annotation.poses, layout)
        except ValueError as error:
            raise InputError(f"annotation {annotation.name}: {error}; choose another --layout") from error
        missing = most_people - len(points)
        keypoints.append(np.pad(points, ((0, missing), (0, 0), (0, 0), (0, 0))).swapaxes(0, 1))
        scores.append(np.pad(confidences, ((0, missing), (0, 0), (0, 0))).swapaxes(0, 1))
    lengths = torch.tensor([len(k) for k in keypoints])
    return PoseDataset(
        keypoints=torch.from_numpy(np.concatenate(keypoints)),
        scores=torch.from_numpy(np.concatenate(scores)),
        first=torch.cumsum(lengths, 0) - lengths,
        lengths=lengths,
        image_size=torch.tensor([a.poses.image_size for a in annotations], dtype=torch.float32),
        labels=torch.tensor(labels),
        layout=layout,
    )


def training_poses(poses: PoseSequence, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (M, T, K, 2) and scores (M, T, K) in `layout`, with visibility flags taken as no scores.

    Annotators mark a keypoint they placed behind something as not visible; an estimator would place it
    and be fairly sure. Used as a score, the flag tells the data set and the action rather than the pose.
    So where all scores are 0 or 1, each keypoint with a plausible position counts as seen.
    """
    order = conversion(poses.layout, layout)
    keypoints, scores = poses.keypoints[:, :, order], poses.scores[:, :, order]
    if np.isin(poses.scores, (0, 1)).all():
        scores = placed(poses)[:, :, order].astype(np.float32)
    return keypoints, scores


def placed(poses: PoseSequence) -> np.ndarray:
    """(M, T, K) bool: the keypoints that annotators gave a position, be they visible or hidden."""
    return (poses.keypoints > _PARKED).all(axis=-1) & poses.present[..., None]
