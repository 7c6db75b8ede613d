"""The report as a file."""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup

from .. import __version__
from ..errors import OutputError
from ..files import check_output, written_aside
from ..records import FailedVideo, LabelledVideo
from .contents import Contents
from .moments import moment_spool

_HERE = Path(__file__).parent
# Each uses only what stands before it; page.js starts them.
_SCRIPTS = (
    "dom",
    "data",
    "colours",
    "filter",
    "corrections",
    "figure",
    "timeline",
    "editor",
    "viewer",
    "table",
    "filterbar",
    "review",
    "charts",
    "page",
)
# Pictures are read from the page in pieces of about so many characters, each when it is first needed.
_PIECE = 1_000_000


def write_report(videos: Iterable[LabelledVideo], failed: Sequence[FailedVideo], output: Path, *, title: str) -> None:
    """Write one HTML file that shows videos, their labels and what failed; it needs no network and no other file.

    videos: read once and not kept; their pictures wait in a temporary file. Of those no more go into the page than keep
    it near 25 MB for 5,000 clips and 60 MB for any number. Links to the videos are relative to the output.
    Raises OutputError if the file cannot be written.
    """
    output = Path(output)
    check_output(output)
    try:
        with moment_spool() as spool:
            contents = Contents(output.absolute().parent, spool)
            for video in videos:
                contents.add(video)
            pictures, people = contents.choose_moments()
            parts = _template().generate(
                title=title,
                version=__version__,
                nonce=secrets.token_urlsafe(16),
                style=Markup(_source("page.css")),
                script=Markup("\n".join(_source(f"{name}.js") for name in _SCRIPTS)),
                data={"id": _name_of(output), **contents.as_dict(pictures, people)},
                failed=failed,
                pictures=_pieces(spool.pictures(pictures)),
                people="".join(spool.people(people)),
                plotly=_packed_plotly(),
            )
            # What is no text in a file's name, which Python keeps as lone surrogates, becomes a question mark.
            with written_aside(output) as aside, aside.open("w", encoding="utf-8", errors="replace") as file:
                file.writelines(parts)
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror or error}; choose another place") from error


def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template("template.html.j2")


def _source(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _name_of(output: Path) -> str:
    """What a browser keeps a report's corrections under: the same when the report is made again."""
    return hashlib.sha256(os.fsencode(output.resolve())).hexdigest()[:16]


def _pieces(texts: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Texts joined to longer ones, each with where in all of them it starts."""
    start, size, waiting = 0, 0, []
    for text in texts:
        waiting.append(text)
        size += len(text)
        if size >= _PIECE:
            yield start, "".join(waiting)
            start, size, waiting = start + size, 0, []
    if waiting:
        yield start, "".join(waiting)


def _packed_plotly() -> str:
    """Plotly's script, a third as long: gzip as base64, which browsers can read."""
    from plotly.offline import get_plotlyjs

    return b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode("ascii")
