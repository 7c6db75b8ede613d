"""Pose-SlowOnly, table 11 of the PoseConv3D paper; names and shapes of its weights are PYSKL's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .conv import Conv, Head, Recogniser


class Bottleneck(nn.Module):
    """1×1² (3×1² where inflated), 1×3², 1×1²; both strides lie on the middle convolution."""

    def __init__(self, inputs: int, width: int, stride: tuple[int, int], inflated: bool):
        super().__init__()
        outputs = 4 * width
        self.conv1 = Conv(inputs, width, (3, 1, 1) if inflated else (1, 1, 1))
        self.conv2 = Conv(width, width, (1, 3, 3), stride)
        self.conv3 = Conv(width, outputs, (1, 1, 1))
        changes = inputs != outputs or stride != (1, 1)
        self.downsample = Conv(inputs, outputs, (1, 1, 1), stride, relu=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.conv2(self.conv1(x)), self.downsample(x))


class SlowOnlyBackbone(nn.Module):
    """Stem, a 3×3 spatial max pool of stride 1 (PYSKL has it, the paper does not say so), three or four stages.

    Each stage halves the picture and doubles the width; the last two are inflated, and the last one halves the time.
    """

    def __init__(self, in_channels: int, width: int, blocks: tuple[int, ...]):
        super().__init__()
        self.pool_in_rows = False
        inflated = [number >= len(blocks) - 2 for number in range(len(blocks))]
        self.conv1 = Conv(in_channels, width, (1, 7, 7))
        self.layer1 = _stage(width, width, blocks[0], 1, inflated[0])
        self.layer2 = _stage(4 * width, 2 * width, blocks[1], 1, inflated[1])
        self.layer3 = _stage(8 * width, 4 * width, blocks[2], 2 if len(blocks) == 3 else 1, inflated[2])
        self.layer4 = _stage(16 * width, 8 * width, blocks[3], 2, True) if len(blocks) == 4 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        n, t = x.shape[0], x.shape[2]
        frames = self.conv1(x).transpose(1, 2).flatten(0, 1)
        # torch's pool writes the places of the maxima too, eight bytes each, which only training needs.
        if self.training:
            frames = _pooled_twice(frames) if self.pool_in_rows else F.max_pool2d(frames, 3, 1, 1)
        else:
            frames = _max_3x3_in_rows(frames) if self.pool_in_rows else _max_3x3(frames)
        x = frames.unflatten(0, (n, t)).transpose(1, 2)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _pooled_twice(x: Tensor) -> Tensor:
    """The same as one 3×3 max pool, over columns and then over rows: six comparisons instead of nine. Of equal maxima
    another may get the gradient; after a ReLU nearly all of these are 0, which pass none on."""
    return F.max_pool2d(F.max_pool2d(x, (3, 1), 1, (1, 0)), (1, 3), 1, (0, 1))


def _max_3x3(x: Tensor) -> Tensor:
    """The largest of each pixel's neighbourhood. x: (N, C, H, W), nothing below 0, so that 0 can stand outside."""
    x = F.pad(x, (1, 1, 1, 1))
    x = torch.maximum(torch.maximum(x[:, :, :-2], x[:, :, 1:-1]), x[:, :, 2:])
    return torch.maximum(torch.maximum(x[..., :-2], x[..., 1:-1]), x[..., 2:])


def _max_3x3_in_rows(x: Tensor) -> Tensor:
    """The same, of plain rows of numbers, which GPUs read fastest: with the channels last, a neighbour lies a fixed
    step further on in memory. What wraps round a picture's edge is left out at the end."""
    n, c, h, w = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    picture, row = padded.stride(0), padded.stride(1)
    x = padded.flatten()
    x = torch.maximum(torch.maximum(x[: -2 * c], x[c:-c]), x[2 * c :])
    x = torch.maximum(torch.maximum(x[: -2 * row], x[row:-row]), x[2 * row :])
    return x.as_strided((n, h, w, c), (picture, row, c, 1)).contiguous().permute(0, 3, 1, 2)


def _stage(inputs: int, width: int, blocks: int, stride_t: int, inflated: bool) -> nn.Sequential:
    first = Bottleneck(inputs, width, (stride_t, 2), inflated)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, (1, 1), inflated) for _ in range(blocks - 1)))


def slowonly(
    in_channels: int, n_labels: int, dropout: float = 0.5, width: int = 32, blocks: tuple[int, ...] = (4, 6, 3)
) -> Recogniser:
    """Pose-SlowOnly: width 64 for the paper's wd, blocks (3, 4, 6, 3) for its HR with volumes of 112×112."""
    head = Head(width << (len(blocks) + 1), n_labels, dropout)
    return Recogniser(SlowOnlyBackbone(in_channels, width, blocks), head)
