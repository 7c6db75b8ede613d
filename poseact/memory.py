"""What the C library does with memory that is freed."""

from __future__ import annotations

import contextlib
import ctypes


def keep_freed_memory() -> None:
    """Let glibc keep the memory that is freed instead of giving it back: a network's volumes of some 20 MB are
    allocated over and over, and each new page costs more than the arithmetic on it. Elsewhere this does nothing."""
    trim_threshold, mmap_max = -1, -4  # the names of mallopt's parameters in malloc.h
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
