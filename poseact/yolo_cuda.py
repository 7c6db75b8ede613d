"""The network on a GPU: pictures go up once as bytes, everything to the decoded candidates is one CUDA graph.

A graph is fixed in shape, so a batch is always full: places that are not needed hold what was there before. That also
makes what is found in a picture independent of the pictures beside it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .cuda_graphs import capture
from .letterbox import GREY, Letterbox
from .yolo_net import Head, decode, grid_of, person_scores

# Pictures of one graph, and bytes of them, which bounds the memory of larger ones: 20 pictures of 1920×1080.
BATCH = 16
_MOST_BYTES = 128 << 20
# Shapes of pictures whose graphs are kept.
_MOST_SHAPES = 4
# Cells of a picture that can see a person: the surest, since what is not known beforehand has no place in a graph.
_MOST_CELLS = 1024
# Batches on their way: while the GPU computes one, the next is laid ready.
_SLOTS = 2


class CudaNetwork:
    """Candidates of many pictures. device: `cuda:N`; on `cpu` the same steps run one by one, for tests."""

    def __init__(self, network: nn.Module, head: Head, device: str, least: float):
        self.device = torch.device(device)
        self.head, self.least = head, least
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        self.network = network.to(self.device, self.dtype).to(memory_format=torch.channels_last)
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._steps_for = lru_cache(_MOST_SHAPES)(self._make_steps)

    def __call__(self, pictures: list[np.ndarray], boxes: list[Letterbox]) -> list[Tensor]:
        """What is seen in pictures (H, W, 3) uint8 RGB, which may be scaled, each fitted into its input: for each
        (P, 5 + K·values) float32 on the CPU, in pixels of the input, as `decode` gives it."""
        alike: dict[Letterbox, list[int]] = defaultdict(list)
        for index, (picture, box) in enumerate(zip(pictures, boxes, strict=True)):
            alike[replace(box, picture=picture.shape[:2])].append(index)
        seen: dict[int, Tensor] = {}
        for box, indices in alike.items():
            seen |= zip(indices, self._see([pictures[i] for i in indices], box), strict=True)
        return [seen[index] for index in range(len(pictures))]

    def _see(self, pictures: list[np.ndarray], box: Letterbox) -> list[Tensor]:
        with torch.inference_mode(), torch.cuda.stream(self._stream):  # a stream None changes nothing
            steps = self._steps_for(box)
            waiting: deque[Callable[[], list[Tensor]]] = deque()
            found: list[Tensor] = []
            for start in range(0, len(pictures), steps.batch):
                if len(waiting) == _SLOTS:
                    found += waiting.popleft()()
                waiting.append(steps.begin(pictures[start : start + steps.batch]))
            return found + [each for end in waiting for each in end()]

    def _make_steps(self, box: Letterbox) -> _Steps:
        return _Steps(self, box)


class _Slot:
    """Room on the CPU for a batch on its way up and for its candidates on their way down."""

    def __init__(self, pictures: Tensor, found: tuple[Tensor, Tensor]):
        pinned = pictures.is_cuda
        self.pictures = torch.empty(pictures.shape, dtype=torch.uint8, pin_memory=pinned)
        self.places = self.pictures.numpy()
        self.found = [torch.empty(part.shape, pin_memory=pinned) for part in found]
        self.seen = [part.numpy() for part in self.found]
        self.done = torch.cuda.Event() if pinned else None


class _Steps:
    """Letterbox, network and decoding of a full batch of pictures of one size."""

    def __init__(self, owner: CudaNetwork, box: Letterbox):
        height, width = box.picture
        self.owner, self.box = owner, box
        self.batch = max(1, min(BATCH, _MOST_BYTES // (height * width * 3)))
        self.pictures = torch.zeros((self.batch, height, width, 3), dtype=torch.uint8, device=owner.device)
        self.grid = grid_of(owner.head, box.size, str(owner.device))
        self.graph: torch.cuda.CUDAGraph | None = None
        if owner.device.type == "cuda":
            self.graph, self.found = capture(self._compute, torch.cuda.current_stream())
        else:
            self.found = self._compute()
        self._slots = deque(_Slot(self.pictures, self.found) for _ in range(_SLOTS))

    def begin(self, pictures: list[np.ndarray]) -> Callable[[], list[Tensor]]:
        """Set the GPU to work on at most `batch` pictures. What is returned waits for it and gives the candidates; it
        must be called before `_SLOTS` more are begun."""
        slot = self._slots[0]
        self._slots.rotate()
        for place, picture in zip(slot.places, pictures, strict=False):
            np.copyto(place, picture)
        self.pictures[: len(pictures)].copy_(slot.pictures[: len(pictures)], non_blocking=True)
        if self.graph is None:
            self.found = self._compute()
        else:
            self.graph.replay()
        for here, there in zip(slot.found, self.found, strict=True):
            here.copy_(there, non_blocking=True)
        if slot.done is not None:
            slot.done.record()
        return lambda: self._end(slot, len(pictures))

    def _end(self, slot: _Slot, count: int) -> list[Tensor]:
        if slot.done is not None:
            slot.done.synchronize()
        rows, scores = slot.seen
        sure = (scores[:count] > self.owner.least).sum(1).tolist()
        # By NumPy: after each of torch's operations Python's other threads would take their turn.
        return [torch.from_numpy(row[:n].copy()) for row, n in zip(rows, sure, strict=False)]

    def _compute(self) -> tuple[Tensor, Tensor]:
        """The surest cells, decoded, (batch, cells, 5 + K·values), and their scores (batch, cells), surest first."""
        raw = self.owner.network(self._fitted())
        likely = person_scores(raw[1])
        scores, cell = likely.topk(min(_MOST_CELLS, likely.shape[1]), dim=1)
        which = torch.arange(self.batch, device=likely.device)[:, None]
        return decode(self.owner.head, self.grid, raw, likely, which, cell), scores

    def _fitted(self) -> Tensor:
        """The pictures as the network wants them, (batch, 3, H, W) in [0, 1]."""
        box = self.box
        pixels = self.pictures.permute(0, 3, 1, 2).to(self.owner.dtype)
        if box.fitted != box.picture:
            pixels = F.interpolate(pixels, box.fitted, mode="bilinear", align_corners=False)
        top, left = box.corner
        bottom, right = (
            size - first - length for size, first, length in zip(box.size, box.corner, box.fitted, strict=True)
        )
        if box.size != box.fitted:
            pixels = F.pad(pixels, (left, right, top, bottom), value=GREY)
        return (pixels / 255).contiguous(memory_format=torch.channels_last)
