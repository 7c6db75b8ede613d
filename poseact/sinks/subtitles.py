"""Subtitles for players: SubRip (.srt) and WebVTT (.vtt), written by pysubs2."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ..clips import ClipLabel
from .base import VideoSink
from .spans import milliseconds, person_name, plain, spans_of

# After these players, or pysubs2, see markup; an invisible character between them prevents it.
_MARKUP = re.compile(r"(?<=[<{\\])|(?<=--)(?=>)")
_WORD_JOINER = "\u2060"

# [start, end) in milliseconds, and a line for each person.
Cue = tuple[int, int, tuple[str, ...]]


def cues_of(spans: Sequence[ClipLabel]) -> Iterator[Cue]:
    """What is shown when, in order and never two at a time, since players put those one above the other as they
    please. spans: of one video, those of a person must not overlap.

    person 1: a in [0, 4), person 2: b in [2, 6) -> [0, 2) a, [2, 4) a and b, [4, 6) b.
    """
    times = [(milliseconds(span.start), milliseconds(span.end)) for span in spans]
    begins: dict[int, list[ClipLabel]] = {}
    ends: dict[int, list[ClipLabel]] = {}
    for span, (start, end) in zip(spans, times, strict=True):
        if start < end:
            begins.setdefault(start, []).append(span)
            ends.setdefault(end, []).append(span)
    shown: dict[int | None, ClipLabel] = {}
    shape: Cue | None = None
    for now, then in pairwise(sorted({*begins, *ends})):
        for span in ends.get(now, ()):
            del shown[span.person]
        shown.update({span.person: span for span in begins.get(now, ())})
        lines = tuple(_line(span) for span in sorted(shown.values(), key=lambda span: span.person or 0))
        if shape is not None and (shape[1], shape[2]) == (now, lines):
            shape = (shape[0], then, lines)
            continue
        if shape is not None:
            yield shape
        shape = (now, then, lines) if lines else None
    if shape is not None:
        yield shape


def _line(span: ClipLabel) -> str:
    label = plain(span.label or "")
    return label if span.person is None else f"{person_name(span.person)}: {label}"


class _SubtitleSink(VideoSink):
    """name: of the format, as pysubs2 calls it."""

    name = ""

    def text(self, line: str) -> str:
        """A line as the format wants it."""
        return _MARKUP.sub(_WORD_JOINER, line)

    def content(self, clips: list[ClipLabel]) -> str:
        from pysubs2 import SSAEvent, SSAFile

        subtitles = SSAFile()
        for start, end, lines in cues_of(spans_of(clips)):
            subtitles.append(SSAEvent(start, end, r"\N".join(map(self.text, lines))))
        written = io.StringIO()
        # SubRip's `{` and `\` are no markup of SubStation's, which pysubs2 would take out.
        subtitles.to_file(written, self.name, keep_ssa_tags=True)
        return written.getvalue()


class SrtSink(_SubtitleSink):
    name = "srt"


class VttSink(_SubtitleSink):
    name = "vtt"

    def text(self, line: str) -> str:
        return super().text(html.escape(line, quote=False))
