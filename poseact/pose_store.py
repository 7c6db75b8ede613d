"""Poses of many videos, each kept as soon as it is there, so that a kill loses no more than the video in hand."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from .errors import InputError, OutputError
from .poses import Annotation, PoseFile, is_pose_file, load_poses, save_poses

log = logging.getLogger(__name__)

# Among the stamps, which stand by the names of videos; none of those begins so.
_SETTINGS = "/settings"
_WHOLE = "whole"


class PoseStore:
    """An output that is complete or not there, and beside it, until it is, a folder OUTPUT.parts with one pose file
    for each video that is done.

    settings: what the poses are extracted with; poses of other settings are never given back. Of each video a stamp
    is kept too, see `sources.stamp_of`: of a video that has changed since, nothing is given back either.
    """

    def __init__(self, output: Path, settings: str):
        self.output = output
        self.parts = output.with_name(output.name + ".parts")
        self.settings = settings

    @cached_property
    def finished(self) -> PoseFile | None:
        """The complete file from before; None if there is none, or if the output is no pickle in the end. Raises
        OutputError if that is another file, whose content nobody asked to lose."""
        if not is_pose_file(self.output) or not self.output.exists():
            return None
        try:
            file = load_poses(self.output)
        except InputError as error:
            raise OutputError(f"{error}, so it is not written over; move it, or choose another output") from error
        if _SETTINGS not in file.notes:
            raise OutputError(
                f"{self.output}, where the poses would be kept, is another file; move it, or choose another output"
            )
        return file

    @property
    def begun(self) -> list[Path]:
        """The parts of a file that is not complete."""
        return sorted(self.parts.glob("*.pkl"))

    def strangers(self, names: Iterable[str]) -> list[str]:
        """The videos whose poses are there though they have none of these names."""
        known = set(names)
        own = {self._part(name) for name in known}
        files = [_read(path) for path in self.begun if path not in own] + [self.finished]
        return sorted({name for file in files if file is not None for name in file.annotations} - known)

    def other_settings(self) -> str | None:
        """What is there was made with these settings, which are not ours; None if it is ours or nothing is there."""
        for path in self.begun:
            file = _read(path)
            if file is not None:
                return None if file.notes.get(_SETTINGS) == self.settings else file.notes.get(_SETTINGS, "unknown")
        if self.finished is None or self.finished.notes[_SETTINGS] == self.settings:
            return None
        return self.finished.notes[_SETTINGS]

    def open(self) -> None:
        """Make the folder of parts. Raises OutputError if nothing can be written there."""
        try:
            self.parts.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.parts} cannot be made: {error.strerror}; choose another output") from error

    def find(self, name: str, stamp: str) -> Annotation | None:
        """What is kept of a video; None if that is nothing, or cannot be read, or is of other settings."""
        path = self._part(name)
        for file in (_read(path) if path.exists() else None, self.finished):
            if file is not None and file.notes.get(name) == stamp and file.notes.get(_SETTINGS) == self.settings:
                return file.annotations.get(name)
        return None

    def keep(self, annotation: Annotation, stamp: str) -> None:
        """Write the poses of one video. Raises OutputError."""
        notes = {_SETTINGS: self.settings, annotation.name: stamp}
        save_poses([annotation], {}, self._part(annotation.name), notes)

    def finish(
        self, annotations: Iterable[Annotation], splits: Mapping[str, Sequence[str]], stamps: Mapping[str, str]
    ) -> None:
        """Write the complete pose file and remove the parts. stamps: by annotations' names. Raises OutputError."""
        # Made among the parts, so that what a kill leaves behind is not left for ever.
        whole = self.parts / _WHOLE
        save_poses(annotations, splits, whole, {_SETTINGS: self.settings, **stamps})
        try:
            os.replace(whole, self.output)
        except OSError as error:
            raise OutputError(f"the pose file {self.output} cannot be written: {error.strerror}") from error
        self.remove_parts()

    def remove_parts(self) -> None:
        shutil.rmtree(self.parts, ignore_errors=True)

    def _part(self, name: str) -> Path:
        return self.parts / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:24]}.pkl"


def _read(path: Path) -> PoseFile | None:
    try:
        return load_poses(path)
    except InputError as error:
        log.warning("%s; its video is looked at again", error)
        return None
