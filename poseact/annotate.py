"""A video with what was found drawn on it: a second pass over its pictures, with the poses and labels of the first."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from .clips import ClipLabel
from .drawing import Drawing
from .errors import InputError, OutputError
from .files import check_output, written_aside
from .mp4 import Mp4
from .timeline import Timeline
from .video import Frame, Video, open_video
from .video_poses import PeopleAt, VideoPoses

if TYPE_CHECKING:
    from .extract import Progress

log = logging.getLogger(__name__)


def annotate_video(
    source: Path,
    output: Path,
    poses: VideoPoses,
    labels: Sequence[ClipLabel],
    on_progress: Progress | None = None,
) -> None:
    """Write an MP4 of `source` with skeletons, boxes, ids, labels and a bar of the labels over time drawn on it.

    It has the pictures that can be decoded, upright, at their own times, in their own size (an odd side becomes a
    pixel longer) and in 8 bits, and the sound. labels: clips or segments, of each person or of all, see `Timeline`.
    What was at `output` before stays until all is written.
    Raises InputError if the video cannot be read, OutputError if the file cannot be written, UsageError if that would
    overwrite the source.
    """
    check_output(output, [source])
    try:
        try:
            _write(source, output, poses, labels, on_progress, with_sound=True)
        except (av.InvalidDataError, av.ArgumentError) as error:
            _write(source, output, poses, labels, on_progress, with_sound=False)
            log.warning("%s: its sound is broken (%s), so %s has none", source, error.strerror, output)
    except (av.FFmpegError, OSError) as error:
        raise OutputError(_why_not(output, error)) from error


def _write(
    source: Path,
    output: Path,
    poses: VideoPoses,
    labels: Sequence[ClipLabel],
    on_progress: Progress | None,
    with_sound: bool,
) -> None:
    with open_video(source) as video, written_aside(output) as aside:
        frames = _lasting(video)
        first = next(frames, None)
        if first is None:
            raise InputError(f"{source}: no frame can be converted; the file is damaged, try to export it again")
        size = first[0].image.shape[:2]
        drawing = Drawing(size, poses.layout, Timeline(labels), video.announced_end or poses.seconds)
        with Mp4(aside, source, size, video.fps, with_sound=with_sound) as mp4:
            for frame, seconds in chain([first], frames):
                image = _fitted(frame.image, size)
                drawing.draw(image, _scaled(poses.at(frame.time), poses.image_size, size), frame.time)
                mp4.write(image, frame.time, seconds)
                if on_progress:
                    on_progress(frame.time, video.announced_end)


def _lasting(video: Video) -> Iterator[tuple[Frame, float]]:
    """The frames of a video, and how many seconds each of them is to be seen."""
    before: Frame | None = None
    for frame in video.frames():
        if before is not None:
            yield before, frame.time - before.time
        before = frame
    if before is not None:
        yield before, max(0.0, video.end - before.time)


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture to draw on, of (H, W) pixels, even if the video's change their size."""
    if image.shape[:2] != size:
        return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return image if image.flags.writeable else image.copy()


def _scaled(people: PeopleAt, found_in: tuple[int, int] | None, size: tuple[int, int]) -> PeopleAt:
    """People in pixels of a picture of `size`, of those of another one; both (H, W)."""
    if found_in is None or tuple(found_in) == tuple(size):
        return people
    scale = np.array([size[1] / found_in[1], size[0] / found_in[0]], np.float32)
    return replace(people, boxes=people.boxes * np.tile(scale, 2), keypoints=people.keypoints * scale)


def _why_not(output: Path, error: av.FFmpegError | OSError) -> str:
    cure = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "choose another place"
    return f"{output} cannot be written: {(error.strerror or str(error)).lower()}; {cure}"
