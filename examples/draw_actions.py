"""Draw videos of people who exercise: a picture that pose networks understand, with the true keypoints beside it.

python examples/draw_actions.py                          # examples/actions.mp4
python examples/draw_actions.py --action squat --seconds 6 -o squat.mp4
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from motions import MOTIONS, Motion, joints_of

from poseact.skeleton import COCO17

Colour = tuple[int, int, int]  # RGB

SIZE = (360, 640)  # (H, W) in pixels
FPS = 25.0
# Pictures are drawn this much larger and then averaged, and coordinates have this many fractional bits.
_SUPERSAMPLING = 2
_SHIFT = 4
# The camera looks down on the scene a little, in degrees; what is further away stands higher in the picture.
_CAMERA_DOWN = 6.0


@dataclass(frozen=True)
class Colours:
    """What a person wears and looks like."""

    skin: Colour = (214, 164, 134)
    hair: Colour = (62, 44, 34)
    shirt: Colour = (178, 52, 54)
    trousers: Colour = (48, 58, 92)
    shoes: Colour = (232, 230, 224)


@dataclass(frozen=True)
class Actor:
    """A person who is in the picture during [start, end) seconds and begins to move at `start`.

    x, y: where the feet are at first, as shares of the picture's width and height. height: of the person, as a
    share of the picture's height. facing: degrees to the right of looking into the camera (90: side view).
    """

    motion: Motion
    x: float = 0.5
    y: float = 0.9
    height: float = 0.7
    facing: float = 0.0
    colours: Colours = Colours()
    start: float = 0.0
    end: float = float("inf")

    def __post_init__(self) -> None:
        if not self.height > 0 or not self.start < self.end:
            raise ValueError(f"an actor needs a height above 0 and start < end, got {self}")


@dataclass(frozen=True)
class Scene:
    """People in front of a wall. seed: of the wall's and the floor's texture."""

    actors: tuple[Actor, ...]
    wall: Colour = (176, 182, 180)
    floor: Colour = (146, 118, 92)
    horizon: float = 0.62  # share of the picture's height
    seed: int = 0


def times_of(seconds: float, fps: float) -> np.ndarray:
    """The time of each frame, (T,) float64, in seconds from 0."""
    return np.arange(round(seconds * fps)) / fps


def render(scene: Scene, seconds: float, fps: float = FPS, size: tuple[int, int] = SIZE) -> Iterator[np.ndarray]:
    """Every frame, (H, W, 3) uint8 RGB. size: (H, W)."""
    height, width = size
    large = (height * _SUPERSAMPLING, width * _SUPERSAMPLING)
    background = draw_background(scene, large)
    for time in times_of(seconds, fps):
        image = background.copy()
        present = [actor for actor in scene.actors if actor.start <= time < actor.end]
        for actor in sorted(present, key=lambda actor: actor.y):  # who stands lower in the picture is nearer
            draw_person(image, project(actor, time, large), actor.height * large[0], actor.colours)
        yield cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def true_keypoints(scene: Scene, seconds: float, fps: float = FPS, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(M, T, 17, 2) float32, (x, y) in pixels in the order of coco17; NaN while an actor is absent."""
    times = times_of(seconds, fps)
    keypoints = np.full((len(scene.actors), len(times), len(COCO17), 2), np.nan, np.float32)
    for person, actor in enumerate(scene.actors):
        for frame, time in enumerate(times):
            if actor.start <= time < actor.end:
                at = project(actor, time, size)
                keypoints[person, frame] = [at[name][:2] for name in COCO17.keypoints]
    return keypoints


