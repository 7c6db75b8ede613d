"""How often a network is right: one uniformly sampled clip of each sequence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..heatmaps import VolumeRule, joint_volume
from .dataset import PoseDataset


@dataclass(frozen=True)
class Accuracy:
    """top1: share of sequences that are right. per_class: share for each class index that occurs."""

    top1: float
    per_class: dict[int, float]
    sequences: int


def uniform_frames(lengths: Tensor, clip_len: int) -> Tensor:
    """`sampling.uniform_indices` for a batch: (N,) int64 to (N, clip_len) int64."""
    steps = 2 * torch.arange(clip_len, device=lengths.device) + 1
    return steps * lengths[:, None] // (2 * clip_len)


@torch.inference_mode()
def predict_probabilities(
    net: nn.Module, dataset: PoseDataset, rule: VolumeRule, clip_len: int, batch_size: int = 32
) -> Tensor:
    """Probabilities (N, n_labels) float32 of each sequence of the data set, on its device."""
    was_training = net.training
    net.eval()
    device = dataset.labels.device
    rows = []
    for indices in torch.arange(len(dataset), device=device).split(batch_size):
        batch = dataset.batch(indices, uniform_frames(dataset.lengths[indices], clip_len))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            volume = joint_volume(batch.keypoints, batch.scores, batch.image_size, rule)
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
