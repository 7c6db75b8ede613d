"""`--save-video` of `poseact predict`: where the drawn videos go, and drawing them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutputError, UsageError
from .console import SourcesBar

if TYPE_CHECKING:
    from ..clips import ClipLabel
    from ..poses import PoseSequence
    from ..video_poses import VideoPoses


class Drawing:
    """Collects the poses and the rows of videos, to draw them when all are labelled.

    output: a file for one video, or a folder, which is made. Raises UsageError if a source is no video file, or a
    video would be overwritten; OutputError if nothing can be written there.
    """

    def __init__(self, videos: Sequence[str], output: Path):
        from ..addresses import address_of
        from ..poses import is_pose_file

        for video in videos:
            if is_pose_file(video) or address_of(video) is not None:
                raise UsageError(f"--save-video draws into video files, and {video} is none; leave one of them out")
        self._videos = [Path(video) for video in videos]
        self._targets = self._choose_targets(output)
        self._poses: dict[int, VideoPoses] = {}
        self._rows: dict[str, list[ClipLabel]] = defaultdict(list)

    def _choose_targets(self, output: Path) -> list[Path]:
        from ..files import check_output

        if len(self._videos) == 1 and not output.is_dir():
            if output.suffix.lower() != ".mp4":
                raise UsageError(f"--save-video writes MP4, so {output} must end in .mp4, or be a folder that exists")
            targets = [output]
        else:
            try:
                output.mkdir(exist_ok=True)
            except OSError as error:
                raise OutputError(f"the folder {output} cannot be made: {error.strerror}; choose another") from error
            targets = [output / f"{video.stem}.mp4" for video in self._videos]
        if len(set(targets)) < len(targets):
            twice = next(target for target in targets if targets.count(target) > 1)
            raise UsageError(f"several of the videos would be drawn into {twice}; `poseact label` keeps folders apart")
        for target in targets:
            if any(target.exists() and video.exists() and target.samefile(video) for video in self._videos):
                raise UsageError(f"--save-video would overwrite {target}, which is an input; choose another name")
            check_output(target)
        return targets

    def collect(self, which: int, poses: PoseSequence) -> None:
        """Note the poses of a clip of one of the videos."""
        from ..video_poses import VideoPoses

        self._poses.setdefault(which, VideoPoses()).add(poses)

    def add(self, row: ClipLabel) -> None:
        """Note what is to be written over the pictures."""
        self._rows[row.source].append(row)

    def draw(self, quiet: bool) -> None:
        """Write the videos of which there are poses. Raises OutputError, InputError."""
        from ..annotate import annotate_video
        from ..files import readable

        with SourcesBar([f"drawing {target.name}" for target in self._targets], "cpu", quiet) as progress:
            for which, poses in self._poses.items():
                rows = self._rows[readable(self._videos[which])]
                annotate_video(
                    self._videos[which],
                    self._targets[which],
                    poses,
                    rows,
                    lambda done, total, which=which: progress.update(which, done, total),  # type: ignore[misc]
                )
