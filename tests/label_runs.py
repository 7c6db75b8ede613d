"""`poseact label` as a whole process group: started, killed, and what it left behind."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent


@dataclass
class LabelRun:
    """A run in a session of its own, so that all of its processes can be found and killed. A context manager: when it
    is left, none of them lives."""

    arguments: Sequence[str | Path]
    process: subprocess.Popen = field(init=False)

    def __post_init__(self) -> None:
        handle, name = tempfile.mkstemp(suffix=".txt")
        self._said = Path(name)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "poseact", "label", *map(str, self.arguments)],
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        os.close(handle)

    def __enter__(self) -> LabelRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._said.unlink()

    @property
    def said(self) -> str:
        """What it printed so far, of both kinds."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float = 300) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired, with what it said, if it goes on."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            error.output = self.said
            raise

    def kill(self) -> None:
        """SIGKILL to the whole group, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.wait_until_alone(10)

    def others(self) -> list[psutil.Process]:
        """The processes of its session but the first; zombies among them."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != self.process.pid and os.getsid(process.pid) == self.process.pid:
                    found.append(process)
            except ProcessLookupError:
                continue
        return found

    def workers(self) -> list[psutil.Process]:
        """The workers that are up, in the order in which they came."""
        spawned = []
        for process in self.others():
            try:
                if "spawn_main" in " ".join(process.cmdline()):
                    spawned.append(process)
            except psutil.Error:
                continue
        return sorted(spawned, key=lambda process: (process.create_time(), process.pid))

    def wait_until_alone(self, seconds: float = 10) -> list[psutil.Process]:
        """The processes that are left so long after it."""
        end = time.monotonic() + seconds
        while (left := self.others()) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    def wait_for_rows(self, output: Path, count: int, seconds: float = 120) -> None:
        """Until so many videos are done."""
        end = time.monotonic() + seconds
        while done(output) < count:
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"only {done(output)} videos are done: {self.said}")
            time.sleep(0.02)


@dataclass(frozen=True)
class Killed:
    """A run that was killed now and then and resumed. moments: seconds from each start to the kill. done: how many
    videos were done by then. code: the exit code in the end."""

    moments: list[float]
    done: list[int]
    code: int
    left: int


def run_killed(arguments: Sequence[str | Path], output: Path, moments: Iterable[float]) -> Killed:
    """Start the same command again and again, kill it after each of `moments`, and let the last one end; one that
    ends before its moment is the last. left: processes that outlived a kill or the end."""
    killed_at: list[float] = []
    finished: list[int] = []
    left = 0
    for moment in [*moments, None]:
        with LabelRun(arguments) as run:
            try:
                code = run.wait(300 if moment is None else moment)
            except subprocess.TimeoutExpired:
                if moment is None:
                    raise
                run.kill()
                left += len(run.others())
                killed_at.append(moment)
                finished.append(done(output))
                continue
            left += len(run.wait_until_alone())
        return Killed(killed_at, finished, code, left)
    raise AssertionError("the last run ended by itself")


def done(output: Path) -> int:
    """How many videos have rows in labels.jsonl so far."""
    path = output / "labels.jsonl"
    return len({row["source"] for row in _rows(path)}) if path.exists() else 0


def _rows(path: Path) -> list[dict]:
    """The whole lines of a file of JSON lines."""
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


# What two runs may differ in: when they were made and how long they took.
_TIMES = ("created", "made", "started", "finished", "elapsed", "took", "duration", "wall", "seconds_taken", "date")


def results(output: Path) -> dict[str, object]:
    """What must be the same however often a run was interrupted: the content of each result."""
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    return {
        "labels.jsonl": (output / "labels.jsonl").read_bytes(),
        "labels.csv": (output / "labels.csv").read_bytes(),
        "summary.json": {name: value for name, value in summary.items() if name not in _TIMES},
    }


def failures(output: Path) -> dict[str, str]:
    """The error of each video that failed, by its name. An AssertionError if one is listed twice."""
    path = output / "failures.csv"
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    found = {Path(row["video"]).name: row["error"] for row in rows}
    assert len(found) == len(rows), "a failure is listed twice"
    return found


def troubles(output: Path, videos: Sequence[Path], spans: int) -> list[str]:
    """What is wrong with the results of good videos, each with `spans` rows: a gap, a duplicate, a trace."""
    found = []
    wanted = {str(path): spans for path in videos}
    with (output / "labels.csv").open(newline="", encoding="utf-8-sig") as file:
        tables = {"labels.jsonl": _rows(output / "labels.jsonl"), "labels.csv": list(csv.DictReader(file))}
    for name, rows in tables.items():
        count: dict[str, int] = {}
        for row in rows:
            count[row["source"]] = count.get(row["source"], 0) + 1
        lacking = [video for video in wanted if video not in count]
        odd = [video for video, rows_of_it in count.items() if rows_of_it != wanted.get(video)]
        if lacking:
            found.append(f"{name} lacks {len(lacking)} videos, such as {lacking[0]}")
        if odd:
            found.append(f"{name} has {count[odd[0]]} rows of {odd[0]}")
        if list(count) != [video for video in wanted if video in count]:
            found.append(f"{name} is not in the order of the videos")
    found += [f"{path} is left" for path in traces(output)]
    return found


def traces(output: Path) -> list[Path]:
    """Temporary files that are left in a folder of results."""
    return [path for path in output.rglob("*") if ".part" in path.name or path.suffix in (".tmp", ".log")]
