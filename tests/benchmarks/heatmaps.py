"""How fast heatmap volumes are drawn, beside one keypoint at a time in numpy, as PYSKL draws them.

    python tests/benchmarks/heatmaps.py [--device cuda] [--runs 15]

48 frames, 17 keypoints or limbs, 56×56 pixels; medians of runs that take turns. The rival runs on the CPU always.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from poseact.cli import keep_freed_memory
from poseact.heatmaps import VolumeRule, draw_volume
from poseact.skeleton import COCO17

SIDE, N_FRAMES, SIGMA = 56, 48, 0.6
RULE = VolumeRule(size=(SIDE, SIDE), sigma=SIGMA, least_score=1e-3)

# A standing body in a crop of 1 × 1, COCO's order.
BODY = np.array(
    [
        *((0.50, 0.17), (0.52, 0.15), (0.48, 0.15), (0.54, 0.16), (0.46, 0.16), (0.58, 0.27), (0.42, 0.27)),
        *((0.66, 0.38), (0.34, 0.38), (0.70, 0.50), (0.30, 0.50), (0.56, 0.53), (0.44, 0.53)),
        *((0.58, 0.70), (0.42, 0.70), (0.58, 0.88), (0.42, 0.88)),
    ]
)


def bodies(n_people: int) -> tuple[np.ndarray, np.ndarray]:
    """(M, T, K, 2) pixels of the volume and (M, T, K) scores: bodies that sway, some keypoints unseen."""
    rng = np.random.default_rng(0)
    phases = rng.uniform(0, 2 * np.pi, (n_people, 1, 17, 2)) + np.arange(N_FRAMES)[:, None, None] / 5
    points = BODY + rng.uniform(-0.2, 0.2, (n_people, 1, 1, 2)) + 0.06 * np.sin(phases)
    scores = rng.uniform(0.3, 1, points.shape[:3]) * (rng.uniform(size=points.shape[:3]) > 0.02)
    return (SIDE * points).astype(np.float32), scores.astype(np.float32)


def margin_box(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]] | None:
    """Columns (w,) and rows (h, 1) within 3 sigma of a box, and the slices that hold them; None if outside."""
    left, top = (max(int(edge - 3 * SIGMA), 0) for edge in low)
    right, bottom = (min(int(edge + 3 * SIGMA) + 1, SIDE) for edge in high)
    if left >= right or top >= bottom:
        return None
    columns, rows = np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)
    return columns, rows[:, None], (slice(top, bottom), slice(left, right))


def add_joint(picture: np.ndarray, point: np.ndarray, score: float) -> None:
    found = margin_box(point, point)
    if score < RULE.least_score or found is None:
        return
    x, y, part = found
    drawn = score * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 2 / SIGMA**2)
    picture[part] = np.maximum(picture[part], drawn)


def add_limb(picture: np.ndarray, start: np.ndarray, end: np.ndarray, start_score: float, end_score: float) -> None:
    score = min(start_score, end_score)
    found = margin_box(np.minimum(start, end), np.maximum(start, end))
    if score < RULE.least_score or found is None:
        return
    length = ((end - start) ** 2).sum()
    if length < 1:
        add_joint(picture, start, start_score)
        return
    x, y, part = found
    from_start = (x - start[0]) ** 2 + (y - start[1]) ** 2
    from_end = (x - end[0]) ** 2 + (y - end[1]) ** 2
    share = (from_start - from_end + length) / 2 / length
    before, beyond = share <= 0, share >= 1
    between = ~(before | beyond)
    pixels = np.stack([x + np.zeros_like(y), y + np.zeros_like(x)], axis=-1)
    foot = start + np.stack([share, share], axis=-1) * (end - start)
    from_line = ((pixels - foot) ** 2).sum(axis=-1)
    distance = before * from_start + beyond * from_end + between * from_line
    picture[part] = np.maximum(picture[part], score * np.exp(-distance / 2 / SIGMA**2))


def one_by_one(points: np.ndarray, scores: np.ndarray, limbs: tuple[tuple[int, int], ...] | None) -> np.ndarray:
    """(T, K or L, H, W): each keypoint or limb of each person and frame in its turn."""
    volume = np.zeros((N_FRAMES, len(limbs or BODY), SIDE, SIDE), np.float32)
    for frame in range(N_FRAMES):
        for channel in range(volume.shape[1]):
            for person in range(len(points)):
                where, score = points[person, frame], scores[person, frame]
                if limbs is None:
                    add_joint(volume[frame, channel], where[channel], score[channel])
                else:
                    a, b = limbs[channel]
                    add_limb(volume[frame, channel], where[a], where[b], score[a], score[b])
    return volume


def milliseconds(call: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    keep_freed_memory()  # as the command line does; the rival gains by it too
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    print(f"{'volume':<8}{'people':>7}{'one by one':>13}{'ours':>10}{'ratio':>8}{'largest difference':>20}")
    for name, limbs in (("joints", None), ("limbs", COCO17.limbs)):
        for n_people in (1, 10):
            points, scores = bodies(n_people)
            at, how_sure = (torch.from_numpy(array)[None].to(options.device) for array in (points, scores))

            def ours(at=at, how_sure=how_sure, limbs=limbs):
                return draw_volume(at, how_sure, RULE, limbs)

            def rival(points=points, scores=scores, limbs=limbs):
                return one_by_one(points, scores, limbs)

            difference = np.abs(ours()[0].transpose(0, 1).cpu().numpy() - rival()).max()
            turns = [(milliseconds(rival, "cpu"), milliseconds(ours, options.device)) for _ in range(options.runs)]
            theirs_ms, ours_ms = (median(column) for column in zip(*turns, strict=True))
            print(
                f"{name:<8}{n_people:>7}{theirs_ms:>10.1f} ms{ours_ms:>7.2f} ms{theirs_ms / ours_ms:>8.1f}"
                f"{difference:>20.1e}"
            )


if __name__ == "__main__":
    main()
