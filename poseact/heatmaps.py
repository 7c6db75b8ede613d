"""From keypoints to the heatmap volume: subject-centred crop, joint and limb heatmaps (section 3.2 of the paper).

Everything here works on torch tensors with a batch in front, on any device:
keypoints (N, M, T, K, 2) float32, (x, y) in pixels; scores (N, M, T, K) float32, 0 for absent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

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
        if len(self.size) != 2 or not isinstance(self.use_scores, bool):
            raise ValueError(f"not a usable rule: {self}")


PYSKL_RULE = VolumeRule(size=(64, 64), absent="zero-coordinate", corners="truncated", least_score=1e-4)

# A box smaller than this many pixels says nothing of a body; the whole picture is taken instead, as PYSKL does.
_LEAST_EXTENT = 10.0


# A gaussian is cut off this many sigmas from its keypoint, and a limb as far outside the box of its two ends.
_MARGIN = 3
# Beyond 4.5 sigmas from a limb there is less than 5e-5. A limb is crossed along rows or columns, which at 45 degrees
# is longer by the square root of 2.
_REACH = 4.5 * math.sqrt(2)
# Places in a frame are counted in float32, which is exact so far.
_MOST_NUMBERS = 2**24


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
    return (keypoints - low) * (_width_height(size, keypoints.dtype, keypoints.device) / (high - low))


# Here and below: constants are kept for good, since CUDA graphs know where they lie. They are some kilobytes for each
# number of clips and of people that is met.
@cache
def _width_height(size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor([size[1], size[0]], dtype=dtype, device=device)


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
    (N, L, T, H, W), of that dtype; in memory its channels lie last (torch.channels_last_3d), as the networks read
    it. Raises ValueError if there is nobody (M = 0).
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
    channels: int | None = None,
) -> Tensor:
    """Joint heatmaps (equation 1 of the paper), or limb heatmaps (equation 2) where `limbs` are given.

    points: keypoints in pixels of the volume, from which a clip was cropped already. A limb is as high as the lower
    of its ends' scores. People merge by the larger value at each pixel. channels: of what is returned, those after
    the last heatmap all 0; None: no more than there are heatmaps. Returns and raises as `heatmap_volume`, and
    ValueError too if a frame has more than 2**24 numbers.
    """
    if points.shape[1] == 0:
        raise ValueError("a volume needs at least one person")
    there = scores >= rule.least_score
    heights = scores * there if rule.use_scores else there
    n, m, t, k = scores.shape
    drawn = k if limbs is None else len(limbs)
    channels = drawn if channels is None else channels
    if math.prod(rule.size) * channels > _MOST_NUMBERS:
        raise ValueError(f"{channels} heatmaps of {rule.size} pixels are too large to be drawn")
    volume = torch.zeros((n, t, *rule.size, channels), dtype=dtype, device=points.device)
    grid = _grid(n * t, drawn, m, rule.size, channels, points.device)
    # In the order of the volume where its channels lie last, and people after them.
    points, heights = points.float().permute(4, 0, 2, 3, 1), heights.float().permute(0, 2, 3, 1)
    if limbs is None:
        places, values = _joint_pixels(points, heights, rule, grid)
    else:
        places, values = _limb_pixels(_lines(points, heights, limbs), rule, grid)
    flat, places, values = volume.view(-1), places.flatten(), values.flatten().to(dtype)
    if m == 1:
        # Nobody meets anybody, and what repeats a pixel repeats its value.
        flat.scatter_(0, places, values)
    else:
        flat.scatter_reduce_(0, places, values, "amax")
    return volume.permute(0, 4, 1, 2, 3)


class _Grid(NamedTuple):
    """Where S pictures lie in a flat volume. starts: (S,) int64, the first pixel of each. strides: (2, 1) float32, from
    a pixel to the next, for x and y."""

    starts: Tensor
    strides: Tensor


@cache
def _grid(frames: int, drawn: int, people: int, size: tuple[int, int], channels: int, device: torch.device) -> _Grid:
    """The grid of a volume (frames, H, W, channels) for each frame, heatmap and person, in this order."""
    frame = math.prod(size) * channels
    starts = torch.arange(0, frames * frame, frame, device=device)[:, None] + torch.arange(drawn, device=device)
    strides = torch.tensor([[channels], [channels * size[1]]], dtype=torch.float32, device=device)
    return _Grid(starts[..., None].expand(-1, -1, people).flatten(), strides)


def _joint_pixels(points: Tensor, heights: Tensor, rule: VolumeRule, grid: _Grid) -> tuple[Tensor, Tensor]:
    """The pixels of all gaussians: their places in the flat volume, int64, and their values, both (D, D, S).

    points: (2, N, T, K, M); heights: (N, T, K, M), 0 draws nothing; S = NTKM. Only the D by D pixels that a gaussian
    can reach are computed. Those that lie beyond its edge or the picture's repeat the last pixel, so that none needs
    a mask and all joints are drawn in one go.
    """
    mu = points.flatten(1)  # (2, S)
    low, high, inside = _box(mu, mu, rule)
    window = torch.arange(math.floor(2 * _MARGIN * rule.sigma) + 2, dtype=mu.dtype, device=mu.device)[:, None, None]
    x_y = torch.minimum(low + window, high).clamp_(min=0)  # (D, 2, S)
    across, down = torch.exp((x_y - mu).square_() / (-2 * rule.sigma**2)).unbind(dim=1)
    columns, rows = (x_y * grid.strides).long().unbind(dim=1)
    values = (down * (heights.flatten() * inside))[:, None] * across
    return (rows + grid.starts)[:, None] + columns, values


class _Lines(NamedTuple):
    """S limbs. start, end: (2, S), (x, y) in pixels of the volume; vector: from start to end, (2, S); squared_length:
    (S,), at least 1; is_steep: (S,), whether it is higher than wide; heights: (S,)."""

    start: Tensor
    end: Tensor
    vector: Tensor
    squared_length: Tensor
    is_steep: Tensor
    heights: Tensor


def _lines(points: Tensor, heights: Tensor, limbs: Limbs) -> _Lines:
    """Limbs (N, T, L, M) between points (2, N, T, K, M), as high as the lower of their ends' heights (N, T, K, M)."""
    first, second = _ends_of(tuple(map(tuple, limbs)), points.device)  # type: ignore[arg-type]
    start, end = points.index_select(3, first).flatten(1), points.index_select(3, second).flatten(1)
    start_heights, end_heights = heights.index_select(2, first).flatten(), heights.index_select(2, second).flatten()
    squared_x, squared_y = (end - start).square_().unbind()
    squared_length = squared_x + squared_y
    # What is shorter than a pixel has no direction: PYSKL draws the first end in its place.
    is_short = squared_length < 1
    end = torch.where(is_short, start, end)
    lower = torch.minimum(start_heights, end_heights)
    heights = torch.where(is_short & (lower > 0), start_heights, lower)
    return _Lines(start, end, end - start, squared_length.clamp_(min=1), squared_y >= squared_x, heights)


