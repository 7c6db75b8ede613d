"""What a run over many videos has come to, in a file that outlives a kill and a power cut."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .clips import ClipLabel, LabelScore
from .errors import InputError, OutputError, UsageError
from .files import readable
from .records import FailedVideo, LabelledVideo, Moment, PersonAtMoment
from .sources import SourceVideo, stamp_of

FILE = "run.sqlite"
# The stamp of a file that is not there.
_GONE = "not there"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS videos (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,   -- in the order in which they were named
    path BLOB NOT NULL,          -- absolute, as the file system has it
    stamp TEXT NOT NULL,         -- size and time of change, see sources.stamp_of
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    seconds REAL,
    height INTEGER,
    width INTEGER,
    layout TEXT,
    labels TEXT                  -- JSON: the rows, as ClipLabel has them
);
CREATE INDEX IF NOT EXISTS by_state ON videos (state, position);
CREATE TABLE IF NOT EXISTS moments (
    video TEXT NOT NULL REFERENCES videos (name),
    time REAL NOT NULL,
    people BLOB NOT NULL,        -- JSON, compressed
    picture BLOB                 -- WebP
);
CREATE INDEX IF NOT EXISTS of_video ON moments (video, time);
"""


class RunStore:
    """The state of a run in OUT/run.sqlite: the videos, what is known of each, and by which settings.

    Every change is on the disk when its method returns. Names of videos must be text, see `files.readable`. Raises
    OutputError if the file cannot be written.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._path = folder / FILE
        with self._told():
            self._database = sqlite3.connect(self._path, isolation_level=None)
            # On file systems that cannot have a WAL, SQLite keeps the journal that it had.
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The settings by which everything in a run was made.

    @property
    def settings(self) -> dict[str, str]:
        return dict(self._all("SELECT name, value FROM settings"))

    def check_settings(self, settings: Mapping[str, str]) -> None:
        """Raises UsageError if the run was begun with others, naming them."""
        before = self.settings
        changed = [name for name in {**before, **settings} if before.get(name, "") != settings.get(name, "")]
        if before and changed:
            told = ", ".join(
                f"{name} was {before.get(name) or 'not set'} and is now {settings.get(name) or 'not set'}"
                for name in changed[:3]
            )
            raise UsageError(
                f"{self.folder} was begun with other settings ({told}); give the same, choose another output, or "
                "begin anew with --restart"
            )

    # What is to be done.

    def begin(self, settings: Mapping[str, str], videos: Sequence[SourceVideo]) -> None:
        """Note the videos of a run, and of those that are known already what has changed: one that is another file now
        is to be done again, one that failed is to be tried again.

        Raises UsageError if one would take the place of another that is still there.
        """
        rows = self._all("SELECT name, path, stamp, state FROM videos")
        known = {name: (bytes(path), stamp, state) for name, path, stamp, state in rows}
        last = self._all("SELECT coalesce(max(position), -1) FROM videos")[0][0]
        with self._change() as database:
            database.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", list(settings.items()))
            database.execute("UPDATE videos SET state = 'waiting', attempts = 0, error = NULL WHERE state = 'failed'")
            for position, video in enumerate(videos, last + 1):
                name, path, stamp = video.name, _bytes_of(video.path), _stamp(video.path)
                if name not in known:
                    row = (name, position, path, stamp)
                    database.execute("INSERT INTO videos (name, position, path, stamp) VALUES (?, ?, ?, ?)", row)
                    continue
                if stamp == _GONE and known[name][2] == "done":  # a disk that is off today; its labels still hold
                    continue
                if known[name][1] != stamp:
                    self._check_that_no_other_is_lost(video, known[name][0])
                    database.execute("DELETE FROM moments WHERE video = ?", (name,))
                    database.execute(
                        "UPDATE videos SET stamp = ?, state = 'waiting', attempts = 0, labels = NULL WHERE name = ?",
                        (stamp, name),
                    )
                database.execute("UPDATE videos SET path = ? WHERE name = ?", (path, name))

    def _check_that_no_other_is_lost(self, video: SourceVideo, known: bytes) -> None:
        if known != _bytes_of(video.path) and os.path.exists(known):
            raise UsageError(
                f"{self.folder} has labels of another {video.name}, {readable(os.fsdecode(known))}, which would be "
                "lost; choose another output"
            )

    def named_as_before(self, videos: Sequence[SourceVideo]) -> list[SourceVideo]:
        """The videos, those that are known under the names that they have here: which folders are named beside
        theirs may lengthen or shorten names, and the same video would be there twice."""
        known = {bytes(path): name for name, path in self._all("SELECT name, path FROM videos")}
        taken = {video.name for video in videos}
        before = (known.get(_bytes_of(video.path), video.name) for video in videos)
        return [
            video if name in taken else replace(video, name=name) for video, name in zip(videos, before, strict=True)
        ]

    def waiting(self, videos: Iterable[SourceVideo]) -> list[SourceVideo]:
        """Those of the videos that are to be done."""
        names = {name for (name,) in self._all("SELECT name FROM videos WHERE state = 'waiting'")}
        return [video for video in videos if video.name in names]

    def undone(self, videos: Iterable[SourceVideo]) -> list[SourceVideo]:
        """Those of the videos of which nothing is known, since they are new, have changed or failed. One that is known
        and not there any more is not among them."""
        done = dict(self._all("SELECT name, stamp FROM videos WHERE state = 'done'"))
        return [v for v in videos if v.name not in done or _stamp(v.path) not in (done[v.name], _GONE)]

    # What has come of it.

    def count_attempt(self, name: str) -> None:
        with self._change() as database:
            database.execute("UPDATE videos SET attempts = attempts + 1 WHERE name = ?", (name,))

    def finish(self, video: LabelledVideo) -> None:
        """Note what is known of a video now."""
        rows = json.dumps([asdict(row) for row in video.labels], ensure_ascii=False)
        with self._change() as database:
            database.execute(
                "UPDATE videos SET state = 'done', error = NULL, seconds = ?, height = ?, width = ?, layout = ?, "
                "labels = ? WHERE name = ?",
                (video.seconds, *video.size, video.layout, rows, video.name),
            )
            self._put_moments(database, video.name, video.moments)

    def replace_moments(self, name: str, moments: Iterable[Moment]) -> None:
        """Note other moments of a video."""
        with self._change() as database:
            self._put_moments(database, name, moments)

    def _put_moments(self, database: sqlite3.Connection, name: str, moments: Iterable[Moment]) -> None:
        database.execute("DELETE FROM moments WHERE video = ?", (name,))
        rows = [(name, moment.time, _packed(moment.people), moment.picture) for moment in moments]
        database.executemany("INSERT INTO moments VALUES (?, ?, ?, ?)", rows)

    def fail(self, name: str, error: str) -> None:
        """Note that a video cannot be labelled."""
        with self._change() as database:
            database.execute(
                "UPDATE videos SET state = 'failed', error = ?, labels = NULL WHERE name = ?", (error, name)
            )

    # What is known.

    def counts(self) -> dict[str, int]:
        """How many videos are waiting, done and failed."""
        found = dict(self._all("SELECT state, count(*) FROM videos GROUP BY state"))
        return {state: found.get(state, 0) for state in ("waiting", "done", "failed")}

    def labelled(self, with_moments: bool = True) -> Iterator[LabelledVideo]:
        """The videos that are done, in the order in which they were named; read as they are asked for."""
        query = (
            "SELECT name, path, seconds, height, width, layout, labels FROM videos WHERE state = 'done' "
            "ORDER BY position"
        )
        with self._told():
            for name, path, seconds, height, width, layout, labels in self._database.execute(query):
                yield LabelledVideo(
                    name=name,
                    path=_path_of(path),
                    seconds=seconds,
                    size=(height, width),
                    layout=layout,
                    labels=tuple(_row(values) for values in json.loads(labels)),
                    moments=self._moments(name) if with_moments else (),
                )

    def failed(self) -> list[FailedVideo]:
        """The videos that failed, in the order in which they were named."""
        query = "SELECT name, path, attempts, error FROM videos WHERE state = 'failed' ORDER BY position"
        return [FailedVideo(name, _path_of(path), attempts, error) for name, path, attempts, error in self._all(query)]

    def without_pictures(self) -> list[str]:
        """The names of the videos with a moment of which there is no picture."""
        return [name for (name,) in self._all("SELECT DISTINCT video FROM moments WHERE picture IS NULL")]

    def moments_of(self, name: str) -> tuple[Path, tuple[Moment, ...]]:
        """Where a video is, and its moments."""
        ((path,),) = self._all("SELECT path FROM videos WHERE name = ?", (name,))
        return _path_of(path), self._moments(name)

    def _moments(self, name: str) -> tuple[Moment, ...]:
        query = "SELECT time, people, picture FROM moments WHERE video = ? ORDER BY time"
        return tuple(Moment(time, _unpacked(people), picture) for time, people, picture in self._all(query, (name,)))

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[tuple]:
        with self._told():
            return self._database.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(
                f"the state of the run, {self._path}, cannot be used: {error}; free space or choose another output"
            ) from error


def open_run(folder: Path) -> RunStore:
    """A run that was begun in this folder. Raises InputError if none was."""
    if not (folder / FILE).is_file():
        raise InputError(f"{folder} holds no run of `poseact label` (there is no {FILE}); check the path")
    return RunStore(folder)


def _bytes_of(path: Path) -> bytes:
    return os.fsencode(os.path.abspath(path))


def _path_of(stored: bytes) -> Path:
    return Path(os.fsdecode(stored))


def _stamp(path: Path) -> str:
    try:
        return stamp_of(path)
    except InputError:
        return _GONE


def _row(values: dict[str, Any]) -> ClipLabel:
    return ClipLabel(**{**values, "top": tuple(LabelScore(**score) for score in values["top"])})


def _packed(people: Sequence[PersonAtMoment]) -> bytes:
    rounded = [(p.person, [[round(value, 3) for value in keypoint] for keypoint in p.keypoints]) for p in people]
    return zlib.compress(json.dumps(rounded, separators=(",", ":")).encode())


def _unpacked(stored: bytes) -> tuple[PersonAtMoment, ...]:
    return tuple(
        PersonAtMoment(person, tuple((x, y, score) for x, y, score in keypoints))
        for person, keypoints in json.loads(zlib.decompress(stored))
    )
