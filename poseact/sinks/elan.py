"""ELAN (.eaf): a tier for each person and the video beside them, written by pympi."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ..clips import ClipLabel
from .base import VideoSink
from .spans import legible, milliseconds, person_name, plain, spans_of

if TYPE_CHECKING:
    from pympi import Eaf

# The tier of labels that are of a clip, not of a person.
CLIP_TIER = "clip"
# What ELAN writes for a video that it knows no name for.
_ANY_VIDEO = "video/*"


class ElanSink(VideoSink):
    is_binary = True

    def content(self, clips: list[ClipLabel]) -> bytes:
        from pympi.Elan import to_adocument

        document = ElementTree.tostring(to_adocument(self._eaf(clips)), encoding="UTF-8", xml_declaration=True)
        return document + b"\n"

    def _eaf(self, clips: list[ClipLabel]) -> Eaf:
        from pympi import Eaf

        eaf = Eaf(author="PoseAct")
        eaf.remove_tier("default")
        # pympi's own writes the minutes of the time zone as seconds.
        eaf.adocument["DATE"] = datetime.now().astimezone().isoformat(timespec="seconds")
        if clips:
            self._link_video(eaf, clips[0].source)
        for person in _tiers(clips):
            eaf.add_tier(_tier(person), part=None if person is None else person_name(person))
        for span in spans_of(clips):
            start, end = milliseconds(span.start), milliseconds(span.end)
            if start < end:
                eaf.add_annotation(_tier(span.person), start, end, plain(span.label or ""))
        eaf.properties = [("lastUsedAnnotationId", eaf.maxaid)]
        _sort_times(eaf)
        return eaf

    def _link_video(self, eaf: Eaf, source: str) -> None:
        """ELAN looks for the video by its relative name too, if the folder has moved. It takes both as they are: no
        character of a name is escaped."""
        if not os.path.isfile(source):
            return
        path = os.path.abspath(source)
        folder = os.path.dirname(os.path.realpath(self.output)) if self.output else os.getcwd()
        kind = mimetypes.guess_type(Path(path).name)[0] or ""
        eaf.add_linked_file(
            legible("file:///" + Path(path).as_posix().lstrip("/")),
            legible(_relative(path, folder)),
            kind if kind.startswith("video/") else _ANY_VIDEO,
        )


def _tiers(clips: Sequence[ClipLabel]) -> list[int | None]:
    """Whose tiers there are, people in the order of their ids. The clips in which nobody is are nobody's."""
    people = sorted({clip.person for clip in clips if clip.person is not None})
    is_of_clip = not people or any(clip.person is None and clip.label is not None for clip in clips)
    return [None, *people] if is_of_clip else [*people]


def _tier(person: int | None) -> str:
    return CLIP_TIER if person is None else person_name(person)


def _relative(path: str, folder: str) -> str:
    try:
        relative = Path(os.path.relpath(os.path.realpath(path), folder)).as_posix()
    except ValueError:  # on another of Windows' drives
        return f"./{Path(path).name}"
    return relative if relative.startswith("../") else f"./{relative}"


def _sort_times(eaf: Eaf) -> None:
    """Number the slots of time in their order, which is the one in which pympi writes them."""
    new = {old: f"ts{number}" for number, old in enumerate(sorted(eaf.timeslots, key=eaf.timeslots.get), 1)}
    eaf.timeslots = {new[old]: time for old, time in eaf.timeslots.items()}
    for aligned, *_ in eaf.tiers.values():
        for name, (start, end, *rest) in aligned.items():
            aligned[name] = (new[start], new[end], *rest)
