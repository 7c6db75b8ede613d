"""Draw a video of a person who moves as a sequence of 2D keypoints says, so that a pose network can find them again.

python examples/draw_poses.py poses.pkl SEQUENCE -o drawn.mp4
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from draw_actions import Colours, Scene, draw_background, draw_person, write_video
from motions import FOOT, HAND, HEAD

from poseact.poses import PoseSequence, load_poses
from poseact.skeleton import BODY13, conversion
from poseact.training.dataset import placed

_SUPERSAMPLING = 2
# Lengths in body heights, by which the height of a body is told from its keypoints.
_SEGMENTS = {
    ("shoulder", "elbow"): 0.172,
    ("elbow", "wrist"): 0.15,
    ("hip", "knee"): 0.245,
    ("knee", "ankle"): 0.24,
    ("shoulder", "hip"): 0.285,
}
_SHOULDER_WIDTH, _HIP_WIDTH, _NECK_TO_HEAD = 0.20, 0.12, 0.13
_NECK_RISE = 0.02  # from the line between the shoulders
# Annotators mark the middle of the face: from between the ears it lies this far ahead, in body heights.
_FACE_AHEAD = 0.045
_SIDES = ("left_", "right_")
_PARENTS = {"elbow": "shoulder", "wrist": "elbow", "knee": "hip", "ankle": "knee"}


@dataclass(frozen=True)
class Look:
    """Who is drawn and where. noise: of the camera, in levels of brightness (sigma)."""

    colours: Colours
    scene: Scene
    noise: float = 2.0


def random_look(rng: np.random.Generator, horizon: float) -> Look:
    """A person and a room of random colours. horizon: where wall and floor meet, as a share of the height."""

    def colour(low: int, high: int, grey: float = 0.0) -> tuple[int, int, int]:
        channels = rng.integers(low, high, 3)
        return tuple(int(c) for c in grey * channels.mean() + (1 - grey) * channels)

    # Hair darker than skin tells front from back where a face is a few pixels.
    skin = np.array([224, 178, 150]) * rng.uniform(0.7, 1.05)
    hair = np.array([70, 50, 38]) * rng.uniform(0.3, 0.8)
    colours = Colours(
        skin=tuple(skin.clip(0, 255).astype(int).tolist()),
        hair=tuple(hair.clip(0, 255).astype(int).tolist()),
        shirt=colour(25, 235, 0.6),
        trousers=colour(25, 110, 0.7),
        shoes=colour(30, 235, 0.8),
    )
    scene = Scene((), colour(110, 215, 0.7), colour(80, 170, 0.6), horizon, int(rng.integers(2**31)))
    return Look(colours, scene, rng.uniform(1, 4))


def render_poses(poses: PoseSequence, look: Look, person: int = 0) -> Iterator[np.ndarray]:
    """Every frame with that person drawn, (H, W, 3) uint8 RGB, in the size that the sequence tells."""
    height, width = poses.image_size
    large = (height * _SUPERSAMPLING, width * _SUPERSAMPLING)
    order = conversion(poses.layout, BODY13)
    keypoints = poses.keypoints[person][:, order] * _SUPERSAMPLING
    joints, heights = joints_of_keypoints(keypoints, placed(poses)[person][:, order])
    rng = np.random.default_rng(look.scene.seed)
    background = _furnish(draw_background(look.scene, large), look.scene.horizon, rng)
    noise = rng.normal(0, look.noise, (height + 16, width + 16, 1)).astype(np.float32)
    for at, body in zip(joints, heights, strict=True):
        image = background.copy()
        draw_person(image, at, body, look.colours)
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        down, across = rng.integers(0, 16, 2)
        yield (small + noise[down : down + height, across : across + width]).clip(0, 255).astype(np.uint8)


def joints_of_keypoints(keypoints: np.ndarray, there: np.ndarray) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """What `draw_person` needs for each frame, with depth guessed from foreshortening and from how bodies bend.

    keypoints: (T, 13, 2) float32, body13; there: (T, 13) bool. Returns T dicts of (x, y, nearness) in pixels,
    and the body's height (T,). A limb that is there in no frame is in no dict.
    """
    points = _filled(keypoints, there)
    heights = _body_heights(points)
    up, across, sin, cos = _trunk(points, heights)
    _fill_head(points, heights, up)
    body = _Body(points, heights, up, across, sin, cos)
    at = {**body.trunk(), **body.head()}
    for side in _SIDES:
        at |= body.limb(side, "shoulder", "elbow", "wrist", 1)
        at |= body.limb(side, "hip", "knee", "ankle", -1)
        at |= body.hand(side, at) | body.foot(side, at)
    return [{name: point[t] for name, point in at.items()} for t in range(len(points["neck"]))], heights


@dataclass(frozen=True)
class _Body:
    """points: (T, 2) by name. heights: (T,). up, across: (T, 2), unit vectors of the trunk in the picture, towards
    the head and, of somebody who looks into the camera, towards their left. sin, cos: (T,), of the trunk's turn."""

    points: dict[str, np.ndarray]
    heights: np.ndarray
    up: np.ndarray
    across: np.ndarray
    sin: np.ndarray
    cos: np.ndarray

    def trunk(self) -> dict[str, np.ndarray]:
        neck = self.points["neck"] + _NECK_RISE * self.heights[:, None] * self.up
        at = {"neck": self._deep(neck, 0), "pelvis": self._deep(self.points["pelvis"], 0)}
        for name, width in (("shoulder", _SHOULDER_WIDTH), ("hip", _HIP_WIDTH)):
            for side, sign in (("left_", 1), ("right_", -1)):
                at[side + name] = self._deep(self.points[side + name], -sign * width / 2 * self.sin * self.heights)
        return at

    def limb(self, side: str, root: str, middle: str, end: str, bends: int) -> dict[str, np.ndarray]:
        """bends: 1 where both segments point forward (arms), -1 where the second points back (legs)."""
        at: dict[str, np.ndarray] = {}
        sign = 1 if side == "left_" else -1
        width = _SHOULDER_WIDTH if root == "shoulder" else _HIP_WIDTH
        depth = -sign * width / 2 * self.sin * self.heights
        ahead = np.clip(3 * self.cos, -1, 1)
        for first, second, way in ((root, middle, 1), (middle, end, bends)):
            if side + second not in self.points:
                break
            seen = np.linalg.norm(self.points[side + second] - self.points[side + first], axis=1)
            length = _SEGMENTS[first, second] * self.heights
            depth = depth + 0.8 * way * ahead * np.sqrt(np.maximum(length**2 - seen**2, 0))
            at[side + second] = self._deep(self.points[side + second], depth)
        return at

    def head(self) -> dict[str, np.ndarray]:
        tilted = _unit(0.5 * self.up + 0.5 * _unit(self.points["head"] - self.points["neck"]))
        left = np.column_stack([self.cos[:, None] * _left_of(tilted), -self.sin])
        ahead = np.column_stack([self.sin[:, None] * _left_of(tilted), self.cos])
        axes = np.stack([left, self._deep(tilted, 0), ahead], axis=1)
        ears = self._deep(self.points["head"], 0) - _FACE_AHEAD * self.heights[:, None] * ahead
        offsets = dict(HEAD)
        for name in HEAD:
            if name.startswith("left_"):
                offsets[name.replace("left_", "right_")] = tuple(np.multiply(HEAD[name], (-1, 1, 1)))
        return {
            name: ears + self.heights[:, None] * np.einsum("a,tac->tc", offset, axes)
            for name, offset in offsets.items()
        }

    def hand(self, side: str, at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if side + "wrist" not in at:
            return {}
        wrist = at[side + "wrist"]
        return {side + "hand": wrist + HAND * self.heights[:, None] * _unit(wrist - at[side + "elbow"])}

    def foot(self, side: str, at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if side + "ankle" not in at:
            return {}
        down = _unit(at[side + "ankle"] - at[side + "knee"])
        trunk = np.column_stack([self.sin[:, None] * self.across, self.cos])
        ahead = _unit(trunk - (trunk * down).sum(axis=1, keepdims=True) * down)
        ahead[:, 1] += 0.15 * ahead[:, 2]  # seen from a little above
        size = self.heights[:, None]
        return {side + part: at[side + "ankle"] + size * (-y * down + z * ahead) for part, (y, z) in FOOT.items()}

    @staticmethod
    def _deep(points: np.ndarray, depth: np.ndarray | float) -> np.ndarray:
        return np.column_stack([points, np.broadcast_to(depth, len(points))])


def _filled(keypoints: np.ndarray, there: np.ndarray) -> dict[str, np.ndarray]:
    """Positions by name, (T, 2) float64 each, gaps filled; a head or limb that is never there is left out."""
    seen = {name: there[:, i] for i, name in enumerate(BODY13.keypoints)}
    raw = {name: keypoints[:, i].astype(np.float64) for i, name in enumerate(BODY13.keypoints)}
    points: dict[str, np.ndarray] = {}
    _fill_pair(points, raw, seen, "shoulder")
    if not (seen["left_hip"] | seen["right_hip"]).any():
        _hang_hips(points, raw, seen)
    _fill_pair(points, raw, seen, "hip")
    for side in _SIDES:
        for part, parent in _PARENTS.items():
            if side + parent in points and seen[side + part].any():
                root = points[side + parent]
                points[side + part] = root + _over_time(raw[side + part] - root, seen[side + part])
    points["neck"] = (points["left_shoulder"] + points["right_shoulder"]) / 2
    points["pelvis"] = (points["left_hip"] + points["right_hip"]) / 2
    if seen["head"].any():
        points["head"] = points["neck"] + _over_time(raw["head"] - points["neck"], seen["head"])
    return points


def _fill_pair(points: dict, raw: dict, seen: dict, part: str) -> None:
    """Shoulders or hips: what is missing stands to the other side as it does in other frames, or hides behind it."""
    left, right = ("left_" + part, "right_" + part)
    both = seen[left] & seen[right]
    apart = _over_time(raw[left] - raw[right], both) if both.any() else np.zeros_like(raw[left])
    either = seen[left] | seen[right]
    if not either.any():
        raise ValueError(f"there is no frame with a {part}, so the trunk cannot be drawn")
    lefts = np.where(seen[left][:, None], raw[left], raw[right] + apart)
    rights = np.where(seen[right][:, None], raw[right], raw[left] - apart)
    points[left], points[right] = _over_time(lefts, either), _over_time(rights, either)


def _hang_hips(points: dict, raw: dict, seen: dict) -> None:
    """Hips that are in no frame hang below the shoulders, as far as the upper arms make likely."""
    arms = [raw[side + "elbow"] - raw[side + "shoulder"] for side in _SIDES]
    both = [seen[side + "elbow"] & seen[side + "shoulder"] for side in _SIDES]
    lengths = np.concatenate([np.linalg.norm(arm, axis=1)[known] for arm, known in zip(arms, both, strict=True)])
    if not len(lengths):
        raise ValueError("there is no frame with a hip or an arm, so the trunk cannot be drawn")
    trunk = np.percentile(lengths, 90) * _SEGMENTS["shoulder", "hip"] / _SEGMENTS["shoulder", "elbow"]
    for side in _SIDES:
        raw[side + "hip"] = points[side + "shoulder"] + (0, trunk)
        seen[side + "hip"] = np.ones(len(raw[side + "hip"]), bool)


def _fill_head(points: dict[str, np.ndarray], heights: np.ndarray, up: np.ndarray) -> None:
    if "head" not in points:
        points["head"] = points["neck"] + _NECK_TO_HEAD * heights[:, None] * up


def _body_heights(points: dict[str, np.ndarray]) -> np.ndarray:
    """How tall the body would stand, (T,) pixels: segments look shorter than they are, never longer."""
    estimates = []
    for (first, second), length in _SEGMENTS.items():
        for side in _SIDES:
            if side + first in points and side + second in points:
                seen = np.linalg.norm(points[side + first] - points[side + second], axis=1)
                estimates.append(_largest_nearby(_smooth(seen, 1.5), 20) / length)
    return np.maximum(_smooth(np.median(estimates, axis=0), 8), 8.0)


def _trunk(points: dict[str, np.ndarray], heights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """up, across, sin, cos of `_Body`."""
    up = _unit(_smooth(points["neck"] - points["pelvis"], 1.5) - np.array([0, 1e-3]))
    across = _left_of(up)
    width = sum(
        share * ((points["left_" + part] - points["right_" + part]) * across).sum(axis=1) / (size * heights)
        for part, size, share in (("shoulder", _SHOULDER_WIDTH, 0.7), ("hip", _HIP_WIDTH, 0.3))
    )
    cos = np.clip(_smooth(width, 1.5), -1, 1)
    sin = np.sqrt(1 - cos**2) * np.tanh(12 * _smooth(_looks_left(points, across) / heights, 10))
    length = np.maximum(np.hypot(sin, cos), 1e-3)
    return up, across, sin / length, cos / length


def _looks_left(points: dict[str, np.ndarray], across: np.ndarray) -> np.ndarray:
    """How far the body reaches forward along `across`, (T,) pixels, by what knees, elbows, face and hands tell."""
    evidence = np.zeros(len(across))
    for side in _SIDES:
        if side + "ankle" in points:
            line = (points[side + "hip"] + points[side + "ankle"]) / 2
            evidence += ((points[side + "knee"] - line) * across).sum(axis=1)
        if side + "wrist" in points:
            line = (points[side + "shoulder"] + points[side + "wrist"]) / 2
            evidence += ((line - points[side + "elbow"]) * across).sum(axis=1)
            evidence += 0.3 * ((points[side + "wrist"] - points[side + "shoulder"]) * across).sum(axis=1)
    if "head" in points:
        evidence += ((points["head"] - points["neck"]) * across).sum(axis=1)
    return evidence


def _left_of(up: np.ndarray) -> np.ndarray:
    """Up (T, 2) turned by 90 degrees: the right of the picture for somebody upright."""
    return np.column_stack([-up[:, 1], up[:, 0]])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def _over_time(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """values (T, C), what is not known interpolated from the frames where it is."""
    times = np.flatnonzero(known)
    return np.stack([np.interp(np.arange(len(values)), times, column[times]) for column in values.T], axis=1)


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """A gaussian over frames, (T, ...); the ends are held."""
    reach = int(3 * sigma) + 1
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    held = np.concatenate([np.repeat(values[:1], reach, 0), values, np.repeat(values[-1:], reach, 0)])
    columns = held.reshape(len(held), -1).T
    return np.stack([np.convolve(c, weights / weights.sum(), "valid") for c in columns], -1).reshape(values.shape)


def _largest_nearby(values: np.ndarray, reach: int) -> np.ndarray:
    return np.array([np.percentile(values[max(0, t - reach) : t + reach + 1], 90) for t in range(len(values))])


def _furnish(image: np.ndarray, horizon: float, rng: np.random.Generator) -> np.ndarray:
    """Pictures, doors and boxes along the wall, so that the background is not plain."""
    height, width = image.shape[:2]
    edge = int(horizon * height)
    for _ in range(int(rng.integers(2, 7))):
        wide, high = rng.uniform(0.06, 0.25, 2) * (width, height)
        x = rng.uniform(-0.1, 1.0) * width
        bottom = edge + 0.04 * height if rng.random() < 0.5 else rng.uniform(0.2, 0.8) * edge
        colour, frame = (rng.uniform(40, 210) + rng.uniform(-30, 30, 3) for _ in range(2))
        low, high_corner = (int(x), int(bottom - high)), (int(x + wide), int(bottom))
        cv2.rectangle(image, low, high_corner, colour.tolist(), -1, cv2.LINE_AA)
        cv2.rectangle(image, low, high_corner, frame.tolist(), int(rng.integers(1, 6)), cv2.LINE_AA)
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("poses", type=Path, help="a pose file in PYSKL's format")
    parser.add_argument("sequence", help="the annotation's name (frame_dir)")
    parser.add_argument("-o", "--output", type=Path, default=Path("drawn.mp4"))
    parser.add_argument("--seed", type=int, default=0, help="of the person's and the room's colours")
    options = parser.parse_args()
    annotations = load_poses(options.poses).annotations
    if options.sequence not in annotations:
        parser.error(f"{options.poses} has no sequence {options.sequence!r}")
    poses = annotations[options.sequence].poses
    fps = (len(poses.times) - 1) / (poses.times[-1] - poses.times[0]) if len(poses.times) > 1 else 30.0
    look = random_look(np.random.default_rng(options.seed), horizon=0.7)
    count = write_video(options.output, render_poses(poses, look), fps)
    print(f"wrote {options.output}: {count} frames", file=sys.stderr)


if __name__ == "__main__":
    main()
