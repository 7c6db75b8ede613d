"""A function on a GPU as CUDA graphs: one launch in place of hundreds, between each two of which Python's other threads
would take their turn."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import TypeVar

import torch
from torch import Tensor

from .errors import UsageError

log = logging.getLogger(__name__)

T = TypeVar("T")

# Shapes of arguments whose graphs are kept.
_MOST_SHAPES = 8
# While one thread captures, no other may: each begins by waiting for all that the device does.
_capturing = Lock()


def capture(function: Callable[[], T], stream: torch.cuda.Stream) -> tuple[torch.cuda.CUDAGraph, T]:
    """What a function does on `stream`, as a graph, and what it gave, which each launch makes anew in its place."""
    with _capturing, torch.cuda.stream(stream):
        for _ in range(3):  # what is chosen, compiled and allocated at first use must not be in the graph
            function()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads' networks may go on allocating meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            found = function()
    return graph, found


@dataclass(frozen=True)
class _Captured:
    """One graph, where its arguments lie, and where it leaves its answer."""

    graph: torch.cuda.CUDAGraph
    arguments: list[Tensor]
    answer: Tensor


class CudaGraphs:
    """The same function of tensors, for inference, as a graph for each shape of its arguments. Threads may share it.

    function: whatever tensors it keeps it must keep for good, since graphs know where they lie. What cannot be
    captured, since it waits for the GPU or does as its numbers say, is called as it is. device: of `function`; on
    another than CUDA it is simply called.
    """

    def __init__(self, function: Callable[..., Tensor], device: torch.device):
        self._function, self._device = function, device
        self._alone = Lock()
        self._captured_for = lru_cache(_MOST_SHAPES)(self._capture)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @torch.inference_mode()
    def __call__(self, *arguments: Tensor) -> Tensor:
        """The answer, on the CPU. arguments: on any device. Raises UsageError if a GPU's memory does not hold them."""
        kinds = tuple((tuple(each.shape), each.dtype) for each in arguments)
        try:
            with self._alone:
                captured = None if self._device.type != "cuda" else self._captured_for(kinds)
                if captured is None:
                    return self._function(*(argument.to(self._device) for argument in arguments)).cpu()
                for place, argument in zip(captured.arguments, arguments, strict=True):
                    place.copy_(argument, non_blocking=True)
                captured.graph.replay()
                return captured.answer.cpu()
        except torch.cuda.OutOfMemoryError as error:
            raise UsageError(
                "the GPU's memory is full; close other programs that use it, or use --fast or --device cpu"
            ) from error

    def _capture(self, kinds: tuple[tuple[tuple[int, ...], torch.dtype], ...]) -> _Captured | None:
        assert self._stream is not None
        arguments = [torch.ones(shape, dtype=dtype, device=self._device) for shape, dtype in kinds]
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        try:
            graph, answer = capture(lambda: self._function(*arguments), self._stream)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            log.info("a classifier runs without a CUDA graph (%s)", str(error).partition("\n")[0])
            return None
        return _Captured(graph, arguments, answer)
