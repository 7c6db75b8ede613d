"""Memory that is freed: kept where a network will want it again, given back where it would only pile up."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
from poseact import memory

def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024

memory.keep_freed_memory()
if len(sys.argv) > 2:
    memory.free_memory = lambda: (int(sys.argv[2]) << 20, None)
    memory.keep_all_freed_memory()
before = resident()
array = np.ones(int(sys.argv[1]) << 20, np.uint8)
filled = resident() - before
del array
print(filled, resident() - before)
"""


pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")


def filled_and_left(*arguments: int) -> list[float]:
    """Megabytes that an array took, and that are not given back when it is deleted."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(map(float, done.stdout.split()))


@pytest.mark.parametrize(("megabytes", "kept"), [(20, True), (60, False)])
def test_volumes_of_a_clip_are_kept_and_larger_ones_given_back(megabytes, kept):
    filled, left = filled_and_left(megabytes)
    assert filled > 0.9 * megabytes
    assert (left > 0.9 * megabytes) == kept
    assert (left < 0.1 * megabytes) != kept


@pytest.mark.parametrize(("free", "kept"), [(10**6, True), (20, False)])
def test_all_is_kept_for_a_training_where_memory_is_plenty(free, kept):
    filled, left = filled_and_left(60, free)
    assert filled > 0.9 * 60
    assert (left > 0.9 * 60) == kept
    assert (left < 0.1 * 60) != kept
