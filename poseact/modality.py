"""Whether a network was trained on joints or on limbs, as its first batch norm remembers.

Both volumes may have the same shape (17 keypoints and 17 limbs), but not the same content: each keypoint draws one
gaussian, all of the same mass, while limbs are as heavy as they are long, and heavier by far. The layers before the
first batch norm are linear, so what they give for a typical volume can be held against its running statistics.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from .heatmaps import PYSKL_RULE, heatmap_volume
from .nets.conv import Recogniser
from .skeleton import COCO17, Layout, conversion

Modality = Literal["joint", "limb"]

# A standing person who faces the camera, and where others hold what they move: (x, y), the person's height is 1.
_STANDING = (
    *((0.0, 0.08), (0.02, 0.06), (-0.02, 0.06), (0.045, 0.07), (-0.045, 0.07), (0.11, 0.19), (-0.11, 0.19)),
    *((0.14, 0.34), (-0.14, 0.34), (0.15, 0.48), (-0.15, 0.48), (0.075, 0.5), (-0.075, 0.5)),
    *((0.08, 0.73), (-0.08, 0.73), (0.08, 0.95), (-0.08, 0.95)),
)
_MOVED: tuple[dict[int, tuple[float, float]], ...] = (
    {},
    {7: (0.17, 0.07), 8: (-0.17, 0.07), 9: (0.15, -0.08), 10: (-0.15, -0.08)},
    {9: (0.05, 0.45), 10: (-0.22, 0.45), 13: (0.12, 0.72), 14: (-0.1, 0.73), 15: (0.2, 0.93), 16: (-0.22, 0.9)},
    {7: (0.3, 0.2), 9: (0.2, 0.1), 13: (0.2, 0.6), 15: (0.22, 0.8)},
)
_SCORE = 0.75
_FRAMES = 16  # of the typical volumes
_CLIP_LEN = 48
# The unevenness over channels that lies between the two: joints of the reference files have 0.03 to 0.07, limbs 0.26.
_UNEVENNESS = 0.13
# Evidence weaker than this is none: a volume of many small people lies between the two.
_LEAST_EVIDENCE = 0.3


@torch.no_grad()
def guess_modality(net: Recogniser, layout: Layout) -> Modality | None:
    """What the network's first batch norm saw, of a network whose input has as many channels as the layout has
    keypoints or limbs; None if that cannot be told."""
    layers, norm = _before_first_norm(net)
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None or not mean.any():
        return None
    channels = next(layers.parameters()).shape[1]
    if len(layout) != len(layout.limbs):
        return "joint" if channels == len(layout) else "limb"
    joints = _heaviness(layers, variance, _typical_volume(layout, limbs=False))
    limbs = _heaviness(layers, variance, _typical_volume(layout, limbs=True))
    uneven = _unevenness(layers, mean, variance)
    evidence = math.log(uneven / _UNEVENNESS) + 0.5 * (abs(joints) - abs(limbs))  # above 0: limbs
    if not abs(evidence) >= _LEAST_EVIDENCE:
        return None
    return "limb" if evidence > 0 else "joint"


def _before_first_norm(net: Recogniser) -> tuple[nn.Sequential, nn.BatchNorm3d]:
    """The convolutions before the first batch norm (one, in X3D two), in the order in which they were added."""
    convolutions: list[nn.Module] = []
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            return nn.Sequential(*convolutions), module
        if isinstance(module, nn.Conv3d):
            convolutions.append(module)
    raise ValueError("a network without batch norm remembers nothing of its input")


def _heaviness(layers: nn.Module, running_var: Tensor, volume: Tensor) -> float:
    """Logarithm of how much more the batch norm saw than the volume gives it; the median resists dead channels."""
    variance = layers(volume).var(dim=(0, 2, 3, 4))
    alive = (variance > 1e-12) & (running_var > 1e-12)
    return float((running_var[alive] / variance[alive]).log().median()) if alive.any() else float("nan")


def _unevenness(layers: nn.Module, running_mean: Tensor, running_var: Tensor) -> float:
    """Sine of the angle between the running mean and what equally heavy channels would give, in running deviations."""
    channels = next(layers.parameters()).shape[1]
    answer = layers(torch.ones(1, channels, _CLIP_LEN, 17, 17))
    # People stand far from the sides, but fill a clip to both of its ends.
    even = answer[0, :, :, answer.shape[3] // 2, answer.shape[4] // 2].mean(dim=1)
    deviation = running_var.clamp(min=1e-12).sqrt()
    cosine = float(torch.cosine_similarity(even / deviation, running_mean / deviation, dim=0))
    return math.sqrt(max(1e-6, 1 - cosine**2)) if cosine > 0 else 1.0


def _typical_volume(layout: Layout, limbs: bool) -> Tensor:
    """Four people who stand or move one at a time, (4, K or L, T, H, W) float32."""
    standing = torch.tensor(_STANDING)
    moved = standing.repeat(len(_MOVED), 1, 1)
    for person, places in enumerate(_MOVED):
        for keypoint, place in places.items():
            moved[person, keypoint] = torch.tensor(place)
    done = torch.linspace(0, 1, _FRAMES)[None, :, None, None]
    keypoints = standing + done * (moved[:, None] - standing)  # (N, T, 17, 2)
    keypoints = 200 * keypoints[:, None, :, conversion(COCO17, layout)] + 140
    scores = torch.full(keypoints.shape[:-1], _SCORE)
    image_size = torch.full((len(keypoints), 2), 480.0)
    return heatmap_volume(keypoints, scores, image_size, PYSKL_RULE, layout.limbs if limbs else None)
