"""The convolution that all networks are made of: batch norm, sum and ReLU with it, in a plain and in a fast form.

Its weights are those of a 3D convolution, with PYSKL's names and shapes. Most kernels are flat (1×k×k) or thin
(t×1×1). In the fast form each of these is run as a 2D convolution, over (frames × batch) or over (time × space):
with the channels last both are views of the same memory, and 2D kernels are much faster than 3D ones on CPUs and
GPUs alike. In the plain form every kernel runs as the 3D convolution that it is.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Channels of a convolution that fill half of the columns that a GPU multiplies at once.
_HALF_A_TILE = 32


class BatchNorm(nn.BatchNorm3d):
    """Batch norm of channels, whether frames lie in a dimension of their own (5D) or among the batch (4D)."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


class Conv(nn.Module):
    """3D convolution, batch norm, and where asked for a sum and a ReLU.

    (N, C, T, H, W) to (N, C', T / stride_t, H / stride_s, W / stride_s). stride: (stride_t, stride_s).
    """

    # What TorchScript takes as given, it leaves untaken branches out for: a bundle is frozen in a third of the time.
    __constants__ = ("flat", "groups", "padding_s", "padding_t", "plain", "relu", "stride_s", "stride_t", "thin")

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int, int],
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
        norm: bool = True,
        relu: bool = True,
    ):
        super().__init__()
        self.stride_t, self.stride_s = stride
        self.padding_t, self.padding_s = kernel[0] // 2, kernel[1] // 2
        strides = (self.stride_t, self.stride_s, self.stride_s)
        padding = (self.padding_t, self.padding_s, self.padding_s)
        self.groups = groups
        self.conv = nn.Conv3d(inputs, outputs, kernel, strides, padding, groups=groups, bias=False)
        self.bn: nn.Module = BatchNorm(outputs) if norm else nn.Identity()
        self.relu = relu
        self.plain = False
        self.extra_inputs = 0
        self.flat = kernel[0] == 1
        self.thin = kernel[0] > 1 and kernel[1:] == (1, 1) and stride[1] == 1

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """The residual, shaped like the output, is added before the ReLU."""
        if self.plain or not (self.flat or self.thin):
            return self._finish(self.conv(x), residual)
        if self.thin:
            h, w = x.shape[3], x.shape[4]
            added = None if residual is None else _space_in_a_row(residual)
            return self._finish(self._over_time(_space_in_a_row(x)), added).unflatten(3, (h, w))
        if self.stride_t > 1:
            x = x[:, :, :: self.stride_t]
        n, t = x.shape[0], x.shape[2]
        added = None if residual is None else residual.transpose(1, 2).flatten(0, 1)
        frames = self._over_space(x.transpose(1, 2).flatten(0, 1))
        return self._finish(frames, added).unflatten(0, (n, t)).transpose(1, 2)

    def _over_time(self, x: Tensor) -> Tensor:
        weight, bias = self.conv.weight.flatten(3), self.conv.bias
        return F.conv2d(x, weight, bias, (self.stride_t, 1), (self.padding_t, 0), 1, self.groups)

    def _over_space(self, x: Tensor) -> Tensor:
        weight, bias = self.conv.weight.flatten(1, 2), self.conv.bias
        if self.extra_inputs > 0:
            weight = F.pad(weight, [0, 0, 0, 0, 0, self.extra_inputs])
            if not torch.jit.is_scripting():
                pays = self.training and len(weight) <= _HALF_A_TILE and x.shape[3] % 2 == 0
                if pays and self.stride_s == 1 and self.groups == 1 and bias is None:
                    return _two_columns_at_once(x, weight, self.padding_s)
        return F.conv2d(x, weight, bias, self.stride_s, self.padding_s, 1, self.groups)

    def _finish(self, x: Tensor, residual: Tensor | None) -> Tensor:
        x = self.bn(x)
        if residual is not None:
            x = x + residual
        return F.relu(x) if self.relu else x


