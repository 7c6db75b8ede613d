"""The whole chain against its rivals: how soon, how fast, in how much memory, and with the same labels.

    python tests/benchmarks/streaming.py ../shared/videos/walk_climb.mp4 ../shared/videos/drink.avi@60 -o streaming
    python tests/benchmarks/streaming.py ../shared/videos/*.* --only agreement
    python tests/benchmarks/streaming.py ../shared/videos/drink.avi@60 --device cuda --only speed,stages,several

VIDEO@SECONDS is a video repeated to so many seconds of 1080p H.264. Rivals (see `rivals.py`) and ours are whole
processes, start-up included, that take turns. Writes a table as Markdown and JSON. --only takes of:

speed: rivals and ours. stages: each stage alone against the chain, see `stages.py`. first: how long until the first
label of 10 seconds. memory: of an hour against a minute. agreement: labels of a video against those of its
poses extracted as a whole. several: eight videos at once against one after the other.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated

import av
import typer
from long_videos import looped
from processes import CORES, Run, run
from results import Figure, Stage, Timing, timing, write_results

from poseact.options import DEFAULT_RATE

HERE = Path(__file__).parent
POSEACT = [sys.executable, "-m", "poseact"]
FAST = "actions27-x3d-s-joint"
FIGURES = ("speed", "stages", "first", "memory", "agreement", "several")
EVERY_FRAME = ["--sampling", "dense", "--pose-fps", "all"]
# Seconds of video whose first label is waited for, and copies of a video that are labelled together.
_SHORT, _SEVERAL = 10, 8


@dataclass(frozen=True)
class Subject:
    """A video to measure on. source: what it is made of; seconds, frames: of the video."""

    name: str
    path: Path
    source: Path
    seconds: float
    frames: int


@dataclass
class Benchmark:
    """How to measure, and what was."""

    device: str
    rounds: int
    extra: list[str]
    folder: Path
    timings: list[Timing] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def predict(self, *videos: Path, options: Sequence[str] = ()) -> list[str]:
        """The command that labels videos, as JSON lines."""
        device = ["--device", self.device]
        return [*POSEACT, "predict", *map(str, videos), "-q", "--format", "jsonl", *device, *self.extra, *options]

    def rival(self, name: str, video: Path, *options: str) -> list[str]:
        """The command of one of `rivals.py`."""
        return [sys.executable, str(HERE / "rivals.py"), name, str(video), *options]

    def take_turns(self, commands: dict[str, list[str]]) -> dict[str, list[Run]]:
        """Rounds of each command, there and back, so that what else the machine does falls on all of them."""
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for number in range(self.rounds):
            for name in list(commands)[:: -1 if number % 2 else 1]:
                runs[name].append(run(commands[name]))
                typer.echo(f"  {name}: {runs[name][-1].seconds:.1f} s", err=True)
        return runs

    def keep(self, subject: str, seconds: float, runs: dict[str, list[Run]]) -> dict[str, Timing]:
        """The timings of rounds, which the tables show too."""
        found = {name: timing(subject, name, rounds, seconds) for name, rounds in runs.items()}
        self.timings += found.values()
        return found

    def tell(self, *figures: Figure) -> None:
        """Keep figures, and show them."""
        self.figures += figures
        for figure in figures:
            typer.echo(f"{figure.name}: {figure.value:.4g} {figure.unit}", err=True)


def speed(bench: Benchmark, subject: Subject) -> None:
    """Ours and the rivals as whole processes, and what share of the rival's labels ours are."""
    on = ["--device", bench.device]
    commands = {
        "poseact predict": bench.predict(subject.path),
        "poseact predict --fast": bench.predict(subject.path, options=["--fast"]),
        "poseact predict, every frame": bench.predict(subject.path, options=EVERY_FRAME),
        "serial": bench.rival("serial", subject.path, *on),
        "serial, fast": bench.rival("serial", subject.path, *on, "--classifier", FAST),
        "ultralytics": bench.rival("ultralytics", subject.path, *on),
        "decode only": bench.rival("decode", subject.path),
    }
    runs = bench.take_turns(commands)
    found = bench.keep(subject.name, subject.seconds, runs)
    bench.tell(*ratios(subject, found), *labels_shared(subject, runs))
    posed = found["poseact predict, every frame"]
    target = 600 if bench.device.startswith("cuda") else None
    note = f"every frame posed; with start-up {subject.frames / posed.middle:.0f}"
    fps = (posed.warm or 0) * subject.frames / subject.seconds
    bench.tell(Figure(f"{subject.name}: frames a second, warm", fps, "frames/s", target, "above", note))