def project(actor: Actor, time: float, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Each joint's (x, y, nearness): pixels of a picture of that size, nearness in pixels too."""
    height, width = size
    yaw, down = np.radians(actor.facing), np.radians(_CAMERA_DOWN)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    tilt = np.array([[1, 0, 0], [0, -np.cos(down), np.sin(down)], [0, np.sin(down), np.cos(down)]])
    view = actor.height * height * tilt @ turn
    origin = np.array([actor.x * width, actor.y * height, 0])
    return {name: origin + view @ point for name, point in joints_of(actor.motion(time - actor.start)).items()}


def draw_background(scene: Scene, size: tuple[int, int]) -> np.ndarray:
    """A plastered wall above a skirting board and a floor, lit from the upper left, (H, W, 3) uint8."""
    height, width = size
    random = np.random.default_rng(scene.seed)
    edge = round(scene.horizon * height)
    down, across = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    light = 1.08 - 0.16 * across - 0.10 * down + 0.05 * _cloud(random, size, 5) + 0.02 * _cloud(random, size, 60)
    image = np.empty((height, width, 3))
    image[:edge], image[edge:] = scene.wall, scene.floor
    board = max(2, height // 40)
    image[edge - board : edge] = np.multiply(scene.wall, 1.18)
    image[edge : edge + 2] = np.multiply(scene.floor, 0.6)
    depth = (np.arange(height - edge) + 1) / (height - edge)
    light[edge:] *= (0.86 + 0.2 * depth)[:, None]
    for plank in np.geomspace(0.06, 1, 7)[:-1]:  # the nearer, the wider
        light[edge + int(plank * (height - edge))] *= 0.82
    return (image * light[..., None]).clip(0, 255).astype(np.uint8)


def _cloud(random: np.random.Generator, size: tuple[int, int], cells: int) -> np.ndarray:
    """Smooth noise of about unit deviation, (H, W) float32, with so many bumps across."""
    height, width = size
    coarse = random.standard_normal((max(2, cells * height // width), cells)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def draw_person(image: np.ndarray, at: dict[str, np.ndarray], height: float, colours: Colours) -> None:
    """Draw into the picture, what is far first. at: joints as `project` gives them; height: of the person, pixels.

    An arm or a leg whose joints are not among them is not drawn.
    """
    _draw_shadow(image, at, height)
    parts = [part for part in _parts(colours) if part.joints <= at.keys()]
    for part in sorted(parts, key=lambda part: part.nearness(at, height)):
        _draw_part(image, part, at, height)
    _draw_head(image, at, height, colours)


@dataclass(frozen=True)
class Part:
    """The hull of balls around joints. balls: (joint, radius); `a>b:0.4` is the point at 0.4 from a to b.

    nearer: moves the part up in the order of drawing. Radii and nearer are in body heights.
    """

    colour: Colour
    balls: tuple[tuple[str, float], ...]
    nearer: float = 0.0

    @property
    def joints(self) -> set[str]:
        """The names of the joints that it hangs on."""
        return {end for where, _ in self.balls for end in where.split(":")[0].split(">")}

    def nearness(self, at: dict[str, np.ndarray], height: float) -> float:
        return float(np.mean([_point(at, where)[2] for where, _ in self.balls])) + self.nearer * height


def _parts(colours: Colours) -> list[Part]:
    """All but the head."""
    skin, shirt, trousers, shoes = colours.skin, colours.shirt, colours.trousers, colours.shoes
    parts = [
        Part(skin, (("neck", 0.031), ("neck>crown:0.5", 0.031)), 0.02),
        Part(
            shirt,
            (
                ("left_shoulder", 0.038),
                ("right_shoulder", 0.038),
                ("neck", 0.034),
                ("neck>pelvis:0.35", 0.064),
                *_WAIST,
            ),
            0.015,
        ),
        Part(trousers, (*_WAIST, ("left_hip", 0.054), ("right_hip", 0.054)), 0.01),
    ]
    for side in ("left_", "right_"):
        shoulder, elbow, wrist, hand = (side + name for name in ("shoulder", "elbow", "wrist", "hand"))
        hip, knee, ankle, heel, toe = (side + name for name in ("hip", "knee", "ankle", "heel", "toe"))
        parts += [
            Part(skin, ((shoulder, 0.03), (elbow, 0.024)), 0.02),
            Part(shirt, ((shoulder, 0.04), (f"{shoulder}>{elbow}:0.55", 0.036)), 0.03),
            Part(skin, ((elbow, 0.025), (f"{elbow}>{wrist}:0.3", 0.026), (wrist, 0.017)), 0.04),
            Part(skin, ((wrist, 0.016), (f"{wrist}>{hand}:0.5", 0.023), (hand, 0.013)), 0.045),
            Part(trousers, ((hip, 0.056), (knee, 0.040))),
            Part(trousers, ((knee, 0.039), (f"{knee}>{ankle}:0.3", 0.038), (ankle, 0.027)), 0.002),
            Part(shoes, ((heel, 0.022), (ankle, 0.022), (side + "ball", 0.02), (toe, 0.013)), 0.001),
        ]
    return parts


_WAIST = (("left_hip>left_shoulder:0.3", 0.05), ("right_hip>right_shoulder:0.3", 0.05))


def _point(at: dict[str, np.ndarray], where: str) -> np.ndarray:
    if ">" not in where:
        return at[where]
    ends, share = where.split(":")
    start, end = (at[name] for name in ends.split(">"))
    return start + float(share) * (end - start)


def _draw_part(image: np.ndarray, part: Part, at: dict[str, np.ndarray], height: float) -> None:
    centres = np.array([_point(at, where)[:2] for where, _ in part.balls])
    _draw_hull(image, centres, height * np.array([radius for _, radius in part.balls]), part.colour)


def _draw_hull(image: np.ndarray, centres: np.ndarray, radii: np.ndarray, colour: Colour) -> None:
    """The hull of discs, (B, 2) and (B,) in pixels: smaller and lighter ones on top, towards the light, round it."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for size, light in ((1.0, 0.72), (0.88, 0.81), (0.74, 0.9), (0.58, 0.97), (0.38, 1.03)):
        shifted = centres + 0.35 * (1 - size) * radii[:, None] * (-1.0, -0.7)
        rim = (shifted[:, None] + size * radii[:, None, None] * circle).reshape(-1, 2)
        hull = cv2.convexHull(rim.astype(np.float32))
        _fill(image, hull, np.multiply(colour, light))


def _fill(image: np.ndarray, polygon: np.ndarray, colour: np.ndarray) -> None:
    fixed = np.round(polygon * 2**_SHIFT).astype(np.int32)
    shade = tuple(float(min(channel, 255)) for channel in colour)
    cv2.fillConvexPoly(image, fixed, shade, cv2.LINE_AA, _SHIFT)


def _draw_head(image: np.ndarray, at: dict[str, np.ndarray], height: float, colours: Colours) -> None:
    """Skull, hair and as much of the face as can be seen."""
    ears = (at["left_ear"] + at["right_ear"]) / 2
    ahead, up = (_direction(at["nose"], ears), _direction(at["crown"], ears))
    across = _direction(at["left_ear"], ears)
    skin, hair = colours.skin, colours.hair

    def ball(forward: float, above: float, radius: float, left: float = 0.0) -> tuple[np.ndarray, float]:
        centre = ears + height * (forward * ahead + above * up + left * across)
        return centre[:2], height * radius

    def hull(colour: Colour, *balls: tuple[np.ndarray, float]) -> None:
        _draw_hull(image, np.array([b[0] for b in balls]), np.array([b[1] for b in balls]), colour)

    back = (ball(-0.018, 0.026, 0.062), ball(-0.025, -0.01, 0.05))
    face = (ball(0.012, 0.012, 0.055), ball(0.03, -0.045, 0.03))
    for colour, balls in ((hair, back), (skin, face))[:: 1 if ahead[2] > -0.1 else -1]:
        hull(colour, *balls)
    for name, side in (("left_ear", 1), ("right_ear", -1)):
        if side * across[2] > 0.3:
            hull(hair, ball(-0.032, 0.03, 0.043), ball(-0.022, 0.008, 0.028, side * 0.03))
        if side * across[2] > -0.3:
            hull(skin, (at[name][:2], 0.014 * height), ball(0.0, -0.012, 0.009, side * 0.056))
    hull(hair, ball(-0.02, 0.06, 0.036), ball(0.028, 0.06, 0.019, 0.028), ball(0.028, 0.06, 0.019, -0.028))
    if ahead[2] > -0.25:
        _draw_face(image, at, height, colours)


def _draw_face(image: np.ndarray, at: dict[str, np.ndarray], height: float, colours: Colours) -> None:
    """Eyes, brows and mouth on the sides that can be seen, and the nose."""
    ears = (at["left_ear"] + at["right_ear"]) / 2
    ahead, up = _direction(at["nose"], ears), _direction(at["crown"], ears)
    across = _direction(at["left_ear"], ears)
    nose = at["nose"] - 0.008 * height * ahead
    ridge = nose + height * (0.026 * up - 0.01 * ahead)
    _draw_hull(image, np.array([ridge[:2], nose[:2]]), height * np.array([0.006, 0.01]), colours.skin)
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)[:, None]
    for side, name in ((1, "left_eye"), (-1, "right_eye")):
        around = 0.88 * across - 0.45 * side * ahead  # the face is round: its sides look outward
        if 0.45 * ahead[2] + 0.88 * side * across[2] < -0.45:
            continue
        mouth = at["mouth"] + 0.007 * side * height * around
        for centre, wide, high, colour in (
            (at[name], 0.0105, 0.0058, (238, 236, 232)),
            (at[name], 0.0052, 0.0056, (46, 34, 30)),
            (at[name] + 0.015 * height * up, 0.012, 0.0025, colours.hair),
            (mouth, 0.009, 0.0042, (158, 74, 70)),
        ):
            rim = centre + height * (wide * np.cos(angles) * around + high * np.sin(angles) * up)
            _fill(image, rim[:, :2].astype(np.float32), np.array(colour))


def _direction(end: np.ndarray, start: np.ndarray) -> np.ndarray:
    return (end - start) / np.linalg.norm(end - start)


def _draw_shadow(image: np.ndarray, at: dict[str, np.ndarray], height: float) -> None:
    """Darken the ground under the body, and more under the feet."""
    feet = [side for side in ("left_", "right_") if side + "heel" in at]
    if not feet:
        return
    shade = np.zeros(image.shape[:2], np.uint8)
    ground = max(max(at[side + part][1] for part in ("heel", "toe")) for side in feet)
    xs = [point[0] for name, point in at.items() if name.split("_")[-1] in ("shoulder", "hip", "ankle", "toe", "heel")]
    middle, reach = (min(xs) + max(xs)) / 2 + 0.04 * height, (max(xs) - min(xs)) / 2 + 0.05 * height
    spots = [(middle, ground, reach, 0.035 * height, 70)]
    for side in feet:
        heel, toe = at[side + "heel"], at[side + "toe"]
        spots.append(((heel[0] + toe[0]) / 2, ground - 0.01 * height, 0.06 * height, 0.02 * height, 110))
    for x, y, wide, high, dark in spots:
        cv2.ellipse(shade, (round(x), round(y)), (round(wide), round(high)), 0, 0, 360, dark, -1)
    shade = cv2.blur(cv2.blur(shade, (15, 9)), (15, 9))
    rows = slice(max(0, round(ground - 0.1 * height)), max(0, round(ground + 0.1 * height)))
    lit = (255 - shade[rows, :, None].astype(np.uint16)) * image[rows] // 255
    image[rows] = lit.astype(np.uint8)


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float = FPS,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> int:
    """Encode frames, (H, W, 3) uint8 RGB each, and return how many.

    options: the codec's own, such as bf, g or crf; without any, H.264 gets a crf of 23.
    """
    if options is None:
        options = {"crf": "23"} if codec.startswith("libx264") else {}
    count = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.pix_fmt = pix_fmt
        for count, image in enumerate(frames, 1):
            if count == 1:
                stream.height, stream.width = image.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return count


# How each action is looked at; a walk begins at the picture's left edge.
_VIEWS = {
    "walk": {"x": 0.06, "height": 0.56, "facing": 90.0},
    "squat": {"facing": 45.0},
    "pushup": {"x": 0.25, "height": 0.9, "facing": 90.0},
}
_EXAMPLE = ("jumping_jacks", "squat", "walk")


def act(action: str, **changes: object) -> Actor:
    """An actor for a motion by its name, seen from where it is seen well."""
    return replace(Actor(MOTIONS[action], **_VIEWS.get(action, {})), **changes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_name("actions.mp4"))
    parser.add_argument("--action", choices=sorted(MOTIONS), help="only this one; default: jumping jacks, squats, walk")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each action (default: %(default)s)")
    parser.add_argument("--fps", type=float, default=FPS)
    options = parser.parse_args()
    actions = (options.action,) if options.action else _EXAMPLE
    starts = [options.seconds * i for i in range(len(actions))]
    actors = [act(name, start=start, end=start + options.seconds) for name, start in zip(actions, starts, strict=True)]
    frames = render(Scene(tuple(actors)), options.seconds * len(actions), options.fps)
    count = write_video(options.output, frames, options.fps)
    size = options.output.stat().st_size
    print(f"wrote {options.output}: {count} frames, {size / 1000:.0f} kB, {', '.join(actions)}", file=sys.stderr)


if __name__ == "__main__":
    main()
