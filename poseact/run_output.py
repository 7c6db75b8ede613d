"""What a run over many videos leaves in its folder: tables of all labels, files for each video, a summary, a report."""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TextIO

from .errors import OutputError, UsageError
from .records import LabelledVideo
from .run_store import FILE, RunStore
from .sinks import open_sink
from .sinks.jsonl import json_line
from .sorting import shortened
from .sources import SourceVideo
from .summary import summarise, write_failures, write_summary

# Of all videos together, and beside each other for each of them, by the names of sinks.
TABLES = {"jsonl": "labels.jsonl", "csv": "labels.csv", "parquet": "labels.parquet"}
BESIDE = {"srt": ".srt", "vtt": ".vtt", "elan": ".eaf"}
FORMATS = (*TABLES, *BESIDE)
# The folder of what is written for each video, and what libraries write into while the run goes on.
VIDEOS, SCRATCH = "videos", ".work"
_SUMMARY, _FAILURES, _REPORT = "summary.json", "failures.csv", "report.html"


class RunOutput:
    """The files of a run in OUT. formats: of `FORMATS`. names: of all videos, which tell what the files of each are
    called. per_person: what the rows are of."""

    def __init__(self, folder: Path, formats: Sequence[str], names: Iterable[str], per_person: bool):
        unknown = [name for name in formats if name not in FORMATS]
        if unknown:
            raise UsageError(f"there is no format {unknown[0]!r}; choose of {', '.join(FORMATS)}")
        self.folder, self._per_person = folder, per_person
        self._tables = [name for name in formats if name in TABLES]
        self._beside = [name for name in formats if name in BESIDE]
        self._stems = _stems(list(names))
        self._lines: TextIO | None = None

    @property
    def scratch(self) -> Path:
        return self.folder / SCRATCH

    def make_scratch(self) -> None:
        """An empty folder. Raises OutputError."""
        with _explained(self.scratch):
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir()

    def check(self, videos: Iterable[SourceVideo]) -> None:
        """Raises UsageError if the folder holds files of such names that are of no run, or the videos themselves are
        where its files go; OutputError if it is none."""
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputError(f"{self.folder} is a file; give the name of a folder")
        results = Path(os.path.realpath(self.folder / VIDEOS))
        for folder in {video.path.parent for video in videos}:
            if Path(os.path.realpath(folder)).is_relative_to(results):
                raise UsageError(
                    f"what is written for each video goes into {results}, and {folder} holds videos to be "
                    "labelled, which could be lost; choose another output"
                )
        strangers = () if (self.folder / FILE).exists() else (p for p in self._of_a_run() if p.exists())
        for path in strangers:
            raise UsageError(f"{path} is there and of no run, so it would be lost; choose another output")

    def remove(self) -> None:
        """Remove all that a run has left."""
        for path in [*self._of_a_run(), *(self.folder / f"{FILE}{end}" for end in ("", "-wal", "-shm"))]:
            with _explained(path):
                path.unlink(missing_ok=True)

    def clear(self, name: str) -> None:
        """Remove the files of one video, which may be of what it was before it changed. Raises OutputError."""
        for path in self._all_of(name):
            with _explained(path):
                path.unlink(missing_ok=True)

    def _of_a_run(self) -> Iterator[Path]:
        yield from (self.folder / name for name in (*TABLES.values(), _SUMMARY, _FAILURES, _REPORT))
        if (self.folder / VIDEOS).is_dir():
            for name in self._stems:
                yield from self._all_of(name)

    def _all_of(self, name: str) -> list[Path]:
        return [self.beside(name, ending) for ending in (*BESIDE.values(), ".mp4")]

    def beside(self, name: str, ending: str) -> Path:
        """The file of one video."""
        return self.folder / VIDEOS / f"{self._stems[name]}{ending}"

    def _files_of(self, name: str) -> list[Path]:
        return [self.beside(name, BESIDE[format]) for format in self._beside]

    def begin(self, store: RunStore) -> None:
        """Have the files say what is known by now, and be ready for more."""
        self._remove_halves()
        if "jsonl" in self._tables:
            self._write_table("jsonl", store)
            path = self.folder / TABLES["jsonl"]
            with _explained(path):
                self._lines = path.open("a", encoding="utf-8", newline="")
        if self._beside:
            for video in store.labelled(with_moments=False):
                if video.name in self._stems and any(not path.exists() for path in self._files_of(video.name)):
                    self._write_beside(video)

    def _remove_halves(self) -> None:
        """What a kill left half written: labels.csv.part, a.srt.2.part, a.mp4.x1y2.part."""
        ours = set(self._of_a_run())
        for part in [*self.folder.glob("*.part"), *(self.folder / VIDEOS).rglob("*.part")]:
            if part.with_suffix("") in ours or part.with_suffix("").with_suffix("") in ours:
                with _explained(part):
                    part.unlink(missing_ok=True)

    def add(self, video: LabelledVideo) -> None:
        """Write what is known of one more video. Raises OutputError."""
        if self._lines is not None:
            with _explained(self.folder / TABLES["jsonl"]):
                self._lines.write("".join(json_line(row) for row in video.labels))
                self._lines.flush()
        self._write_beside(video)

    def finish(self, store: RunStore, report: bool) -> None:
        """Write everything anew, in the order in which the videos were named. Raises OutputError."""
        if self._lines is not None:
            with contextlib.suppress(OSError):  # what could not be written comes now, or is told now
                self._lines.close()
        for name in self._tables:
            self._write_table(name, store)
        failed = store.failed()
        summary = summarise(store.labelled(with_moments=False), failed)
        write_summary(summary, self.folder / _SUMMARY)
        write_failures(failed, self.folder / _FAILURES)
        if report:
            self.write_report(store, self.folder / _REPORT)

    def write_report(self, store: RunStore, output: Path) -> None:
        from .report import write_report

        write_report(store.labelled(), store.failed(), output, title=self.folder.absolute().name)

    def _write_table(self, format: str, store: RunStore) -> None:
        with open_sink(self.folder / TABLES[format], format, True, self._per_person) as sink:
            for video in store.labelled(with_moments=False):
                for row in video.labels:
                    sink.write(row)

    def _write_beside(self, video: LabelledVideo) -> None:
        for format, path in zip(self._beside, self._files_of(video.name), strict=True):
            with _explained(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
            with open_sink(path, format, False, self._per_person) as sink:
                for row in video.labels:
                    sink.write(row)


def _stems(names: Sequence[str]) -> dict[str, str]:
    """What the files of each video are called: its name without the ending, or with it where another's is the same."""
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    count = Counter(stems.values())
    is_own = {name: count[stem] == 1 and (stem == name or stem not in stems) for name, stem in stems.items()}
    return {name: _short(stem if is_own[name] else name) for name, stem in stems.items()}


def _short(name: str) -> str:
    """The name, its last part so short that endings fit behind it and still another than all others."""
    path = PurePosixPath(name)
    own = f"~{zlib.crc32(os.fsencode(name)):08x}"
    return name if shortened(path.name) == path.name else str(path.with_name(shortened(path.name)[: -len(own)] + own))


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}; free some space or choose another output"
        ) from error
