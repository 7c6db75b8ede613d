"""How much memory there is, and what the C library does with what is freed."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
# glibc takes no larger one. A network's volumes of one clip have up to some 20 MB.
_LARGEST_KEPT = 32 << 20
# So much may lie free beyond what is in use before it is given back.
_MOST_FREE = 256 << 20
# A training that keeps all it frees was seen to take 1.6 times as much.
_ROOM_TO_KEEP_ALL = 1.75
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _MMAP_MAX = -3, -1, -4  # mallopt's parameters in malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep the memory that is freed instead of giving it back: a network's volumes of some 20 MB are
    allocated over and over, and each new page costs more than the arithmetic on it. Larger pieces are given back, as
    of those that differ in size, such as limbs of many clips, each would lie where no other fits. Elsewhere this does
    nothing."""
    _set_malloc({_MMAP_THRESHOLD: _LARGEST_KEPT, _TRIM_THRESHOLD: _MOST_FREE})


def keep_all_freed_memory() -> None:
    """Let glibc keep larger pieces too, until the process ends: the steps of a training ask for the same ones over and
    over. It then takes more, so this does nothing unless 1.75 times the most that it has had so far is free."""
    with contextlib.suppress(ImportError):
        import resource  # which Windows lacks

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if _ROOM_TO_KEEP_ALL * most < free_memory()[0]:
            _set_malloc({_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1})


def free_memory() -> tuple[int, int]:
    """How many bytes are free, and of how many, on this machine or in the container that it is."""
    import psutil

    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    if _CONTAINER_LIMIT.is_file() and (limit := _CONTAINER_LIMIT.read_text().strip()).isdecimal():
        total, free = min(total, int(limit)), min(free, int(limit))
    return free, total


def _set_malloc(parameters: dict[int, int]) -> None:
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for name, value in parameters.items():
            mallopt(name, value)
