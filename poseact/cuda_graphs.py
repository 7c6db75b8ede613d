"""A function on a GPU as CUDA graphs: one launch in place of hundreds, between each two of which Python's other threads
would take their turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

# Shapes of arguments whose graphs are kept.
_MOST_SHAPES = 8


@dataclass(frozen=True)
class _Captured:
    """One graph, where its arguments lie, and where it leaves its answer."""

    graph: torch.cuda.CUDAGraph
    arguments: list[Tensor]
    answer: Tensor


class CudaGraphs:
    """The same function of tensors, for inference. For each new shape of its arguments it is captured once.

    function: whatever it does must depend on the shapes alone, wait for nothing on the GPU, and whatever tensors it
    keeps it must keep for good. device: of `function`; on `cpu` it is simply called. What a call gives is overwritten
    by the next.
    """

    def __init__(self, function: Callable[..., Tensor], device: torch.device):
        self._function, self._device = function, device
        self._captured_for = lru_cache(_MOST_SHAPES)(self._capture)

    @torch.inference_mode()
    def __call__(self, *arguments: Tensor) -> Tensor:
        """arguments: on any device."""
        if self._device.type != "cuda":
            return self._function(*(argument.to(self._device) for argument in arguments))
        captured = self._captured_for(tuple((tuple(each.shape), each.dtype) for each in arguments))
        for place, argument in zip(captured.arguments, arguments, strict=True):
            place.copy_(argument, non_blocking=True)
        captured.graph.replay()
        return captured.answer

    def _capture(self, kinds: tuple[tuple[tuple[int, ...], torch.dtype], ...]) -> _Captured:
        arguments = [torch.zeros(shape, dtype=dtype, device=self._device) for shape, dtype in kinds]
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(3):  # what is chosen, compiled and allocated at first use must not be in the graph
                self._function(*arguments)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # The threads of other networks may go on allocating meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            answer = self._function(*arguments)
        return _Captured(graph, arguments, answer)
