"""Pose-X3D, table 11 of the PoseConv3D paper; names and shapes of its weights are PYSKL's.

Unlike the X3D of RGB it has neither squeeze-and-excite nor swish.
"""

from __future__ import annotations

from torch import Tensor, nn

from .conv import Conv, Head, Recogniser


class X3DBlock(nn.Module):
    """1×1², a depthwise 3×3² with the stride and without ReLU, 1×1²."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = Conv(inputs, inner, (1, 1, 1))
        self.conv2 = Conv(inner, inner, (3, 3, 3), (1, stride), groups=inner, relu=False)
        self.conv3 = Conv(inner, outputs, (1, 1, 1))
        changes = inputs != outputs or stride != 1
        self.downsample = Conv(inputs, outputs, (1, 1, 1), (1, stride), relu=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.conv2(self.conv1(x)), self.downsample(x))


class X3DBackbone(nn.Module):
    """A stem in two steps, space and then time, three stages that halve the picture, and a last 1×1²."""

    def __init__(self, in_channels: int, width: int, blocks: tuple[int, int, int]):
        super().__init__()
        self.conv1_s = Conv(in_channels, width, (1, 3, 3), (1, 2), norm=False, relu=False)
        self.conv1_t = Conv(width, width, (5, 1, 1), groups=width)
        self.layer1 = self._stage(width, width, blocks[0])
        self.layer2 = self._stage(width, 2 * width, blocks[1])
        self.layer3 = self._stage(2 * width, 4 * width, blocks[2])
        self.conv5 = Conv(4 * width, 9 * width, (1, 1, 1))

    @staticmethod
    def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
        inner = 9 * outputs // 4
        first = X3DBlock(inputs, inner, outputs, 2)
        return nn.Sequential(first, *(X3DBlock(outputs, inner, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1_t(self.conv1_s(x))
        return self.conv5(self.layer3(self.layer2(self.layer1(x))))


def x3d(
    in_channels: int,
    n_labels: int,
    dropout: float = 0.5,
    width: int = 24,
    blocks: tuple[int, int, int] = (5, 11, 7),
) -> Recogniser:
    """Pose-X3D; blocks (2, 5, 3) make the paper's X3D-s."""
    return Recogniser(X3DBackbone(in_channels, width, blocks), Head(9 * width, n_labels, dropout))