def _two_columns_at_once(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """A convolution of stride 1 that computes two pixels of a row as one of twice as many channels. With the channels
    last these are the same memory, and a GPU's tile of columns is full where a few channels leave half of it empty."""
    left, right = F.pad(weight, [0, 1]), F.pad(weight, [1, 0])
    pairs = F.conv2d(x, torch.cat([left, right]), None, [1, 2], padding)
    return pairs.permute(0, 2, 3, 1).unflatten(3, (2, -1)).flatten(2, 3).permute(0, 3, 1, 2)


def _space_in_a_row(x: Tensor) -> Tensor:
    """(N, C, T, H, W) as (N, C, T, H·W); `flatten` would give a single clip strides that are not channels last."""
    return x.permute(0, 2, 3, 4, 1).flatten(2, 3).permute(0, 3, 1, 2)


class Head(nn.Module):
    """Global average pool, dropout, one linear layer."""

    def __init__(self, channels: int, n_labels: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc_cls = nn.Linear(channels, n_labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc_cls(self.dropout(x.mean(dim=(2, 3, 4))))


class Recogniser(nn.Module):
    """A backbone and a head: a heatmap volume (N, K, T, H, W) to logits (N, n_labels).

    A volume that lies with the channels last, as `draw_volume` makes it, is read as it is. inputs: K. extra_inputs:
    so many channels of zeros the first convolution is shown too; a volume may have them already.
    """

    def __init__(self, backbone: nn.Module, head: Head):
        super().__init__()
        self.backbone = backbone
        self.cls_head = head
        self.plain = False
        self.inputs = next(module.conv.in_channels for module in backbone.modules() if isinstance(module, Conv))
        self.extra_inputs = 0
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(head.fc_cls.weight, std=0.01)
        nn.init.zeros_(head.fc_cls.bias)

    def forward(self, volume: Tensor) -> Tensor:
        if self.extra_inputs > 0 and volume.shape[1] == self.inputs:
            volume = F.pad(volume.permute(0, 2, 3, 4, 1), [0, self.extra_inputs]).permute(0, 4, 1, 2, 3)
        if not self.plain:
            volume = volume.contiguous(memory_format=torch.channels_last_3d)
        return self.cls_head(self.backbone(volume))


def suit_gpu(net: Any, gpu: bool = True) -> None:
    """Have a network, scripted or not, do what is quicker on a GPU, or no longer; neither weights nor answers change.

    The first convolution is shown zeros as further channels, up to a multiple of 16: with 17 cuDNN is half as fast
    as with 32; in training it computes two pixels at once. A pool reads plain rows of numbers, or in training first
    columns, then rows. A script of before there was this stays as it is.
    """
    for module in net.modules():
        if hasattr(module, "pool_in_rows"):
            module.pool_in_rows = gpu
    stem = next((m for m in net.modules() if hasattr(m, "extra_inputs") and hasattr(m, "flat")), None)
    if stem is not None and stem.flat and not stem.plain:
        stem.extra_inputs = net.extra_inputs = -stem.conv.weight.shape[1] % 16 if gpu else 0


def plain_form(net: nn.Module) -> nn.Module:
    """A copy that runs every kernel as the 3D convolution that it is, on volumes as they lie in memory, as PYSKL
    does: what the fast form is measured against."""
    plain = copy.deepcopy(net)
    for module in plain.modules():
        if isinstance(module, Conv | Recogniser):
            module.plain, module.extra_inputs = True, 0
    return plain


def fold_batch_norm(net: nn.Module) -> nn.Module:
    """A copy for running: in evaluation mode, with each batch norm folded into its convolution."""
    folded = copy.deepcopy(net).eval()
    for module in folded.modules():
        if isinstance(module, Conv) and isinstance(module.bn, nn.BatchNorm3d):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()
    return folded
