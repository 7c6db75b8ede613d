"""The moving average of a network's weights, which is what a training keeps."""

from __future__ import annotations

import copy

import torch
from torch import nn


class WeightAverage:
    """An exponential moving average of weights and of batch norm's statistics.

    The average is short at first: else the initial statistics would linger for epochs. torch's own AveragedModel
    keeps its count of steps on the device, and to read it each step must wait for the GPU.
    """

    def __init__(self, net: nn.Module, decay: float):
        self.module = copy.deepcopy(net).requires_grad_(False)
        self.decay = decay
        self.steps = 0
        averaged, current = self.module.state_dict(), net.state_dict()
        floating = [name for name, value in averaged.items() if value.is_floating_point()]
        self._averaged = [averaged[name] for name in floating]
        self._current = [current[name] for name in floating]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network's weights after a step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self._averaged, self._current, 1 - decay)
        self.steps += 1