def ratios(subject: Subject, found: dict[str, Timing]) -> Iterator[Figure]:
    """Ours against the rivals; start-up included, and without it."""
    pairs = (
        ("poseact predict", "serial", 6),
        ("poseact predict --fast", "serial, fast", None),
        ("poseact predict", "ultralytics", 3),
        ("poseact predict --fast", "ultralytics", None),
    )
    for ours, rival, target in pairs:
        note = f"whole processes; in processor time {found[rival].cpu / found[ours].cpu:.2f}"
        if (warm := found[ours].warm) and (theirs := found[rival].warm):
            note += f"; without start-up {warm / theirs:.2f}"
        ratio = found[rival].middle / found[ours].middle
        yield Figure(f"{subject.name}: {ours} against {rival}", ratio, "times", target, "above", note)
    mine = found["poseact predict"]
    if mine.warm:
        hour = 60 / mine.warm + (mine.middle - subject.seconds / mine.warm) / 60
        yield Figure(f"{subject.name}: an hour of such video", hour, "minutes", note="as poseact predict labels it")


def labels_shared(subject: Subject, runs: dict[str, list[Run]]) -> Iterator[Figure]:
    """A rival that labelled something else would be none."""
    for ours, rival in (("poseact predict", "serial"), ("poseact predict --fast", "serial, fast")):
        share = agreement(runs[ours][0], runs[rival][0])
        yield Figure(f"{subject.name}: labels of {rival} that are those of {ours}", share, note="share of the windows")


def agreement(one: Run, other: Run) -> float:
    """The share of windows of two runs that have the same label in both; windows that only one has do not."""
    labels, others = ({(row["start"], row["end"]): row["label"] for row in each.labels} for each in (one, other))
    windows = labels.keys() | others.keys()
    same = sum(1 for w in labels.keys() & others.keys() if labels[w] == others[w])
    return same / len(windows) if windows else 1.0


def stages(bench: Benchmark, subject: Subject) -> None:
    """The chain against the slowest of its stages, had each the machine to itself."""
    command = [sys.executable, str(HERE / "stages.py"), str(subject.path), "--device", bench.device]
    rounds = ["--rounds", str(bench.rounds)]
    for name, options in (("", []), (" --fast", ["--fast"]), (" every frame", ["--every-frame"])):
        told = run([*command, *rounds, *options]).rows[-1]
        rows = {part: told[part] for part in ("together", "decoding", "poses", "tracking", "labels")}
        bench.stages += [
            Stage(subject.name + name, part, row["rate"], row["seconds"], row["cpu"]) for part, row in rows.items()
        ]
        bench.tell(*efficiency(subject.name + name, rows, 0.85 if bench.device.startswith("cuda") else 0.9))


def efficiency(name: str, rows: dict[str, dict[str, float]], target: float) -> Iterator[Figure]:
    """The slowest stage alone against all together. rows: what `stages.py` tells of each."""
    together = rows.pop("together")
    slowest = max(rows, key=lambda part: rows[part]["seconds"])
    share = rows[slowest]["seconds"] / together["seconds"]
    networks = max(rows["poses"]["seconds"] + rows["labels"]["seconds"], rows["decoding"]["seconds"])
    work = sum(row["cpu"] for row in rows.values()) / CORES
    note = (
        f"warm seconds of the slowest stage alone, {slowest}, by those of all together; with poses and labels, which "
        f"share the device, as one stage {networks / together['seconds']:.2f}; "
        f"all stages' processor time on {CORES} cores {work / together['seconds']:.2f}"
    )
    yield Figure(f"{name}: efficiency", share, "", target, "above", note)


def first(bench: Benchmark, subject: Subject) -> None:
    """How long from the start of the process to the first label of ten seconds."""
    video = looped(subject.source, bench.folder / f"{subject.source.stem}-first.mp4", _SHORT)
    commands = {
        "poseact predict, 10 s": bench.predict(video),
        "poseact predict --fast, 10 s": bench.predict(video, options=["--fast"]),
    }
    runs = bench.take_turns(commands)
    bench.keep(subject.name, _SHORT, runs)
    for name, rounds in runs.items():
        seconds = median(each.first_label or each.seconds for each in rounds)
        bench.tell(Figure(f"{subject.name}: first label of {name}", seconds, "s", 8, "below", "from process start"))


def memory(bench: Benchmark, subject: Subject, minutes: float) -> None:
    """Peak memory of a long video against that of a minute; few frames are looked at, so that it takes minutes."""
    options = ["--fast", "--pose-fps", "2"]
    peaks = {}
    for length in (1.0, minutes):
        video = looped(subject.source, bench.folder / f"{subject.source.stem}-{length:g}.mp4", 60 * length)
        command = bench.predict(video, options=options)
        runs = {f"poseact predict {' '.join(options)}, {length:g} min": [run(command)]}
        peaks[length] = bench.keep(subject.name, 60 * length, runs).popitem()[1].peak_mb
        video.unlink()
    more = peaks[minutes] - peaks[1.0]
    name = f"{subject.name}: {minutes:g} minutes"
    bench.tell(
        Figure(f"{name}: peak memory beyond a minute's", more, "MB", 50, "below", f"a minute's: {peaks[1.0]:.0f} MB"),
        Figure(f"{name}: peak memory", peaks[minutes], "MB", 1500, "below"),
    )


