"""How a person moves: a posture for every moment, and where the joints of a body in that posture are.

Lengths are in body heights, angles in degrees, times in seconds. The body looks along +z, x is its left, y is up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# (forward, outward): how far a segment is swung from hanging straight down.
Angles = tuple[float, float]
Pair = tuple[Angles, Angles]  # of the left limb and the right one

HIP_WIDTH, SHOULDER_WIDTH = 0.13, 0.225
TRUNK, NECK_TO_EARS = 0.295, 0.11
UPPER_ARM, FOREARM, HAND = 0.172, 0.15, 0.07
THIGH, SHANK = 0.245, 0.24

# From the point between the ears, (x, y, z) before the head nods; left and right are mirrored.
HEAD = {
    "nose": (0.0, -0.006, 0.075),
    "chin": (0.0, -0.052, 0.040),
    "crown": (0.0, 0.014, -0.004),
    "mouth": (0.0, -0.034, 0.062),
    "left_eye": (0.019, 0.013, 0.061),
    "left_ear": (0.058, 0.0, 0.0),
}
# From the ankle, (y, z) of a foot that stands flat.
FOOT = {"heel": (-0.032, -0.032), "ball": (-0.036, 0.058), "toe": (-0.036, 0.092)}
SOLE = 0.012  # from the joints of the foot down to the ground
PALM = 0.02  # from the wrist of a hand that the body leans on down to the ground

# Level walking, at every tenth of a stride that begins as the heel strikes (textbook curves, rounded).
_GAIT_HIP = (28, 25, 17, 7, -3, -10, -4, 13, 25, 30)  # forward
_GAIT_KNEE = (5, 15, 15, 8, 6, 10, 35, 62, 52, 18)  # bent
_GAIT_FOOT = (14, -1, 0, 0, -4, -17, -52, -48, -20, 6)  # toes up


@dataclass(frozen=True)
class Posture:
    """The angles of all limbs against the vertical (not against the limb they hang on); hands: None follows the arms.

    lean: of the trunk, forward. nod: of the head, forward. twist: of the shoulders, the left one forward.
    feet: how far the toes of the left and right foot point up. travel: forward, since the motion began.
    lift: of the lowest point above the ground. planted: the feet stay where they are; else the pelvis.
    """

    upper_arms: Pair = ((3, 9), (3, 9))
    forearms: Pair = ((12, 5), (12, 5))
    hands: Pair | None = None
    thighs: Pair = ((1, 4), (1, 4))
    shanks: Pair = ((-2, 3), (-2, 3))
    feet: tuple[float, float] = (0, 0)
    lean: float = 2
    nod: float = 0
    twist: float = 0
    travel: float = 0
    lift: float = 0
    planted: bool = True


Motion = Callable[[float], Posture]


def both(forward: float, outward: float) -> Pair:
    """The same angles left and right."""
    return (forward, outward), (forward, outward)


def between(low: float, high: float, phase: float) -> float:
    """From low (phase 0) to high (phase 0.5) and back (phase 1), with smooth ends."""
    return low + (high - low) * (0.5 - 0.5 * np.cos(2 * np.pi * phase))


def walk(time: float) -> Posture:
    """Two steps of 0.55 s a stride; opposite arm and leg swing together."""
    phase = time / 1.1
    hips, knees, feet = (
        [_periodic(curve, phase + side) for side in (0, 0.5)] for curve in (_GAIT_HIP, _GAIT_KNEE, _GAIT_FOOT)
    )
    swing = np.cos(2 * np.pi * phase)
    return Posture(
        upper_arms=((-4 - 24 * swing, 7), (-4 + 24 * swing, 7)),
        forearms=((20 - 32 * swing, 3), (20 + 32 * swing, 3)),
        thighs=((hips[0], 1), (hips[1], 1)),
        shanks=((hips[0] - knees[0], 0), (hips[1] - knees[1], 0)),
        feet=(feet[0], feet[1]),
        lean=4,
        twist=-7 * swing,
        travel=0.68 * time,
        planted=False,
    )


def squat(time: float) -> Posture:
    """Down and up in 1.6 s, the hands beside the shoulders as if they held a bar."""
    depth = between(0, 1, time / 1.6)
    return Posture(
        upper_arms=both(-25, 30),
        forearms=both(-5, 168),
        thighs=both(2 + 105 * depth, 8 + 14 * depth),
        shanks=both(-2 - 35 * depth, 6 + 4 * depth),
        lean=3 + 36 * depth,
        nod=8 * depth,
    )


def jumping_jacks(time: float) -> Posture:
    """One a second: hop apart with the hands over the head, hop together with the hands down."""
    apart = between(0, 1, time)
    hop = abs(np.sin(2 * np.pi * (time + 0.02)))
    give = 9 * (1 - hop)  # the knees bend as the feet land
    return Posture(
        upper_arms=both(6, 12 + 143 * apart),
        forearms=both(8, 6 + 166 * apart),
        thighs=both(2 + give, 3 + 21 * apart),
        shanks=both(-2 - 1.2 * give, 2 + 21 * apart),
        feet=(-25 * hop, -25 * hop),
        lift=0.035 * hop**2,
    )


def wave(time: float) -> Posture:
    """Stand and wave with the right hand, twice a second at most."""
    sway = np.sin(2 * np.pi * 1.6 * time)
    return Posture(
        upper_arms=((3, 9), (15, 88 + 5 * sway)),
        forearms=((12, 5), (12, 172 + 30 * sway)),
        lean=1 + np.sin(time),
    )


def pushup(time: float) -> Posture:
    """One in 1.6 s, on toes and hands, the body straight."""
    slope = between(73, 85, time / 1.6)  # of trunk and legs against the vertical
    ankle = SOLE - FOOT["toe"][0] * np.cos(np.radians(72)) + FOOT["toe"][1] * np.sin(np.radians(72))
    reach = ankle + (SHANK + THIGH + TRUNK) * np.cos(np.radians(slope)) - PALM
    down = between(0, 1, time / 1.6)
    out, back_in = 12 + 28 * down, 12 - 28 * down  # the elbows go outward, the hands stay where they are
    upper, lower = _bent(UPPER_ARM * np.cos(np.radians(out)), FOREARM * np.cos(np.radians(back_in)), reach)
    return Posture(
        upper_arms=both(-upper, out),
        forearms=both(lower, back_in),
        hands=both(85, 0),
        thighs=both(-slope, 3),
        shanks=both(-slope, 2),
        feet=(-72, -72),
        lean=slope,
        nod=38,
    )


def stand(time: float) -> Posture:
    """Stand, and breathe."""
    return Posture(lean=2 + 0.8 * np.sin(1.7 * time), upper_arms=both(3, 9 + np.sin(1.7 * time)))


MOTIONS: dict[str, Motion] = {motion.__name__: motion for motion in (walk, squat, jumping_jacks, wave, pushup, stand)}


def joints_of(posture: Posture) -> dict[str, np.ndarray]:
    """Each joint's (x, y, z), the ground at y = 0: coco17 and what a drawing needs besides."""
    at = {"pelvis": np.zeros(3)}
    trunk = _about_x(posture.lean) @ _about_y(posture.twist)
    at["neck"] = at["pelvis"] + trunk @ (0, TRUNK, 0)
    ears = at["neck"] + _about_x(0.4 * posture.lean + 0.6 * posture.nod) @ (0, NECK_TO_EARS, 0.012)
    for name, offset in HEAD.items():
        at[name] = ears + _about_x(posture.nod) @ offset
        if name.startswith("left_"):
            at[name.replace("left_", "right_")] = ears + _about_x(posture.nod) @ (np.multiply(offset, (-1, 1, 1)))
    for which, (name, side) in enumerate((("left_", 1), ("right_", -1))):
        _add_arm(at, posture, which, name, side, trunk)
        _add_leg(at, posture, which, name, side)
    return _on_the_ground(at, posture)


