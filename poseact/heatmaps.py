"""From keypoints to the heatmap volume: subject-centred crop, joint and limb heatmaps (section 3.2 of the paper).

Everything here works on torch tensors with a batch in front, on any device:
keypoints (N, M, T, K, 2) float32, (x, y) in pixels; scores (N, M, T, K) float32, 0 for absent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# Pairs of indices of keypoints.
Limbs = Sequence[tuple[int, int]]


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


# A gaussian is cut off this many sigmas from its keypoint, and a limb as far outside the box of its two ends.
_MARGIN = 3
# Beyond 4.5 sigmas from a limb there is less than 5e-5. A limb is crossed along rows or columns, which at 45 degrees
# is longer by the square root of 2.
_REACH = 4.5 * math.sqrt(2)


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


def heatmap_volume(
    keypoints: Tensor,
    scores: Tensor,
    image_size: Tensor,
    rule: VolumeRule,
    limbs: Limbs | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Crop to the subjects and draw their joints, or the `limbs` between them.

    image_size: (N, 2) float32, (H, W). limbs: pairs of indices into K. Returns (N, K, T, H, W), or with L limbs
    (N, L, T, H, W), of that dtype. Raises ValueError if there is nobody (M = 0).
    """
    boxes = crop_boxes(keypoints, scores, image_size, rule)
    points = to_volume_pixels(keypoints, boxes, rule.size)
    if rule.absent == "zero-coordinate":
        # PYSKL leaves a coordinate of 0 where it is, at the volume's own edge.
        points = torch.where(keypoints == 0, 0, points)
    return draw_volume(points, scores, rule, limbs, dtype)


