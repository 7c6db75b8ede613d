"""Small pictures of moments of a video, with the people in them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from .records import Moment, PersonAtMoment
from .video import open_video
from .video_poses import VideoPoses

if TYPE_CHECKING:
    from .extract import Progress

_WIDTH = 240
# Of WebP: at 240 pixels across, pictures of people then take about 3 KB.
_QUALITY = 45
_DECIMALS = 4
# Where damage cost the picture of a moment, one this many seconds later will do.
_LATEST = 0.5


def take_moments(
    source: Path, poses: VideoPoses, times: Sequence[float], on_progress: Progress | None = None
) -> list[Moment]:
    """A small picture of the video at each of `times` (seconds), and who is there, in the order of time.

    Pictures that none of them needs are not decoded where that can be avoided. Where none can be decoded, or the
    video is over, the moment has no picture. Raises InputError if nothing of the video can be read.
    """
    waiting = sorted(set(times))
    moments: list[Moment] = []
    with open_video(source) as video:
        half_frame = 0.5 / video.fps
        wanted = _NearestTo(waiting, half_frame)
        for frame in video.frames(wanted=wanted) if waiting else ():
            picture = None
            while waiting and waiting[0] <= frame.time + half_frame:
                time = waiting.pop(0)
                if frame.time - time > _LATEST:
                    moments.append(moment_at(poses, time))
                    continue
                picture = picture or _webp(frame.image)
                moments.append(moment_at(poses, time, picture, frame.time))
            if not waiting:
                break
            if on_progress:
                on_progress(frame.time, video.announced_end)
    return [*moments, *(moment_at(poses, time) for time in waiting)]


class _NearestTo:
    """Told the times of frames in order, says which of them are the nearest to some of `times`, in order as well."""

    def __init__(self, times: Sequence[float], half_frame: float):
        self._times, self._half_frame = list(times), half_frame
        self._passed = 0

    def __call__(self, time: float) -> bool:
        passed = bisect_right(self._times, time + self._half_frame)
        is_nearest = passed > self._passed
        self._passed = max(passed, self._passed)
        return is_nearest


def moment_at(poses: VideoPoses, time: float, picture: bytes | None = None, shown: float | None = None) -> Moment:
    """Who is there at `time` seconds. shown: the time of the picture, so that people are where it shows them."""
    people = poses.at(time if shown is None else shown)
    height, width = poses.image_size or (1, 1)
    places = people.keypoints / np.array([width, height], np.float32)
    rows = np.concatenate([np.where(people.scores[..., None] > 0, places, 0), people.scores[..., None]], axis=-1)
    everyone = (
        PersonAtMoment(int(track_id), tuple((x, y, score) for x, y, score in keypoints))
        for track_id, keypoints in zip(people.ids, np.round(rows.astype(float), _DECIMALS).tolist(), strict=True)
    )
    return Moment(time, tuple(everyone), picture)


def _webp(image: np.ndarray) -> bytes:
    height, width = image.shape[:2]
    if width > _WIDTH:
        size = (_WIDTH, max(1, round(height * _WIDTH / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    file = BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=_QUALITY, method=6)
    return file.getvalue()
