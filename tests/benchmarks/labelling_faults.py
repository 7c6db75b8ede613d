"""`poseact label` on tiny videos: killed and resumed, among broken files, with workers that die or hang, and its
memory over many videos."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from label_runs import Killed, LabelRun, done, failures, results, run_killed, troubles
from label_videos import TinyChain, write_broken, write_tiny_chain

# Each window of the classifier is half a second.
_WINDOWS = 2


def kill_runs(folder: Path, kills: int, count: int, seconds: float, seed: int) -> Iterator[tuple[Killed, list[str]]]:
    """An undisturbed run, then runs that are killed at random moments until they end, until `kills` kills have hit;
    each with what is wrong with its results."""
    chain = write_tiny_chain(folder, count, seconds, seed)
    rng = np.random.default_rng(seed)
    output = folder / "whole"
    began = time.perf_counter()
    yield _killed(chain, output, [], seconds, None)
    took = time.perf_counter() - began
    whole = results(output)
    number = 0
    while kills > 0:
        number += 1
        killed, wrong = _killed(
            chain, folder / f"killed-{number}", rng.uniform(0, took, kills).tolist(), seconds, whole
        )
        kills -= len(killed.moments)
        yield killed, wrong


def _killed(
    chain: TinyChain, output: Path, moments: list[float], seconds: float, whole: dict[str, object] | None
) -> tuple[Killed, list[str]]:
    killed = run_killed([chain.videos, "-o", output, *chain.options], output, moments)
    wrong = troubles(output, sorted(chain.videos.rglob("*.mp4")), round(seconds * _WINDOWS))
    if whole is not None:
        found = results(output)
        wrong += [f"{name} is not that of an undisturbed run" for name in whole if found[name] != whole[name]]
    return killed, wrong


@dataclass(frozen=True)
class FaultyRun:
    """left: processes that outlived it. troubles: what is wrong."""

    name: str
    seconds: float
    code: int
    labelled: int
    failures: dict[str, str]
    left: int
    troubles: list[str]


def broken_runs(folder: Path, count: int, seed: int) -> Iterator[FaultyRun]:
    """One of twenty videos is broken; the same with a worker that is killed, and with one that is stopped."""
    chain = write_tiny_chain(folder, count - count // 20, 2.0, seed)
    good = sorted(chain.videos.rglob("*.mp4"))
    kinds = write_broken(chain, count // 20)
    for name, hit in (("broken files", None), ("and a worker killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
        output = folder / f"out-{name}"
        began = time.perf_counter()
        with LabelRun([chain.videos, "-o", output, *chain.options, "--timeout", "5", "--workers", "2"]) as run:
            if hit is not None:
                run.wait_for_rows(output, count // 10)
                run.workers()[0].send_signal(hit)
            code = run.wait()
            left = len(run.wait_until_alone())
        found = failures(output)
        wrong = troubles(output, good, round(2.0 * _WINDOWS))
        wrong += [f"{kind} ({name}) is not told of" for name, kind in kinds.items() if name not in found]
        wrong += [f"{name} failed: {error}" for name, error in found.items() if name not in kinds]
        wrong += [] if code == 6 else [f"it ended with {code}"]
        told = {f"{file} ({kinds.get(file, 'good')})": error for file, error in found.items()}
        yield FaultyRun(name, time.perf_counter() - began, code, done(output), told, left, wrong)


@dataclass(frozen=True)
class Growth:
    """Resident memory of a process. marks: MB when a quarter, half and all of the videos were done. slope: MB that
    1,000 videos more take, over the later half."""

    marks: tuple[float, float, float]
    slope: float


def memory_run(folder: Path, count: int, workers: int) -> dict[str, Growth]:
    """The memory of the parent and of each worker over `count` videos."""
    chain = write_tiny_chain(folder, count, 0.6)
    output = folder / "out"
    seen: dict[str, list[tuple[int, float]]] = {}
    with LabelRun([chain.videos, "-o", output, *chain.options, "--workers", str(workers)]) as run:
        names: dict[int, str] = {run.process.pid: "parent"}
        while run.process.poll() is None:
            at = done(output)
            for process in [psutil.Process(run.process.pid), *run.workers()]:
                name = names.setdefault(process.pid, f"worker {len(names)}")
                try:
                    seen.setdefault(name, []).append((at, process.memory_info().rss / 1e6))
                except psutil.Error:
                    continue
            time.sleep(0.5)
        if run.process.returncode:
            raise SystemExit(f"it ended with {run.process.returncode}: {run.said[-2000:]}")
    return {name: _growth(rows, count) for name, rows in seen.items() if rows[-1][0] > count / 2}


def _growth(rows: list[tuple[int, float]], count: int) -> Growth:
    at, megabytes = np.array(rows).T
    later = at >= count / 2
    slope = float(np.polyfit(at[later], megabytes[later], 1)[0]) * 1000 if len(set(at[later])) > 1 else 0.0
    quarter, half, end = (float(megabytes[np.argmin(abs(at - share * count))]) for share in (0.25, 0.5, 1.0))
    return Growth((quarter, half, end), slope)