@cache
def _ends_of(limbs: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """The keypoints at the first and at the second end of limbs, (L,) int64 each."""
    first, second = torch.tensor(limbs, dtype=torch.int64, device=device).view(-1, 2).unbind(dim=1)
    return first.contiguous(), second.contiguous()


@cache
def _last_pixel(size: tuple[int, int], device: torch.device) -> Tensor:
    """The last column and row of a picture (H, W), (2, 1) float32."""
    return torch.tensor([[size[1] - 1], [size[0] - 1]], dtype=torch.float32, device=device)


def _limb_pixels(lines: _Lines, rule: VolumeRule, grid: _Grid) -> tuple[Tensor, Tensor]:
    """The pixels near all limbs: their places in the flat volume, int64, and their values, both (C, R).

    Only what lies near a limb is computed: walk through its box along its longer axis, R steps for all limbs, and take
    at each step a window of C pixels across:

        . # # # . . .
        . . # # # . .     three steps down, windows of three pixels
        . . . # # # .

    As with joints, what would leave the box repeats the box's last pixel.
    """
    low, high, inside = _box(lines.start, lines.end, rule)
    heights = lines.heights * inside
    x_y = torch.stack([lines.start, lines.vector, low, high, grid.strides.expand_as(low)])
    # From here on a point is not (x, y) but (along, across); what is not drawn is a step at the first pixel.
    along_across = torch.where(heights > 0, torch.where(lines.is_steep, x_y.flip(1), x_y), 0)
    start, vector, low, high, strides = along_across.unbind()
    run = vector[:1]
    # A joint's vector is 0, and so is its share, whatever it is divided by.
    share_of_pixel, share_of_step = vector / lines.squared_length, run / run.square().clamp_(min=0.25)

    limb, along = _walk(low[0], high[0], max(rule.size))
    each = [start, vector, strides, share_of_pixel, share_of_step, low[1:], high[1:], heights[None]]
    each_step = torch.cat(each).index_select(1, limb).unbind()
    start_along, start_across, run, drift, stride_along, stride_across = each_step[:6]
    share_along, share_across, share_of_step, low_across, high_across, top = each_step[6:]
    ahead = along - start_along
    middle = torch.addcmul(start_across, drift, (ahead * share_of_step).clamp_(0, 1))
    reach = _REACH * rule.sigma
    first = torch.maximum((middle - reach).ceil_(), low_across)
    window = torch.arange(math.floor(2 * reach) + 1, dtype=run.dtype, device=run.device)[:, None]
    further = torch.minimum(window, high_across - first)

    # How far from its start, as a share of its length, a limb comes nearest to a pixel.
    beside = further + (first - start_across)
    share = torch.addcmul(ahead * share_along, beside, share_across).clamp_(0, 1)
    beside.addcmul_(share, drift, value=-1)
    squared_distance = torch.addcmul(ahead, share, run, value=-1).square_().addcmul_(beside, beside)
    values = squared_distance.div_(-2 * rule.sigma**2).exp_().mul_(top)
    start_of_window = torch.addcmul(along * stride_along, first, stride_across)
    places = torch.addcmul(start_of_window, further, stride_across).long()
    return places.add_(grid.starts.index_select(0, limb)), values


def _box(start: Tensor, end: Tensor, rule: VolumeRule) -> tuple[Tensor, Tensor, Tensor]:
    """First and last pixel, (2, S) each, of the box round two ends, and (S,) whether it holds any of the picture."""
    margin = _MARGIN * rule.sigma
    last = _last_pixel(rule.size, start.device)
    low = (torch.minimum(start, end) - margin).trunc_().clamp_(min=0)
    high = torch.minimum((torch.maximum(start, end) + margin).trunc_(), last)
    has_columns, has_rows = (low <= high).unbind()
    return low, high, has_columns & has_rows


def _walk(low: Tensor, high: Tensor, at_most: int) -> tuple[Tensor, Tensor]:
    """The steps from low to high of each of S limbs: whose step it is (R,) int64, and where it is (R,) float32."""
    if not low.is_cpu:
        return _walk_without_counts(low, high, at_most)
    counts = (high - low + 1).long()
    limb = torch.repeat_interleave(counts)
    before_first = (high.long() - counts.cumsum(0)).index_select(0, limb)
    return limb, (before_first + torch.arange(1, len(limb) + 1)).to(low.dtype)


def _walk_without_counts(low: Tensor, high: Tensor, at_most: int) -> tuple[Tensor, Tensor]:
    """`_walk` where reading counts would mean to wait for a GPU: each limb takes as many steps, the last repeatedly."""
    limb = torch.arange(len(low), device=low.device)[:, None].expand(-1, at_most)
    where = torch.minimum(low[:, None] + torch.arange(at_most, device=low.device), high[:, None])
    return limb.flatten(), where.flatten()
