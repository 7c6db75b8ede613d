"""The network inside Ultralytics' weights without the predictor around it, and what its answer means.

The network is cut off before its head decodes: of some thousand cells only those that may see a person are decoded,
and in float32, whatever the network computes in: coordinates of up to 640 pixels need it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from .bundle import no_jit_warnings

# Of two boxes that overlap more, the weaker goes; and so many are left at most: Ultralytics' own.
_NMS_OVERLAP = 0.7
_MOST_PEOPLE = 300


# Centres (A, 2), x and y in strides, and strides (A, 1) of all cells, float32.
Grid = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Head:
    """What a network gives. strides: pixels between the cells of each grid. bins: of the distribution of each of a
    box's four distances; 1: the distance itself. classes: the first is a person. keypoint_shape: (K, values of each);
    (): it only detects."""

    task: str
    strides: tuple[int, ...]
    bins: int
    classes: int
    keypoint_shape: tuple[int, ...] = ()

    @property
    def stride(self) -> int:
        """Both sides of a picture must be multiples of it."""
        return max(*self.strides, 32)

    @classmethod
    def of(cls, row: dict[str, Any]) -> Head:
        """One that was written as JSON."""
        fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        return cls(**fields)


def head_of(model: Any) -> Head | None:
    """What the head of a network of Ultralytics gives; None if it is none whose answer `decode` understands."""
    from ultralytics.nn.modules.head import Detect, Pose

    head = getattr(model, "model", [None])[-1]
    kind = {Detect: "detect", Pose: "pose"}.get(type(head))
    if kind is None or head.cv2 is None:
        return None
    return Head(
        kind,
        tuple(int(stride) for stride in head.stride),
        int(head.reg_max),
        int(head.nc),
        tuple(head.kpt_shape) if kind == "pose" else (),
    )


class Undecoded(nn.Module):
    """A network of Ultralytics, fused, up to what its head has not decoded yet. It changes the network given.

    Takes pictures (N, 3, H, W) in [0, 1]. Gives, for the A cells of all grids: distances (N, 4·bins, A), scores
    (N, classes, A) before the sigmoid, and of a pose network keypoints (N, K·values, A).
    """

    def __init__(self, model: Any):
        super().__init__()
        model.end2end = False  # as Ultralytics' predictor does: of two heads the one that wants suppression
        self.model = model.float().fuse(verbose=False).requires_grad_(False)
        self.eval()
        head = self.model.model[-1]
        head.training = True  # its own way to give what is not decoded; no layer below it knows
        self.names = ("boxes", "scores", "kpts") if hasattr(head, "kpt_shape") else ("boxes", "scores")

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        found = self.model(pictures)
        return tuple(found[name] for name in self.names)


@lru_cache(maxsize=32)
def grid_of(head: Head, size: tuple[int, int], device: str = "cpu") -> Grid:
    """The cells for an input of (H, W)."""
    centres, strides = [], []
    for stride in head.strides:
        rows, columns = torch.meshgrid(*(torch.arange(side // stride) + 0.5 for side in size), indexing="ij")
        centres.append(torch.stack([columns.flatten(), rows.flatten()], 1))
        strides.append(torch.full((rows.numel(), 1), float(stride)))
    return torch.cat(centres).to(device), torch.cat(strides).to(device)


def person_scores(scores: Tensor) -> Tensor:
    """How sure each cell is of a person: (N, A) float32 of (N, classes, A); 0 where it is surer of something else."""
    likely = scores[:, 0].float().sigmoid()
    return likely if scores.shape[1] == 1 else torch.where(likely >= scores.amax(1).float().sigmoid(), likely, 0)


def decode(head: Head, grid: Grid, raw: tuple[Tensor, ...], likely: Tensor, which: Tensor, cell: Tensor) -> Tensor:
    """What chosen cells see: (..., 5 + K·values) float32: box xyxy, score, keypoints, in pixels of the input.

    raw: as `Undecoded` gives it. likely: as `person_scores` gives it. which, cell: the picture and the cell (...) of
    each that is chosen.
    """
    centres, strides = (of_all[cell] for of_all in grid)
    sides = raw[0][which, :, cell].float().unflatten(-1, (4, head.bins))
    if head.bins > 1:
        # Not softmax nor exp: on a CPU these wake all threads even for so little, and wait for them for milliseconds.
        likely_bins = ((sides - sides.amax(-1, keepdim=True)) / math.log(2)).exp2()
        sides = likely_bins * torch.arange(head.bins, dtype=torch.float32, device=sides.device)
        sides = sides / likely_bins.sum(-1, keepdim=True)
    sides = sides.sum(-1)
    low, high = centres - sides[..., :2], centres + sides[..., 2:]
    found = [low * strides, high * strides, likely[which, cell][..., None]]
    if head.keypoint_shape:
        points = raw[2][which, :, cell].float().unflatten(-1, head.keypoint_shape)
        places = (points[..., :2] * 2 + (centres - 0.5)[..., None, :]) * strides[..., None]
        found.append(torch.cat([places, points[..., 2:].sigmoid()], -1).flatten(-2))
    return torch.cat(found, -1)


def candidates(head: Head, size: tuple[int, int], raw: Sequence[Any], least: float) -> Tensor:
    """All that a network sees in one picture, (P, 5 + K·values) as `decode` gives it, with a score above `least`.

    raw: as `Undecoded` gives it, tensors or arrays.
    """
    raw = tuple(map(torch.as_tensor, raw))
    likely = person_scores(raw[1])
    which, cell = (likely > least).nonzero(as_tuple=True)
    return decode(head, grid_of(head, size), raw, likely, which, cell)


def suppress(found: Tensor) -> np.ndarray:
    """Each person once, the surest first: some of the rows (P, 5 + K·values) that `decode` gives, of one picture."""
    rows = found.numpy()
    # torchvision's does the same, but its import takes a second.
    boxes = np.column_stack([rows[:, :2], rows[:, 2:4] - rows[:, :2]])
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 4].tolist(), 0.0, _NMS_OVERLAP)
    return rows[list(kept[:_MOST_PEOPLE])]


class TorchNetwork:
    """The network on the CPU by way of PyTorch, traced, frozen, with its channels last."""

    def __init__(self, network: nn.Module, dtype: torch.dtype):
        self.dtype = dtype
        network = network.to(dtype).to(memory_format=torch.channels_last)
        example = torch.zeros((1, 3, 64, 96), dtype=dtype).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), no_jit_warnings():
            self._frozen = torch.jit.freeze(torch.jit.trace(network, example, check_trace=False))

    def __call__(self, inputs: Iterable[np.ndarray]) -> Iterator[tuple[Tensor, ...]]:
        """What `Undecoded` gives for each input, pictures (N, H, W, 3) uint8 RGB."""
        for pictures in inputs:
            pixels = torch.from_numpy(np.require(pictures, requirements="W")).permute(0, 3, 1, 2)
            with torch.inference_mode():
                found = self._frozen(pixels.to(self.dtype).div_(255))
            yield found
