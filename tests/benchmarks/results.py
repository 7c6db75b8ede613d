"""What was measured: on which machine, how long each run took, and figures against their targets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from processes import Run

from poseact.doctor.findings import versions_of
from poseact.doctor.machine import nvidia_gpus, system

_PACKAGES = ("torch", "ultralytics", "av", "openvino", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Timing:
    """Rounds of one command on one video. seconds: wall time from start to exit of each round; warm: seconds of video
    that it does in a second once it has started, None if it does not tell; labels: how many; cpu, peak_mb: medians."""

    video: str
    name: str
    seconds: tuple[float, ...]
    warm: float | None
    labels: int
    cpu: float
    peak_mb: float

    @property
    def middle(self) -> float:
        """The median of the rounds, in seconds."""
        return median(self.seconds)


@dataclass(frozen=True)
class Stage:
    """One stage alone, or all `together`: frames (or labels) a second, and its seconds for the whole video."""

    video: str
    name: str
    rate: float
    seconds: float
    cpu: float


@dataclass(frozen=True)
class Figure:
    """A figure and its target. better: which side of the target is good; None: it is only told."""

    name: str
    value: float
    unit: str = ""
    target: float | None = None
    better: Literal["above", "below"] | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.better == "above" else self.value <= self.target


def timing(video: str, name: str, rounds: Sequence[Run], length: float) -> Timing:
    """The rounds of a command on a video of `length` seconds."""
    warms = [warm for run in rounds if (warm := _warm(run, length)) is not None]
    return Timing(
        video,
        name,
        tuple(round(run.seconds, 2) for run in rounds),
        median(warms) if warms else None,
        len(rounds[0].labels),
        median(run.cpu for run in rounds),
        max(run.peak_mb for run in rounds),
    )


def _warm(run: Run, length: float) -> float | None:
    """Seconds of video in a second: between the events that a rival tells, or between our first label and our last."""
    start, end = run.event("start"), run.event("end")
    if start is not None and end is not None:
        return length / (end - start)
    labels = run.labels
    if len(labels) < 2 or labels[-1]["at"] <= labels[0]["at"]:
        return None
    return (labels[-1]["end"] - labels[0]["end"]) / (labels[-1]["at"] - labels[0]["at"])


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    found = {finding.name: finding.text for finding in system()}
    driver, gpus = nvidia_gpus()
    if gpus:
        found["gpu"] = f"{', '.join(gpus)}, driver {driver}"
    found["packages"] = ", ".join(f"{name} {version}" for name, version in versions_of(_PACKAGES).items())
    return found


def write_results(
    path: Path, timings: Sequence[Timing], stages: Sequence[Stage], figures: Sequence[Figure], command: str
) -> None:
    """Write `path`.md for people and `path`.json for programs."""
    on = machine()
    content = {
        "machine": on,
        "command": command,
        "figures": [{**asdict(figure), "met": figure.met} for figure in figures],
        "timings": [asdict(each) for each in timings],
        "stages": [asdict(each) for each in stages],
    }
    path.with_suffix(".json").write_text(json.dumps(content, indent=1))
    path.with_suffix(".md").write_text(markdown(on, timings, stages, figures, command))


def markdown(
    on: dict[str, str],
    timings: Sequence[Timing],
    stages: Sequence[Stage],
    figures: Sequence[Figure],
    command: str,
) -> str:
    """The tables, as Markdown."""
    parts = [f"Measured with `{command}` on:\n\n" + "".join(f"- {name}: {text}\n" for name, text in on.items())]
    if figures:
        parts.append(_table(("figure", "measured", "target", "met", "what it is"), map(_figure_row, figures)))
    if timings:
        titles = ("video", "command", "seconds: median (min–max)", "labels", "labels/s", "× real time, warm")
        parts.append(_table((*titles, "CPU s", "peak MB"), map(_timing_row, timings)))
    if stages:
        parts.append(_table(("video", "stage alone", "items/s", "wall s", "CPU s"), map(_stage_row, stages)))
    return "\n".join(parts)


def _figure_row(figure: Figure) -> tuple[str, ...]:
    target = "" if figure.target is None else f"{'≥' if figure.better == 'above' else '≤'} {figure.target:g}"
    met = {True: "yes", False: "**no**", None: ""}[figure.met]
    return figure.name, f"{figure.value:.4g} {figure.unit}".strip(), target, met, figure.note


def _timing_row(each: Timing) -> tuple[str, ...]:
    seconds = f"{each.middle:.1f} ({min(each.seconds):.1f}–{max(each.seconds):.1f})"
    rate = f"{each.labels / each.middle:.2f}" if each.labels else ""
    warm = "" if each.warm is None else f"{each.warm:.2f}"
    return (
        each.video,
        each.name,
        seconds,
        str(each.labels or ""),
        rate,
        warm,
        f"{each.cpu:.1f}",
        f"{each.peak_mb:.0f}",
    )


def _stage_row(each: Stage) -> tuple[str, ...]:
    return each.video, each.name, f"{each.rate:.1f}", f"{each.seconds:.2f}", f"{each.cpu:.2f}"


def _table(titles: Sequence[str], rows) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
