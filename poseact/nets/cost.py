"""What a network costs: its parameters and its multiply-adds, counted without computing anything."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from . import Net
from .conv import Conv

# What the paper counts with: COCO's keypoints.
CHANNELS = 17


def measure(net: Net) -> tuple[int, int]:
    """Parameters without the head, and multiply-adds of one volume (CHANNELS, clip_len, *size).

    As in the paper's figures, each value counts two more for its batch norm and one for its ReLU.
    """
    with torch.device("meta"):
        backbone = net.build(CHANNELS, 2).backbone.eval()
        volume = torch.empty(1, CHANNELS, net.clip_len, *net.size)
    counted: list[int] = []

    def count(conv: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(conv, Conv)
        counted.append(output.numel() * (2 * isinstance(conv.bn, nn.BatchNorm3d) + conv.relu))

    for module in backbone.modules():
        if isinstance(module, Conv):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(volume)
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    return parameters, counter.get_total_flops() // 2 + sum(counted)  # a multiply-add is two of its flops