def draw_volume(
    points: Tensor,
    scores: Tensor,
    rule: VolumeRule,
    limbs: Limbs | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Joint heatmaps (equation 1 of the paper), or limb heatmaps (equation 2) where `limbs` are given.

    points: keypoints in pixels of the volume, from which a clip was cropped already. A limb is as high as the lower
    of its ends' scores. People merge by the larger value at each pixel. Returns and raises as `heatmap_volume`.
    """
    if points.shape[1] == 0:
        raise ValueError("a volume needs at least one person")
    heights = scores if rule.use_scores else torch.ones_like(scores)
    heights = torch.where(scores < rule.least_score, 0, heights).float()
    n, _, t, k = scores.shape
    volume = torch.zeros((n, k if limbs is None else len(limbs), t, *rule.size), dtype=dtype, device=points.device)
    if limbs is None:
        places, values = _joint_pixels(points.float(), heights, rule)
    else:
        places, values = _limb_pixels(*_limb_ends(points.float(), heights, limbs), rule)
    volume.view(-1).scatter_reduce_(0, places.flatten(), values.flatten().to(dtype), "amax")
    return volume


def _joint_pixels(points: Tensor, heights: Tensor, rule: VolumeRule) -> tuple[Tensor, Tensor]:
    """The pixels of all gaussians: their places in the flat volume, int64, and their values, both (D, D, S).

    points: (N, M, T, K, 2); heights: (N, M, T, K), 0 draws nothing; S = NMTK. Only the D by D pixels that a gaussian
    can reach are computed. Those that lie beyond its edge or the picture's repeat the last pixel, so that none needs
    a mask and all joints are drawn in one go.
    """
    height, width = rule.size
    mu = points.flatten(0, 3).T  # (2, S)
    low, high, inside = _box(mu, mu, torch.tensor([[width], [height]], device=mu.device), rule)
    window = torch.arange(math.floor(2 * _MARGIN * rule.sigma) + 2, device=mu.device)[:, None, None]
    x_y = torch.minimum(low + window, high).clamp_(min=0)  # (D, 2, S)
    across, down = torch.exp((x_y - mu).square_() / (-2 * rule.sigma**2)).unbind(dim=1)
    x, y = x_y.long().unbind(dim=1)
    values = (down * (heights.flatten() * inside))[:, None] * across
    return (y * width + _picture_starts(heights, rule))[:, None] + x, values


def _limb_ends(points: Tensor, heights: Tensor, limbs: Limbs) -> tuple[Tensor, Tensor, Tensor]:
    """Both ends (N, M, T, L, 2) and the heights (N, M, T, L) of limbs: the lower of the ends' heights."""
    first, second = torch.tensor(limbs, dtype=torch.int64, device=points.device).view(-1, 2).T
    start, end = (points.index_select(3, ends) for ends in (first, second))
    start_heights, end_heights = (heights.index_select(3, ends) for ends in (first, second))
    lower = torch.minimum(start_heights, end_heights)
    # What is shorter than a pixel has no direction: PYSKL draws the first end in its place.
    short = (end - start).square().sum(dim=-1) < 1
    return start, torch.where(short[..., None], start, end), torch.where(short & (lower > 0), start_heights, lower)


def _limb_pixels(start: Tensor, end: Tensor, heights: Tensor, rule: VolumeRule) -> tuple[Tensor, Tensor]:
    """The pixels near all limbs: their places in the flat volume, int64, and their values, both (C, R).

    Only what lies near a limb is computed: walk through its box along its longer axis, R steps for all limbs, and
    take at each step a window of C pixels across:

        . # # # . . .
        . . # # # . .     three steps down, windows of three pixels
        . . . # # # .

    As with joints, what would leave the box repeats the box's last pixel.
    """
    height, width = rule.size
    starts, heights = _picture_starts(heights, rule), heights.flatten()
    start, end = start.flatten(0, 3).T, end.flatten(0, 3).T  # (2, S)
    steep = torch.ge(*(end - start).abs().flip(0))
    # From here on a point is not (x, y) but (along, across), whose pixels are so far apart in the flat volume:
    strides = torch.stack([torch.where(steep, width, 1), torch.where(steep, 1, width)])
    sides = torch.stack([torch.where(steep, height, width), torch.where(steep, width, height)])
    start, end = (torch.where(steep, ends.flip(0), ends) for ends in (start, end))
    low, high, inside = _box(start, end, sides, rule)
    drawn = inside & (heights > 0)
    start, end, low, high, heights = (torch.where(drawn, each, 0) for each in (start, end, low, high, heights))

    limb, along = _walk(low[0], high[0], drawn, max(rule.size))
    each = torch.cat([start, end - start, strides, low[1:], high[1:], heights[None]]).index_select(1, limb)
    start_along, start_across, run, drift, stride_along, stride_across, low_across, high_across, top = each  # (R,)
    ahead = along - start_along
    middle = start_across + drift * (ahead / _not_zero(run)).clamp(0, 1)
    window = torch.arange(math.floor(2 * _REACH * rule.sigma) + 1, device=run.device)[:, None]
    first = torch.maximum((middle - _REACH * rule.sigma).ceil(), low_across)
    across = torch.minimum(first + window, high_across)

    # How far from its start, as a share of its length, a limb comes nearest to a pixel.
    beside, length = across - start_across, _not_zero(run**2 + drift**2)
    share = torch.addcmul(ahead * run / length, beside, drift / length).clamp_(0, 1)
    beside.addcmul_(share, drift, value=-1)
    squared_distance = torch.addcmul(-ahead, share, run).square_().addcmul_(beside, beside)
    values = squared_distance.div_(-2 * rule.sigma**2).exp_().mul_(top)
    places = torch.addcmul(along * stride_along, across, stride_across).long()
    return places.add_(starts.index_select(0, limb)), values


def _box(start: Tensor, end: Tensor, sides: Tensor, rule: VolumeRule) -> tuple[Tensor, Tensor, Tensor]:
    """First and last pixel, (2, S) each, of the box round two ends, and (S,) whether it holds any of the picture."""
    margin = _MARGIN * rule.sigma
    low = (torch.minimum(start, end) - margin).trunc().clamp(min=0)
    high = torch.minimum((torch.maximum(start, end) + margin).trunc(), sides - 1)
    return low, high, (low <= high).all(dim=0)


def _picture_starts(heights: Tensor, rule: VolumeRule) -> Tensor:
    """Where in the flat volume the picture of each of (N, M, T, L) lies, (NMTL,) int64."""
    n, m, t, channels = heights.shape
    pictures = torch.arange(n * channels * t, device=heights.device).view(n, 1, channels, t).transpose(2, 3)
    return (pictures * math.prod(rule.size)).expand(n, m, t, channels).flatten()


def _walk(low: Tensor, high: Tensor, drawn: Tensor, at_most: int) -> tuple[Tensor, Tensor]:
    """The steps from low to high of each of S limbs: whose step it is (R,) int64, and where it is (R,) float32."""
    if low.device.type != "cpu":
        return _walk_without_counts(low, high, at_most)
    counts = ((high - low + 1) * drawn).long()
    limb = torch.repeat_interleave(counts)
    first = (low.long() - counts.cumsum(0) + counts).index_select(0, limb)
    return limb, (first + torch.arange(len(limb))).to(low.dtype)


def _walk_without_counts(low: Tensor, high: Tensor, at_most: int) -> tuple[Tensor, Tensor]:
    """`_walk` where reading counts would mean to wait for a GPU: each limb takes as many steps, the last repeatedly."""
    limb = torch.arange(len(low), device=low.device)[:, None].expand(-1, at_most)
    where = torch.minimum(low[:, None] + torch.arange(at_most, device=low.device), high[:, None])
    return limb.flatten(), where.flatten()


def _not_zero(length: Tensor) -> Tensor:
    """Lengths to divide by; what is near 0 is a joint's, whose share of it is 0 anyway."""
    return torch.where(length.abs() < 0.5, 1, length)
