"""`ClipLabel`: what the classifier says of one clip. A leaf: it needs neither torch nor av."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from .errors import UsageError


@dataclass(frozen=True)
class LabelScore:
    """A label and its probability in [0, 1]."""

    label: str
    score: float


@dataclass(frozen=True)
class ClipLabel:
    """The label of one clip [start, end) of a video, in seconds of the video's own timestamps.

    source: the video as the user named it. clip: index of the clip, from 0.
    person: the track id of the labelled person, or None if the label is the clip's.
    label, score: the most likely action and its probability. The label is None below the
    rejection threshold; both are None if no usable person is in the clip.
    top: the most likely actions, best first. persons: how many people are in the clip.
    """

    source: str
    clip: int
    start: float
    end: float
    person: int | None
    label: str | None
    score: float | None
    top: tuple[LabelScore, ...]
    persons: int

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ValueError(f"a clip must end after it starts, got [{self.start}, {self.end})")
        if self.label is not None and self.score is None:
            raise ValueError(f"the label {self.label!r} has no score")

    def as_dict(self) -> dict:
        """The clip as plain values, times and scores rounded to what they are worth."""
        return {
            "source": self.source,
            "clip": self.clip,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "person": self.person,
            "label": self.label,
            "score": None if self.score is None else round(self.score, 4),
            "top": [{"label": t.label, "score": round(t.score, 4)} for t in self.top],
            "persons": self.persons,
        }


def only_labels(clips: Iterable[ClipLabel], labels: frozenset[str]) -> Iterator[ClipLabel]:
    """The clips with one of these labels."""
    return (clip for clip in clips if clip.label in labels)


def choose_labels(names: Sequence[str], known: Sequence[str], aliases: Mapping[str, str]) -> frozenset[str]:
    """The labels of these names, of those that a classifier knows; aliases: other names of some of them.

    Raises UsageError, with the name that is nearest, if there is no such label.
    """
    for name in names:
        if name not in known and name not in aliases:
            near = get_close_matches(name.lower().replace(" ", "_"), [*known, *aliases], n=1)
            remedy = f"did you mean {near[0]}?" if near else f"it knows {', '.join(known)}"
            raise UsageError(f"the classifier knows no label {name!r}; {remedy}")
    return frozenset(aliases.get(name, name) for name in names)
