"""Videos with labels, as a report takes them, that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from poseact.clips import ClipLabel, LabelScore
from poseact.records import LabelledVideo, Moment, PersonAtMoment
from poseact.skeleton import COCO17

# Somebody who stands upright, (x, y) of each keypoint of coco17 as shares of the picture.
_STANDING = (
    *((0.5, 0.15), (0.48, 0.13), (0.52, 0.13), (0.46, 0.14), (0.54, 0.14), (0.42, 0.3), (0.58, 0.3), (0.38, 0.45)),
    *((0.62, 0.45), (0.36, 0.58), (0.64, 0.58), (0.45, 0.58), (0.55, 0.58), (0.44, 0.76), (0.56, 0.76)),
    *((0.43, 0.94), (0.57, 0.94)),
)


def clip(
    start: float, label: str | None, score: float | None, *, end: float | None = None, person: int | None = None
) -> ClipLabel:
    """A clip of two seconds, unless it ends elsewhere; the rest of the probability is `stand`'s."""
    top = () if score is None else (LabelScore(label or "run", score), LabelScore("stand", 1 - score))
    persons = 0 if score is None else 1
    return ClipLabel("v", int(start), start, start + 2 if end is None else end, person, label, score, top, persons)


def somebody(person: int, shift: float = 0.0, score: float = 0.9) -> PersonAtMoment:
    """Somebody who stands upright, `shift` of the picture's width to the right of its middle."""
    return PersonAtMoment(person, tuple((x + shift, y, score) for x, y in _STANDING))


def picture(red: int = 90, size: tuple[int, int] = (96, 54)) -> bytes:
    """A WebP image of one colour. size: (W, H)."""
    written = BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), (red, 120, 140), np.uint8)).save(written, "WEBP", quality=50)
    return written.getvalue()


def video(
    name: str,
    clips: Sequence[ClipLabel],
    *,
    path: Path | None = None,
    people: Sequence[int] = (1,),
    with_pictures: bool = True,
) -> LabelledVideo:
    """A video with a moment in the middle of each of its clips."""
    seconds = max((each.end for each in clips), default=4.0)
    moments = tuple(
        Moment(
            middle,
            tuple(somebody(person, 0.2 * i) for i, person in enumerate(people)),
            picture(20 * i % 256) if with_pictures else None,
        )
        for i, middle in enumerate(sorted({(each.start + each.end) / 2 for each in clips}))
    )
    return LabelledVideo(name, path or Path("/videos") / name, seconds, (54, 96), COCO17.name, tuple(clips), moments)
