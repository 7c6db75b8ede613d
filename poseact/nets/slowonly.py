"""Pose-SlowOnly, table 11 of the PoseConv3D paper; names and shapes of its weights are PYSKL's.

The weights are those of 3D convolutions, but all kernels are flat (1×k×k) or thin (3×1×1). Each is run as a
2D convolution, over (frames × batch) or over (time × space): with the channels last both are views of the
same memory, and 2D kernels are much faster than 3D ones on CPUs and GPUs alike.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Conv(nn.Module):
    """A flat (1×k×k) or thin (t×1×1) 3D convolution with batch norm, run as a 2D one.

    (N, C, T, H, W) to (N, C', T / stride_t, H / stride_s, W / stride_s). A stride in time on a flat
    kernel only skips frames.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int], stride: tuple[int, int] = (1, 1)):
        super().__init__()
        self.thin = kernel[0] > 1
        if self.thin and (kernel[1] > 1 or kernel[2] > 1 or stride[1] > 1):
            raise ValueError(f"a kernel must be flat or thin, got {kernel} with stride {stride}")
        self.stride_t, self.stride_s = stride
        self.padding_t, self.padding_s = kernel[0] // 2, kernel[1] // 2
        strides = (self.stride_t, self.stride_s, self.stride_s)
        padding = (self.padding_t, self.padding_s, self.padding_s)
        self.conv = nn.Conv3d(inputs, outputs, kernel, strides, padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.convolve(x))

    def convolve(self, x: Tensor) -> Tensor:
        n, _, t, h, w = x.shape
        weight, bias = self.conv.weight, self.conv.bias
        if self.thin:
            out = F.conv2d(x.flatten(3), weight[..., 0], bias, (self.stride_t, 1), (self.padding_t, 0))
            return out.unflatten(3, (h, w))
        if self.stride_t > 1:
            x = x[:, :, :: self.stride_t]
            t = x.shape[2]
        frames = x.transpose(1, 2).flatten(0, 1)
        out = F.conv2d(frames, weight[:, :, 0], bias, self.stride_s, self.padding_s)
        return out.unflatten(0, (n, t)).transpose(1, 2)


class Bottleneck(nn.Module):
    """1×1² (3×1² where inflated), 1×3², 1×1²; both strides lie on the middle convolution."""

    def __init__(self, inputs: int, width: int, stride: tuple[int, int], inflated: bool):
        super().__init__()
        outputs = 4 * width
        self.conv1 = Conv(inputs, width, (3, 1, 1) if inflated else (1, 1, 1))
        self.conv2 = Conv(width, width, (1, 3, 3), stride)
        self.conv3 = Conv(width, outputs, (1, 1, 1))
        changes = inputs != outputs or stride != (1, 1)
        self.downsample = Conv(inputs, outputs, (1, 1, 1), stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.conv1(x))
        out = F.relu(self.conv2(out))
        return F.relu(self.conv3(out) + self.downsample(x))


class Backbone(nn.Module):
    """Stem, a 3×3 spatial max pool of stride 1 (PYSKL has it, the paper does not say so), three stages."""

    def __init__(self, in_channels: int, width: int, blocks: tuple[int, int, int]):
        super().__init__()
        self.conv1 = Conv(in_channels, width, (1, 7, 7))
        self.layer1 = self._stage(width, width, blocks[0], stride=(1, 2), inflated=False)
        self.layer2 = self._stage(4 * width, 2 * width, blocks[1], stride=(1, 2), inflated=True)
        self.layer3 = self._stage(8 * width, 4 * width, blocks[2], stride=(2, 2), inflated=True)

    @staticmethod
    def _stage(inputs: int, width: int, blocks: int, stride: tuple[int, int], inflated: bool) -> nn.Sequential:
        first = Bottleneck(inputs, width, stride, inflated)
        return nn.Sequential(first, *(Bottleneck(4 * width, width, (1, 1), inflated) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        n, t = x.shape[0], x.shape[2]
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(x.transpose(1, 2).flatten(0, 1), 3, 1, 1).unflatten(0, (n, t)).transpose(1, 2)
        return self.layer3(self.layer2(self.layer1(x)))


class Head(nn.Module):
    """Global average pool, dropout, one linear layer."""

    def __init__(self, channels: int, n_labels: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc_cls = nn.Linear(channels, n_labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc_cls(self.dropout(x.mean(dim=(2, 3, 4))))


class SlowOnly(nn.Module):
    """A heatmap volume (N, K, T, H, W) to logits (N, n_labels). 2.0 M parameters at width 32.

    `load_state_dict` takes the weights of a PYSKL checkpoint of the same shape as they are.
    """

    def __init__(
        self,
        in_channels: int,
        n_labels: int,
        width: int = 32,
        blocks: tuple[int, int, int] = (4, 6, 3),
        dropout: float = 0.5,
    ):
        super().__init__()
        self.backbone = Backbone(in_channels, width, blocks)
        self.cls_head = Head(16 * width, n_labels, dropout)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.cls_head.fc_cls.weight, std=0.01)
        nn.init.zeros_(self.cls_head.fc_cls.bias)

    def forward(self, volume: Tensor) -> Tensor:
        return self.cls_head(self.backbone(volume.contiguous(memory_format=torch.channels_last_3d)))


def fold_batch_norm(net: nn.Module) -> nn.Module:
    """A copy for running: in evaluation mode, with each batch norm folded into its convolution."""
    folded = copy.deepcopy(net).eval()
    for module in folded.modules():
        if isinstance(module, Conv) and isinstance(module.bn, nn.BatchNorm3d):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()
    return folded
