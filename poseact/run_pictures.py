"""The pictures that a run without a report did not take."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from .errors import InputError
from .run_store import RunStore

log = logging.getLogger(__name__)

# Told how many videos are done, of how many.
Progress = Callable[[int, int], None]


def take_missing_pictures(store: RunStore, on_progress: Progress | None = None) -> None:
    """Take a picture of each moment that has none, where the video is at its place, and keep it in the store.

    Videos that cannot be read any more are reported through the logger. Raises OutputError.
    """
    from .thumbnails import take_moments
    from .video_poses import VideoPoses

    names = store.without_pictures()
    for done, name in enumerate(names):
        if on_progress:
            on_progress(done, len(names))
        path, moments = store.moments_of(name)
        if not path.exists():
            continue
        try:
            taken = take_moments(path, VideoPoses(), [moment.time for moment in moments])
        except InputError as error:
            log.warning("%s; the report has no pictures of it", error)
            continue
        pictures = {moment.time: moment.picture for moment in taken}
        store.replace_moments(name, [replace(m, picture=m.picture or pictures.get(m.time)) for m in moments])
    if on_progress:
        on_progress(len(names), len(names))
