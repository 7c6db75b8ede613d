"""Draws what was found on the pictures of a video: skeletons, boxes, ids, labels, and where in the video we are."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import cv2
import numpy as np

from .clips import ClipLabel
from .lettering import Colour, Lettering
from .skeleton import Layout
from .timeline import Timeline
from .video_poses import PeopleAt

# All bright, for black letters on them and dark outlines around them; neighbours differ the most.
PALETTE: tuple[Colour, ...] = (
    *((255, 70, 90), (60, 200, 90), (255, 225, 25), (60, 150, 255), (255, 140, 40), (180, 110, 255), (70, 230, 240)),
    *((250, 90, 230), (200, 240, 60), (255, 180, 205), (30, 180, 170), (205, 150, 80), (215, 190, 255), (175, 175, 40)),
    *((170, 255, 195), (255, 215, 180)),
)
# Labels have darker ones, so that nobody takes them for people's.
_LABEL_SHADE = 0.62
_GREY, _DARK, _WHITE = (64, 64, 64), (24, 24, 24), (255, 255, 255)
# A keypoint is drawn from the first score on, and until its score falls below the second.
_SHOWN_FROM, _SHOWN_UNTIL = 0.35, 0.2
# Sizes as shares of the shorter side of the picture, and their least in pixels.
_LETTERS, _LEAST_LETTERS = 0.026, 11
_LINE, _LANE, _LEAST_LANE = 1 / 400, 1 / 50, 5
# Lanes of the bar, one for each person, that are told apart.
_MOST_LANES = 6
# OpenCV takes positions in 1/16 of a pixel, without which thin lines would tremble.
_SHIFT = 4
# Seconds in which a person's label follows them, so that it does not tremble with the box.
_LAG = 0.1

# x1, y1, x2, y2 in pixels.
_Rectangle = tuple[int, int, int, int]


class Drawing:
    """Draws on the pictures of one video, in order: what is drawn depends a little on the picture before, or it would
    flicker.

    size: (H, W) of the pictures. layout: of the keypoints; None: there are none. timeline: the labels. seconds: how
    long the video is.
    """

    def __init__(self, size: tuple[int, int], layout: Layout | None, timeline: Timeline, seconds: float):
        short = min(size)
        self._size, self._layout, self._timeline = size, layout, timeline
        self._seconds = max(seconds, timeline.end)
        self._colours = label_colours(timeline.names)
        self._lettering = Lettering(max(_LEAST_LETTERS, round(_LETTERS * short)), timeline.names)
        self._thickness = max(1, round(_LINE * short))
        self._bar = _Bar(size, timeline, self._colours, self._seconds)
        self._people: dict[int, _Shown] = {}
        self._time = float("-inf")

    def draw(self, image: np.ndarray, people: PeopleAt, time: float) -> None:
        """Draw on image, (H, W, 3) uint8 RGB, what is there at `time` seconds. people: in pixels of the image."""
        passed, self._time = time - self._time, time
        now = {int(i): self._people.get(int(i)) or _Shown() for i in people.ids}
        self._people = now
        for row, track_id in enumerate(now):
            self._draw_person(image, people, row, now[track_id])
        rows = self._timeline.at(time)
        taken = self._draw_frame(image, rows, time)
        for row, track_id in enumerate(now):
            tag = self._tag(track_id, rows.get(track_id))
            where = now[track_id].tag_place(people.boxes[row], tag.shape[:2], self._size, passed, taken)
            taken.append(_put(image, tag, where))

    def _draw_person(self, image: np.ndarray, people: PeopleAt, row: int, shown: _Shown) -> None:
        colour, thickness = colour_of_id(int(people.ids[row])), self._thickness
        visible = shown.keypoints(people.scores[row])
        points = _fixed(people.keypoints[row])
        limbs = [limb for limb in (self._layout.limbs if self._layout else ()) if visible[limb[0]] and visible[limb[1]]]
        corners = _fixed(people.boxes[row]).tolist()
        outline, radius = thickness + max(1, 2 * (thickness // 2)), round((1.2 * thickness + 0.3) * 2**_SHIFT)
        cv2.rectangle(image, corners[:2], corners[2:], colour, thickness, cv2.LINE_AA, _SHIFT)
        for stroke, ink in ((outline, _DARK), (thickness, colour)):
            for start, end in limbs:
                cv2.line(image, points[start].tolist(), points[end].tolist(), ink, stroke, cv2.LINE_AA, _SHIFT)
        for point in points[visible].tolist():
            cv2.circle(image, point, radius + 2 ** (_SHIFT - 1) * min(2, thickness), _DARK, -1, cv2.LINE_AA, _SHIFT)
            cv2.circle(image, point, radius, colour, -1, cv2.LINE_AA, _SHIFT)

    def _draw_frame(self, image: np.ndarray, rows: dict[int | None, ClipLabel], time: float) -> list[_Rectangle]:
        """What belongs to the whole picture; returns where that is."""
        height, _ = self._size
        bar = self._bar.draw(image, rows.values(), time)
        clock = self._lettering.chip(f"{_clock(time)} / {_clock(self._seconds)}", _DARK)
        taken = [bar, _put(image, clock, (0, height - self._bar.height - len(clock)))]
        if None in rows and (chip := self._label_chip(rows[None], self._size[1])) is not None:
            taken.append(_put(image, chip, (0, 0)))
        return taken

    def _tag(self, track_id: int, row: ClipLabel | None) -> np.ndarray:
        """The id of a person, and their label if there is one."""
        number = self._lettering.chip(f"{track_id}", colour_of_id(track_id))
        label = None if row is None else self._label_chip(row, self._size[1] - number.shape[1])
        return number if label is None else np.hstack([number, label])

    def _label_chip(self, row: ClipLabel, most: int) -> np.ndarray | None:
        """The label with its score, at most so many pixels wide; None if nobody is there."""
        if row.score is None:
            return None
        if row.label is None:
            text, colour = self._lettering.shortened("unsure", "", most), _GREY
        else:
            text = self._lettering.shortened(row.label, f" {row.score:.0%}", most)
            colour = self._colours[row.label]
        return self._lettering.chip(text, colour)


class _Shown:
    """What was drawn of somebody in the last picture."""

    def __init__(self) -> None:
        self._visible: np.ndarray | None = None
        self._corner: np.ndarray | None = None
        self._is_moved = False

    def keypoints(self, scores: np.ndarray) -> np.ndarray:
        """Which keypoints to draw, (K,) bool."""
        visible = scores >= _SHOWN_FROM
        if self._visible is not None:
            visible |= self._visible & (scores >= _SHOWN_UNTIL)
        self._visible = visible
        return visible

    def tag_place(
        self,
        box: np.ndarray,
        tag_size: tuple[int, int],
        size: tuple[int, int],
        passed: float,
        taken: list[_Rectangle],
    ) -> tuple[int, int]:
        """Where the corner of a tag of (H, W) pixels goes: above the box, or inside of it at the picture's edge; next
        to others rather than over them. passed: seconds since the last picture."""
        corner = np.array(box[:2], dtype=np.float64)
        if self._corner is not None:
            corner = self._corner + (corner - self._corner) * min(1.0, passed / _LAG)
        self._corner = corner
        height, width = tag_size
        left = min(max(round(corner[0]), 0), max(0, size[1] - width))
        top = min(max(round(corner[1]) - height, 0), max(0, size[0] - height))
        # A place that became free is taken again only if it is so by a margin.
        margin = height // 4 if self._is_moved else 0
        for y in [top, *_places_beside(top, height, size[0], taken)]:
            around = (left - margin, y - margin, left + width + margin, y + height + margin)
            if not any(_overlap(around, other) for other in taken):
                self._is_moved = y != top
                return left, y
            margin = 0
        return left, top


def _places_beside(top: int, height: int, picture_height: int, taken: list[_Rectangle]) -> list[int]:
    """Where else a tag at `top` may go: just above what is there already, the nearest first, or else just below."""
    above = sorted({y1 - height for _, y1, _, _ in taken if 0 <= y1 - height <= top}, reverse=True)
    return [*above, *sorted({y2 for *_, y2 in taken if top < y2 <= picture_height - height})]


class _Bar:
    """The video's labels over time at the bottom of the picture, a lane for each person, with a mark where we are.

    size: (H, W) of the picture. seconds: what the whole width stands for.
    """

    def __init__(self, size: tuple[int, int], timeline: Timeline, colours: dict[str, Colour], seconds: float):
        height, width = size
        lanes = timeline.lanes(_MOST_LANES)
        self._lane = max(_LEAST_LANE, round(_LANE * min(size) / max(1, len(lanes)) ** 0.5))
        self._gap = max(1, self._lane // 8)
        self.height = min(max(1, len(lanes)) * (self._lane + self._gap) + self._gap, height)
        self._top, self._scale = height - self.height, width / seconds if seconds > 0 else 0.0
        self._picture = np.full((self.height, width, 3), _DARK, np.uint8)
        self._lane_of = {id(row): number for number, lane in enumerate(lanes) for row in lane}
        for row in (row for lane in lanes for row in lane if row.label is not None):
            left, top, right, bottom = self._place(row)
            self._picture[top:bottom, left:right] = colours[row.label]  # type: ignore[index]

    def draw(self, image: np.ndarray, rows: Iterable[ClipLabel], time: float) -> _Rectangle:
        """rows: the spans that hold at `time` seconds, which are framed. Returns where the bar is."""
        bar = image[self._top :]
        bar[:] = self._picture
        line = max(1, self._lane // 6)
        for row in rows:
            if id(row) in self._lane_of:
                left, top, right, bottom = self._place(row)
                cv2.rectangle(bar, (left, top), (max(left, right - 1), bottom - 1), _WHITE, line)
        x, half = round(time * self._scale), max(1, self._gap)
        bar[:, max(0, x - 2 * half) : x + 2 * half] = _DARK
        bar[:, max(0, x - half) : x + half] = _WHITE
        return 0, self._top, image.shape[1], image.shape[0]

    def _place(self, row: ClipLabel) -> _Rectangle:
        """Where a span is in the bar."""
        top = self._gap + self._lane_of[id(row)] * (self._lane + self._gap)
        return round(row.start * self._scale), top, round(row.end * self._scale), top + self._lane


def colour_of_id(track_id: int) -> Colour:
    """Always the same for an id, another for the next ones."""
    return PALETTE[track_id % len(PALETTE)]


def label_colours(names: Iterable[str]) -> dict[str, Colour]:
    """A colour for each label: the same in most videos, and of up to 16 labels in a video no two alike."""
    turns: dict[str, int] = {}
    for name in sorted(set(names)):
        first = zlib.crc32(name.encode()) % len(PALETTE)
        others = ((first + more) % len(PALETTE) for more in range(len(PALETTE)))
        turns[name] = next((turn for turn in others if turn not in turns.values()), first)
    return {name: _shaded(PALETTE[turn]) for name, turn in turns.items()}


def _shaded(colour: Colour) -> Colour:
    red, green, blue = (round(_LABEL_SHADE * part) for part in colour)
    return red, green, blue


def _put(image: np.ndarray, chip: np.ndarray, corner: tuple[int, int]) -> _Rectangle:
    """Lay a small picture over a larger one, where it is cut at the edges; returns where it is."""
    left, top = max(0, corner[0]), max(0, corner[1])
    part = image[top : top + chip.shape[0], left : left + chip.shape[1]]
    part[:] = chip[: part.shape[0], : part.shape[1]]
    return left, top, left + part.shape[1], top + part.shape[0]


def _fixed(positions: np.ndarray) -> np.ndarray:
    """Pixels as OpenCV takes them with `_SHIFT`; what is far outside of any picture would overflow."""
    return np.round(np.clip(positions, -1e5, 1e5) * 2**_SHIFT).astype(np.int64)


def _overlap(one: _Rectangle, other: _Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _clock(seconds: float) -> str:
    """Whole seconds as m:ss, or h:mm:ss."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
