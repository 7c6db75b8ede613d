"""What has come of a download so far, and of which file, so that the parts of two files are never put together."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from requests import Response


@dataclass(frozen=True)
class Identity:
    """Which file of which server: equal for two answers whose bytes can be put together. length: bytes."""

    url: str
    etag: str | None
    last_modified: str | None
    length: int | None

    @classmethod
    def of(cls, url: str, answer: Response) -> Identity:
        """That of the whole file, of which the answer may be a part. url: as asked for, before redirections."""
        headers = answer.headers
        ranged = re.fullmatch(r"bytes \d+-\d+/(\d+)", headers.get("Content-Range", ""))
        length = ranged[1] if ranged else None if answer.status_code == 206 else headers.get("Content-Length")
        number = int(length) if length and length.isdecimal() else None
        return cls(url, headers.get("ETag"), headers.get("Last-Modified"), number)


class Partial:
    """The bytes that are here of what is to become `target` (`target.part`), and a note of which file they are of
    (`target.part.json`). Its methods raise OSError where the disk does."""

    def __init__(self, target: Path):
        self.path = target.with_name(target.name + ".part")
        self.note = target.with_name(target.name + ".part.json")

    @property
    def size(self) -> int:
        """Bytes that are here, whatever they are of."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def identity(self) -> Identity | None:
        """Which file they are of; None if that is not known."""
        try:
            return Identity(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def done(self, url: str) -> int:
        """How many bytes can be gone on from: none if a changed file could not be told from the same one."""
        of = self.identity
        if of is None or of.url != url or not (of.etag or of.last_modified):
            return 0
        return self.size if of.length is None or self.size <= of.length else 0

    def is_whole(self, url: str) -> bool:
        """Whether nothing is missing of the URL's file."""
        of = self.identity
        return of is not None and 0 < self.done(url) == of.length

    def begin(self, identity: Identity) -> None:
        """Start with none of the bytes of a file."""
        self.path.write_bytes(b"")  # first, since the note must never stand beside another file's bytes
        self.note.write_text(json.dumps(asdict(identity)), encoding="utf-8")

    def discard(self) -> None:
        """Leave nothing."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
