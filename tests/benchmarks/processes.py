"""Commands run as whole processes: when each line that they print comes, their work and, on Linux, their memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# How often the memory of a process is looked at, in seconds.
_GLANCE = 0.05


@dataclass(frozen=True)
class Run:
    """A process from start to exit. seconds: wall time; cpu: seconds of all its threads; peak_mb: resident memory.

    rows: the JSON lines of its stdout, each with the wall time `at` which it came, in seconds from the start.
    """

    seconds: float
    cpu: float
    peak_mb: float
    rows: list[dict[str, Any]] = field(repr=False)

    @property
    def labels(self) -> list[dict[str, Any]]:
        """The rows that label a clip."""
        return [row for row in self.rows if "label" in row]

    def event(self, name: str) -> float | None:
        """When the event of that name was told, in seconds; None if it was not."""
        return next((row["at"] for row in self.rows if row.get("event") == name), None)

    @property
    def first_label(self) -> float | None:
        """When the first label came, in seconds."""
        return self.labels[0]["at"] if self.labels else None


def run(command: Sequence[str]) -> Run:
    """Run a command that prints JSON lines. Ends the program if it fails, with what it said."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        environment = {
            **os.environ,
            # A rival gets all processors too; Ultralytics would leave one of two idle.
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(CORES)),
            "GOMP_SPINCOUNT": "3000",
            "YOLO_CONFIG_DIR": folder,
            "YOLO_OFFLINE": "true",
            "YOLO_VERBOSE": "false",
        }
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        rows: list[dict[str, Any]] = []
        reader = threading.Thread(target=_read, args=(process.stdout, started, rows))
        reader.start()
        peaks = [0.0]
        watcher = threading.Thread(target=_watch_memory, args=(process.pid, peaks))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        watcher.join()
        reader.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()[-2000:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, peaks[-1], rows)


def _watch_memory(pid: int, peaks: list[float]) -> None:
    """Add the process' peak so far, in MB, until it ends: what `wait4` tells of it may be its parent's instead."""
    while True:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        if not found:  # it has ended
            return
        peaks.append(int(found[1]) * 1024 / 1e6)
        time.sleep(_GLANCE)


def _read(lines: Any, started: float, rows: list[dict[str, Any]]) -> None:
    for line in lines:
        if line.startswith("{"):
            rows.append({**json.loads(line), "at": time.perf_counter() - started})
