"""3D skeletons as 2D ones: what is seen from the front, from the side and from above (footnote 1 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .errors import UsageError

# Which coordinate points to the right of the picture and which down, and whether the latter is turned over: from
# above, what is further away is further up.
_AXES = {"xy": (0, 1, 1), "yz": (2, 1, 1), "xz": (0, 2, -1)}

PLANES = tuple(_AXES)

# The pixels of the square picture, and the share of them that a sequence spans at most.
_SIDE = 640
_SPAN = 0.8


def check_planes(planes: Sequence[str]) -> None:
    """Raise UsageError unless there is at least one plane, and each is known and named once."""
    unknown = [plane for plane in planes if plane not in PLANES]
    if unknown or not planes or len(set(planes)) < len(planes):
        raise UsageError(f"planes are one or more of {', '.join(PLANES)}, each once; got {', '.join(planes) or 'none'}")


def is_3d(row: Mapping) -> bool:
    """Whether an annotation of a pose file has keypoints (M, T, K, 3)."""
    shape = np.shape(row.get("keypoint", ()))
    return len(shape) == 4 and shape[3] == 3


def plane_name(sequence: str, plane: str) -> str:
    """What the annotation of one plane of a 3D sequence is called."""
    return f"{sequence}#{plane}"


def project(row: Mapping, planes: Sequence[str]) -> dict[str, dict]:
    """The annotation of a 3D sequence as 2D ones, by the name of the plane.

    row: its `keypoint` is (M, T, K, 3) in metres, x to the right, y down, z away from the camera; a keypoint that is
    not finite, or that lies at the sensor's own place (0, 0, 0), is absent. All planes have one scale, by which the
    longest extent of the sequence fills most of a square picture, and the middle of its extents in their middle.
    """
    keypoints = np.asarray(row["keypoint"], dtype=np.float32)
    there = np.isfinite(keypoints).all(axis=3) & (keypoints != 0).any(axis=3)
    scores = np.asarray(row.get("keypoint_score", np.ones(there.shape)), dtype=np.float32)
    if scores.shape != there.shape:
        raise ValueError(f"keypoint_score must have shape {there.shape}, got {scores.shape}")
    there &= np.isfinite(scores) & (scores > 0)
    pixels = _to_pixels(keypoints, there)
    flat = {}
    for plane in planes:
        right, down, sign = _AXES[plane]
        points = np.stack([pixels[..., right], sign * pixels[..., down]], axis=-1) + _SIDE / 2
        flat[plane] = {
            **{key: value for key, value in row.items() if key != "boxes"},
            "keypoint": np.where(there[..., None], points, 0),
            "keypoint_score": np.where(there, scores, 0),
            "img_shape": (_SIDE, _SIDE),
        }
    return flat


def _to_pixels(keypoints: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Metres to pixels round the middle of what is there, (M, T, K, 3) float32; absent keypoints have no meaning."""
    if not there.any():
        return np.zeros_like(keypoints)
    present = keypoints[there].astype(np.float64)
    low, high = present.min(axis=0), present.max(axis=0)
    extent = (high - low).max()
    scale = _SPAN * _SIDE / extent if extent > 0 else 1.0
    filled = np.where(there[..., None], keypoints, 0)
    return ((filled - (low + high) / 2) * scale).astype(np.float32)