def _add_arm(at: dict, posture: Posture, which: int, name: str, side: int, trunk: np.ndarray) -> None:
    at[name + "shoulder"] = at["neck"] + trunk @ (side * SHOULDER_WIDTH / 2, -0.014, 0)
    at[name + "elbow"] = at[name + "shoulder"] + UPPER_ARM * _along(posture.upper_arms[which], side)
    forearm = _along(posture.forearms[which], side)
    at[name + "wrist"] = at[name + "elbow"] + FOREARM * forearm
    hand = forearm if posture.hands is None else _along(posture.hands[which], side)
    at[name + "hand"] = at[name + "wrist"] + HAND * hand


def _add_leg(at: dict, posture: Posture, which: int, name: str, side: int) -> None:
    at[name + "hip"] = at["pelvis"] + (side * HIP_WIDTH / 2, 0, 0)
    at[name + "knee"] = at[name + "hip"] + THIGH * _along(posture.thighs[which], side)
    at[name + "ankle"] = at[name + "knee"] + SHANK * _along(posture.shanks[which], side)
    turned = _about_y(side * (4 + 0.8 * posture.thighs[which][1])) @ _about_x(-posture.feet[which])
    for part, (y, z) in FOOT.items():
        at[name + part] = at[name + "ankle"] + turned @ (0, y, z)


def _on_the_ground(at: dict[str, np.ndarray], posture: Posture) -> dict[str, np.ndarray]:
    feet = [at[side + part] for side in ("left_", "right_") for part in FOOT]
    low = min(min(foot[1] for foot in feet) - SOLE, at["left_wrist"][1] - PALM, at["right_wrist"][1] - PALM)
    forward = (at["left_ball"][2] + at["right_ball"][2]) / 2 if posture.planted else 0.0
    shift = np.array([0, posture.lift - low, posture.travel - forward])
    return {name: point + shift for name, point in at.items()}


def _bent(upper: float, lower: float, reach: float) -> tuple[float, float]:
    """By how many degrees two segments leave the straight line that they span together (law of cosines)."""
    reach = min(reach, upper + lower)
    first = (upper**2 + reach**2 - lower**2) / (2 * upper * reach)
    second = (lower**2 + reach**2 - upper**2) / (2 * lower * reach)
    return float(np.degrees(np.arccos(min(first, 1)))), float(np.degrees(np.arccos(min(second, 1))))


def _along(angles: Angles, side: int) -> np.ndarray:
    """The unit vector of a segment. side: 1 if outward is to the left, -1 to the right."""
    forward, outward = np.radians(angles)
    return np.array([side * np.sin(outward), -np.cos(outward) * np.cos(forward), np.cos(outward) * np.sin(forward)])


def _about_x(degrees: float) -> np.ndarray:
    """Turns what is up forward."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _about_y(degrees: float) -> np.ndarray:
    """Turns what looks forward to the left."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _periodic(samples: tuple[float, ...], phase: float) -> float:
    """The smooth periodic curve through evenly spaced samples, at a phase in periods."""
    harmonics = np.fft.rfft(samples) / len(samples)
    harmonics[1:] *= 2
    harmonics[len(samples) // 2] /= 2  # the highest one of an even number has no twin
    return float((harmonics * np.exp(2j * np.pi * phase * np.arange(len(harmonics)))).real.sum())
