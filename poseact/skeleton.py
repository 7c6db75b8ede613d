"""Keypoint layouts: which keypoints a pose has, in which order, and how layouts convert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .errors import UsageError

# Of each part of a body that a picture's lower edge cuts off, the keypoints.
_CUT_OFF = {"feet": ("_ankle",), "legs": ("_knee", "_ankle"), "below-waist": ("_hip", "_knee", "_ankle")}
# Parts that are often not to be seen: cut off, or behind the rest of a body that is seen from the side.
PARTS = (*_CUT_OFF, "left", "right")


def check_part(name: str) -> None:
    """Raise UsageError unless it is one of PARTS."""
    if name not in PARTS:
        raise UsageError(f"{name!r} is no part of a body that can be hidden; there are {', '.join(PARTS)}")


@dataclass(frozen=True)
class Layout:
    """An ordered list of keypoint names, with the limbs that join them (pairs of indices)."""

    name: str
    keypoints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.keypoints)

    @cached_property
    def left_right_pairs(self) -> tuple[tuple[int, int], ...]:
        """Indices of each left keypoint and its right counterpart."""
        pairs = []
        for i, name in enumerate(self.keypoints):
            if name.startswith("left_"):
                pairs.append((i, self.keypoints.index("right_" + name.removeprefix("left_"))))
        return tuple(pairs)

    @cached_property
    def mirrored_order(self) -> tuple[int, ...]:
        """The order that exchanges left and right: what a mirrored picture's keypoints are called."""
        order = list(range(len(self)))
        for left, right in self.left_right_pairs:
            order[left], order[right] = right, left
        return tuple(order)

    def part(self, name: str) -> tuple[int, ...]:
        """The keypoints of a part, one of PARTS. Raises UsageError if it is none of them."""
        check_part(name)
        if name in _CUT_OFF:
            return tuple(i for i, keypoint in enumerate(self.keypoints) if keypoint.endswith(_CUT_OFF[name]))
        return tuple(i for i, keypoint in enumerate(self.keypoints) if keypoint.startswith(f"{name}_"))

    @cached_property
    def mirrored_limbs(self) -> tuple[int, ...]:
        """The order that exchanges left and right limbs: what a mirrored picture's limbs are called.

        Raises ValueError if the mirror image of a limb is none of the layout's.
        """
        return mirrored_limbs(self, self.limbs)


def mirrored_limbs(layout: Layout, limbs: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The order that exchanges left and right among these limbs, pairs of indices of the layout's keypoints.

    Which of its two ends a limb names first does not matter. Raises ValueError if the mirror image of a limb is
    none of them.
    """
    places = {frozenset(limb): place for place, limb in enumerate(limbs)}
    order = []
    for limb in limbs:
        mirrored = frozenset(layout.mirrored_order[end] for end in limb)
        if mirrored not in places:
            names = " to ".join(layout.keypoints[end] for end in limb)
            raise ValueError(f"the limbs of {layout.name} hold {names} but not its mirror image")
        order.append(places[mirrored])
    return tuple(order)


COCO17 = Layout(
    "coco17",
    (
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    # PYSKL's order of limbs for COCO keypoints: a limb checkpoint depends on it.
    (
        *((0, 5), (0, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (11, 13), (13, 15)),
        *((6, 12), (12, 14), (14, 16), (0, 1), (0, 2), (1, 3), (2, 4), (11, 12)),
    ),
)

BODY13 = Layout(
    "body13",
    (
        "head",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    (
        *((0, 1), (0, 2), (1, 3), (3, 5), (2, 4), (4, 6), (1, 7), (7, 9), (9, 11)),
        *((2, 8), (8, 10), (10, 12), (7, 8)),
    ),
)

LAYOUTS = {layout.name: layout for layout in (COCO17, BODY13)}

# A keypoint that a layout lacks is taken from the nearest one it has.
_SYNONYMS = {"head": "nose"}


def layout_of(n_keypoints: int) -> Layout:
    """The known layout with that many keypoints. Raises ValueError if there is none."""
    for layout in LAYOUTS.values():
        if len(layout) == n_keypoints:
            return layout
    known = ", ".join(f"{layout.name} ({len(layout)})" for layout in LAYOUTS.values())
    raise ValueError(f"no layout has {n_keypoints} keypoints; known: {known}")


def conversion(source: Layout, target: Layout) -> np.ndarray:
    """Indices into `source`'s keypoints that give `target`'s, (K_target,) int64.

    Raises ValueError if `source` lacks a keypoint that `target` needs.
    """
    indices = []
    for name in target.keypoints:
        found = name if name in source.keypoints else _SYNONYMS.get(name)
        if found not in source.keypoints:
            raise ValueError(f"layout {source.name} has no keypoint {name!r} for {target.name}")
        indices.append(source.keypoints.index(found))
    return np.array(indices, dtype=np.int64)
