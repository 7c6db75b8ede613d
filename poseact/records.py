"""What is known of each video of a run over many: the rows of its labels, moments to look at, or why it failed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .clips import ClipLabel


@dataclass(frozen=True)
class PersonAtMoment:
    """Somebody in a picture. person: the track id. keypoints: (x, y, score) of each, in the order of the layout; x and
    y as shares of the picture's width and height, score in [0, 1], 0: absent."""

    person: int
    keypoints: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Moment:
    """A moment of a video. time: seconds. picture: a WebP image, without skeletons; None if none was taken."""

    time: float
    people: tuple[PersonAtMoment, ...]
    picture: bytes | None = None


@dataclass(frozen=True)
class LabelledVideo:
    """What is known of a video.

    name: of the video among the others, see `sources.SourceVideo`; path: where it is. seconds: how long it is. size:
    (H, W) pixels. layout: of the keypoints, one of `skeleton.LAYOUTS` by its name. labels: its rows, in order. moments:
    in order of time.
    """

    name: str
    path: Path
    seconds: float
    size: tuple[int, int]
    layout: str
    labels: tuple[ClipLabel, ...]
    moments: tuple[Moment, ...] = ()


@dataclass(frozen=True)
class FailedVideo:
    """A video that could not be labelled. attempts: how often it was tried. error: one sentence."""

    name: str
    path: Path
    attempts: int
    error: str
