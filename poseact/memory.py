"""What the C library does with memory that is freed."""

from __future__ import annotations

import contextlib
import ctypes

# glibc takes no larger one. A network's volumes of one clip have up to some 20 MB.
_LARGEST_KEPT = 32 << 20
# So much may lie free beyond what is in use before it is given back.
_MOST_FREE = 256 << 20


def keep_freed_memory() -> None:
    """Let glibc keep the memory that is freed instead of giving it back: a network's volumes of some 20 MB are
    allocated over and over, and each new page costs more than the arithmetic on it. Larger pieces are given back, as
    of those that differ in size, such as limbs of many clips, each would lie where no other fits. Elsewhere this does
    nothing."""
    mmap_threshold, trim_threshold = -3, -1  # the names of mallopt's parameters in malloc.h
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, _LARGEST_KEPT)
        mallopt(trim_threshold, _MOST_FREE)
