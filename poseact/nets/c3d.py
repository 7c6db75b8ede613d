"""Pose-C3D, table 11 of the PoseConv3D paper; names and shapes of its weights are PYSKL's.

The paper says that it pools by the maximum; PYSKL's light C3D, which it trains, pools by average, and so does this.
Before the last stage there is no pool, as in the paper's table and its count of FLOPs.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .conv import Conv, Head, Recogniser

_CUBE = (3, 3, 3)


class C3DBackbone(nn.Module):
    """3×3×3 convolutions with spatial pooling between the stages; time keeps its length."""

    def __init__(self, in_channels: int, width: int, stages: int):
        super().__init__()
        self.conv1a = Conv(in_channels, width, _CUBE)
        self.conv2a = Conv(width, 2 * width, _CUBE)
        self.conv3a = Conv(2 * width, 4 * width, _CUBE)
        self.conv3b = Conv(4 * width, 4 * width, _CUBE)
        self.conv4a = Conv(4 * width, 8 * width, _CUBE)
        self.conv4b = Conv(8 * width, 8 * width, _CUBE)
        self.conv5a = Conv(8 * width, 8 * width, _CUBE) if stages == 4 else nn.Identity()
        self.conv5b = Conv(8 * width, 8 * width, _CUBE) if stages == 4 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = _halve(self.conv1a(x))
        x = _halve(self.conv2a(x))
        x = _halve(self.conv3b(self.conv3a(x)))
        x = self.conv4b(self.conv4a(x))
        return self.conv5b(self.conv5a(x))


def _halve(x: Tensor) -> Tensor:
    """Frame by frame, since torch's 3D pool knows no bfloat16 on CPUs."""
    n, t = x.shape[0], x.shape[2]
    return F.avg_pool2d(x.transpose(1, 2).flatten(0, 1), 2).unflatten(0, (n, t)).transpose(1, 2)


def c3d(in_channels: int, n_labels: int, dropout: float = 0.5, width: int = 32, stages: int = 4) -> Recogniser:
    """Pose-C3D: stages 4 for the paper's C3D, 3 for its C3D-s (PYSKL's light one)."""
    return Recogniser(C3DBackbone(in_channels, width, stages), Head(8 * width, n_labels, dropout))
