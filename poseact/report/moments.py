"""Moments of videos on their way into a page: kept on disk while they come, then as many as it has room for."""

from __future__ import annotations

import contextlib
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import IO

from ..records import Moment, PersonAtMoment

# The highest numbers that the ten bits of a coordinate and the four of a score hold.
_COORDINATE, _SCORE = 1023, 15


class MomentSpool:
    """Moments in the order in which they are added, in two files; see `moment_spool`.

    picture_sizes, people_sizes: of each, in characters of base64, 0 without a picture or people.
    """

    def __init__(self, pictures: IO[bytes], people: IO[bytes]):
        self.picture_sizes: list[int] = []
        self.people_sizes: list[int] = []
        self._pictures, self._people = pictures, people

    def __len__(self) -> int:
        return len(self.picture_sizes)

    def add(self, moment: Moment) -> None:
        """The last of all so far. Raises OSError if there is no space left."""
        picture = b64encode(moment.picture or b"")
        people = b64encode(b"".join(packed(person) for person in moment.people))
        self.picture_sizes.append(self._pictures.write(picture))
        self.people_sizes.append(self._people.write(people))

    def pictures(self, kept: Sequence[bool]) -> Iterator[str]:
        """The pictures of those that are kept, in order: WebP as base64, each with its own padding."""
        return _read(self._pictures, self.picture_sizes, kept)

    def people(self, kept: Sequence[bool]) -> Iterator[str]:
        """The people of those that are kept, in order: see `packed`, as base64."""
        return _read(self._people, self.people_sizes, kept)


@contextlib.contextmanager
def moment_spool() -> Iterator[MomentSpool]:
    """A spool in temporary files, which are gone afterwards, and after a kill too."""
    with tempfile.TemporaryFile() as pictures, tempfile.TemporaryFile() as people:
        yield MomentSpool(pictures, people)


def _read(file: IO[bytes], sizes: Sequence[int], kept: Sequence[bool]) -> Iterator[str]:
    place = 0
    for size, wanted in zip(sizes, kept, strict=True):
        if size and wanted:
            file.seek(place)
            yield file.read(size).decode("ascii")
        place += size


def packed(person: PersonAtMoment) -> bytes:
    """Three bytes, four characters of base64, for each keypoint: x and y in ten bits each, 0 to 1023 of the picture's
    width and height, and the score in four."""
    return b"".join(_packed_keypoint(*keypoint) for keypoint in person.keypoints)


def _packed_keypoint(x: float, y: float, score: float) -> bytes:
    level = round(min(max(score, 0.0), 1.0) * _SCORE)
    if not level:  # where it would be is not said
        return bytes(3)
    across, down = (round(min(max(share, 0.0), 1.0) * _COORDINATE) for share in (x, y))
    return (across << 14 | down << 4 | level).to_bytes(3, "big")


def thin_out(sizes: Sequence[int], ranks: Sequence[int], budget: int) -> list[bool]:
    """Which of some things to keep so that their sizes sum up to no more than the budget: as many as fit of the lowest
    rank first, and where not all of a rank fit, such as are spread evenly over them. What has no size is not kept.

    sizes 2 2 2 2, ranks 1 0 1 1, budget 4: the second, for its rank, and one of the others.
    """
    kept = [False] * len(sizes)
    for rank in sorted(set(ranks)):
        candidates = [i for i, size in enumerate(sizes) if size and ranks[i] == rank]
        for which in _spread(candidates, sizes, budget):
            kept[which] = True
            budget -= sizes[which]
    return kept


def _spread(candidates: list[int], sizes: Sequence[int], budget: int) -> Iterator[int]:
    """As many as fit. Each earns its share of the budget, and is taken once as much is earned as it costs."""
    total = sum(sizes[i] for i in candidates)
    earned = 0.0
    for which in candidates:
        if total <= budget:
            yield which
            continue
        earned += sizes[which] * (budget / total)
        if earned >= sizes[which]:
            earned -= sizes[which]
            yield which
