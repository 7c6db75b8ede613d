"""From keypoints to the heatmap volume: subject-centred crop and joint heatmaps (section 3.2 of the paper).

Everything here works on torch tensors with a batch in front, on any device:
keypoints (N, M, T, K, 2) float32, (x, y) in pixels; scores (N, M, T, K) float32, 0 for absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class VolumeRule:
    """How keypoints become a volume; a bundle carries the rule that its network was trained with.

    size: (H, W) pixels of the volume. sigma: of the gaussians, in those pixels. padding: share of the
    tight box that is added round it. absent: what marks a keypoint as not there, a score of 0 or, as
    PYSKL has it, a coordinate of exactly 0. corners: whether the crop's corners are truncated to whole
    pixels as PYSKL does. use_scores: draw each gaussian as high as its score, or all as high as 1.
    least_score: a keypoint with a lower score counts as absent.
    """

    size: tuple[int, int] = (56, 56)
    sigma: float = 0.6
    padding: float = 0.25
    absent: Literal["score", "zero-coordinate"] = "score"
    corners: Literal["exact", "truncated"] = "exact"
    use_scores: bool = True
    least_score: float = 0.2

    def __post_init__(self) -> None:
        if min(self.size) < 1 or self.sigma <= 0 or self.padding < 0 or self.least_score <= 0:
            raise ValueError(f"not a usable rule: {self}")
        if self.absent not in ("score", "zero-coordinate") or self.corners not in ("exact", "truncated"):
            raise ValueError(f"not a usable rule: {self}")


PYSKL_RULE = VolumeRule(size=(64, 64), absent="zero-coordinate", corners="truncated", least_score=1e-4)

# A box smaller than this many pixels says nothing of a body; the whole picture is taken instead, as PYSKL does.
_LEAST_EXTENT = 10.0


def crop_boxes(keypoints: Tensor, scores: Tensor, image_size: Tensor, rule: VolumeRule) -> Tensor:
    """The square box round all keypoints of all people and frames of each clip.

    image_size: (N, 2) float32, (H, W). Returns (N, 4) float32, xyxy in pixels; it may leave the picture.
    """
    if rule.absent == "score":
        there = (scores >= rule.least_score)[..., None].expand_as(keypoints)
    else:
        there = keypoints != 0
    infinity = float("inf")
    low = torch.where(there, keypoints, infinity).flatten(1, 3).amin(dim=1)  # (N, 2)
    high = torch.where(there, keypoints, -infinity).flatten(1, 3).amax(dim=1)
    half = ((high - low) / 2 * (1 + rule.padding)).amax(dim=1, keepdim=True)
    center = (high + low) / 2
    boxes = torch.cat([center - half, center + half], dim=1)
    if rule.corners == "truncated":
        boxes = boxes.trunc()
    whole = torch.cat([torch.zeros_like(image_size), image_size.flip(1)], dim=1)
    too_small = ((high - low) < _LEAST_EXTENT).any(dim=1, keepdim=True)
    return torch.where(too_small, whole.to(boxes), boxes)


def to_volume_pixels(keypoints: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Map keypoints from pixels of the frame to pixels of a volume that shows `boxes` (N, 4) xyxy."""
    low, high = boxes[:, None, None, None, :2], boxes[:, None, None, None, 2:]
    width_height = torch.tensor([size[1], size[0]], dtype=keypoints.dtype, device=keypoints.device)
    return (keypoints - low) * (width_height / (high - low))


def draw_joints(keypoints: Tensor, scores: Tensor, rule: VolumeRule, dtype: torch.dtype = torch.float32) -> Tensor:
    """Gaussians of equation 1, cut off outside int(mu - 3 sigma) to int(mu + 3 sigma) as PYSKL does.

    keypoints: (x, y) in pixels of the volume. People accumulate by the larger value at each point.
    Returns (N, K, T, H, W).
    """
    heights = scores if rule.use_scores else torch.ones_like(scores)
    heights = torch.where(scores < rule.least_score, 0, heights)
    across = _profile(keypoints[..., 0], rule.size[1], rule.sigma).to(dtype)  # (N, M, T, K, W)
    down = (_profile(keypoints[..., 1], rule.size[0], rule.sigma) * heights[..., None]).to(dtype)
    volume = None
    for person in range(keypoints.shape[1]):
        drawn = down[:, person].transpose(1, 2)[..., :, None] * across[:, person].transpose(1, 2)[..., None, :]
        volume = drawn if volume is None else torch.maximum(volume, drawn)
    if volume is None:
        raise ValueError("a volume needs at least one person")
    return volume


def _profile(mu: Tensor, length: int, sigma: float) -> Tensor:
    """One axis of truncated gaussians: mu (...) -> (..., length)."""
    pixels = torch.arange(length, dtype=mu.dtype, device=mu.device)
    first = torch.trunc(mu - 3 * sigma)[..., None]
    last = torch.trunc(mu + 3 * sigma)[..., None]
    gaussians = torch.exp(-((pixels - mu[..., None]) ** 2) / (2 * sigma**2))
    return torch.where((pixels >= first) & (pixels <= last), gaussians, 0)


def joint_volume(
    keypoints: Tensor, scores: Tensor, image_size: Tensor, rule: VolumeRule, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Crop to the subjects and draw: (N, M, T, K, 2) keypoints to a volume (N, K, T, H, W)."""
    boxes = crop_boxes(keypoints, scores, image_size, rule)
    points = to_volume_pixels(keypoints, boxes, rule.size)
    if rule.absent == "zero-coordinate":
        # PYSKL leaves a coordinate of 0 where it is, at the volume's own edge.
        points = torch.where(keypoints == 0, 0, points)
    return draw_joints(points, scores, rule, dtype)