def streaming_agreement(bench: Benchmark, sources: Sequence[Path]) -> None:
    """Labels of videos, frame by frame as they are decoded, against labels of their poses extracted beforehand."""
    for name, options, rate in (
        ("every frame", EVERY_FRAME, "1000"),
        (f"{DEFAULT_RATE:g} frames a second", ["--sampling", "dense"], f"{DEFAULT_RATE:g}"),
    ):
        same = windows = 0
        for source in sources:
            poses = bench.folder / f"{source.name}-{rate}.pkl"
            extract = [*POSEACT, "extract-poses", str(source), "-o", str(poses), "--subjects", "all", "-q"]
            run([*extract, "--device", bench.device, "--pose-fps", rate])
            streamed, whole = run(bench.predict(source, options=options)), run(bench.predict(poses))
            count = max(len(streamed.labels), len(whole.labels))
            windows += count
            same += round(agreement(streamed, whole) * count)
            typer.echo(f"  {source.name}: {agreement(streamed, whole):.3f} of {count} labels", err=True)
        note = f"{same} of {windows} windows of {len(sources)} videos have the label that the whole video's poses give"
        bench.tell(Figure(f"streaming against whole videos: labels, {name}", same / windows, "", 1, "above", note))


def several(bench: Benchmark, subject: Subject) -> None:
    """Eight copies of a video labelled at once, against one after the other in one process."""
    copies = [bench.folder / f"{subject.path.stem}-{number}.mp4" for number in range(_SEVERAL)]
    for copy in copies:
        copy.unlink(missing_ok=True)
        copy.symlink_to(subject.path.resolve())
    runs = bench.take_turns(
        {
            f"poseact predict, {_SEVERAL} videos, --at-once {count}": bench.predict(
                *copies, options=["--at-once", str(count)]
            )
            for count in (_SEVERAL, 1)
        }
    )
    at_once, in_turn = bench.keep(subject.name, _SEVERAL * subject.seconds, runs).values()
    ratio = in_turn.middle / at_once.middle
    target = 1.5 if bench.device.startswith("cuda") else None
    bench.tell(Figure(f"{subject.name}: {_SEVERAL} at once against in turn", ratio, "times", target, "above"))


def subject_of(text: str, folder: Path) -> Subject:
    """The video that VIDEO or VIDEO@SECONDS means, made if need be."""
    source, _, seconds = text.partition("@")
    path = Path(source)
    if seconds:
        path = looped(path, folder / f"{path.stem}-{seconds}s.mp4", float(seconds))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = sum(1 for packet in container.demux(stream) if packet.size)
        name = f"{path.name}, {stream.width}×{stream.height}"
        return Subject(name, path, Path(source), frames / float(stream.average_rate), frames)


def main(
    videos: Annotated[list[str], typer.Argument(metavar="VIDEO[@SECONDS]...")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Write OUTPUT.md and OUTPUT.json.")] = Path(
        "streaming"
    ),
    only: Annotated[str, typer.Option(metavar="FIGURE,...")] = ",".join(FIGURES),
    rounds: int = 3,
    device: str = "cpu",
    minutes: Annotated[float, typer.Option(help="Of the long video whose memory is measured.")] = 60,
    options: Annotated[str, typer.Option(help="More options for each `poseact predict`.")] = "",
) -> None:
    wanted = only.split(",")
    if unknown := set(wanted) - set(FIGURES):
        raise typer.BadParameter(f"--only takes of {', '.join(FIGURES)}, not {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Benchmark(device, rounds, shlex.split(options), folder)
        subjects = [] if wanted == ["agreement"] else [subject_of(video, folder) for video in videos]
        for subject in subjects:
            typer.echo(f"{subject.name}: {subject.frames} frames, {subject.seconds:.1f} s", err=True)
            for figure, measure in (("speed", speed), ("stages", stages)):
                if figure in wanted:
                    measure(bench, subject)
        if "first" in wanted:
            first(bench, subjects[-1])
        if "memory" in wanted:
            memory(bench, subjects[-1], minutes)
        if "several" in wanted:
            several(bench, subjects[-1])
        if "agreement" in wanted:
            streaming_agreement(bench, list(dict.fromkeys(Path(video.partition("@")[0]) for video in videos)))
        write_results(output, bench.timings, bench.stages, bench.figures, " ".join(["streaming.py", *sys.argv[1:]]))
    typer.echo(output.with_suffix(".md").read_text())


if __name__ == "__main__":
    typer.run(main)
