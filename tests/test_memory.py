"""Memory that is freed: kept where a network will want it again, given back where it would only pile up."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
from poseact.memory import keep_freed_memory

def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024

keep_freed_memory()
before = resident()
array = np.ones(int(sys.argv[1]) << 20, np.uint8)
filled = resident() - before
del array
print(filled, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")
@pytest.mark.parametrize(("megabytes", "kept"), [(20, True), (60, False)])
def test_volumes_of_a_clip_are_kept_and_larger_ones_given_back(megabytes, kept):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(megabytes)], capture_output=True, text=True, check=True)
    filled, left = map(float, done.stdout.split())
    assert filled > 0.9 * megabytes
    assert (left > 0.9 * megabytes) == kept
    assert (left < 0.1 * megabytes) != kept
