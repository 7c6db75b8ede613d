"""`PoseSequence`, the waist of PoseAct, and the pickle of poses that PYSKL and MMAction2 read and write."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError, OutputError
from .files import written_aside
from .planes import PLANES, check_planes, is_3d, plane_name, project
from .skeleton import LAYOUTS, Layout, layout_of

# PYSKL's annotations tell no frame rate; clips of the usual data sets have about this one.
DEFAULT_FPS = 30.0
# By these a pose file is told from a video.
PICKLES = (".pkl", ".pickle")


@dataclass(frozen=True, eq=False, repr=False)
class PoseSequence:
    """The people of a span of video, frame by frame.

    keypoints: (M, T, K, 2) float32, (x, y) in pixels of the frame.
    scores: (M, T, K) float32 in [0, 1]; 0: the keypoint is absent; a person absent at a time has all 0.
    times: (T,) float64, seconds. image_size: (H, W) pixels. track_ids: (M,) int64.
    boxes: (M, T, 4) float32, xyxy in pixels; all 0 where the person is absent.
    end: seconds, when the last frame is over; None: nothing tells.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    times: np.ndarray
    image_size: tuple[int, int]
    layout: Layout
    track_ids: np.ndarray
    boxes: np.ndarray
    end: float | None = None

    def __post_init__(self) -> None:
        m, t, k = self.scores.shape
        expected = {
            "keypoints": (self.keypoints.shape, (m, t, k, 2)),
            "scores": (self.scores.shape, (m, t, len(self.layout))),
            "times": (self.times.shape, (t,)),
            "track_ids": (self.track_ids.shape, (m,)),
            "boxes": (self.boxes.shape, (m, t, 4)),
        }
        for name, (shape, wanted) in expected.items():
            if shape != wanted:
                raise ValueError(f"{name} must have shape {wanted}, got {shape}")
        if not np.isfinite(self.keypoints).all() or not np.isfinite(self.scores).all():
            raise ValueError("keypoints and scores must be finite; an absent keypoint has score 0")

    def __repr__(self) -> str:
        m, t, k = self.scores.shape
        span = f", {self.times[0]:.3f} to {self.times[-1]:.3f} s" if t else ""
        return f"PoseSequence(persons={m}, frames={t}, keypoints={k} ({self.layout.name}){span})"

    @property
    def present(self) -> np.ndarray:
        """(M, T) bool: the person has at least one keypoint in the frame."""
        return np.any(self.scores > 0, axis=2)

    def select(self, persons: list[int]) -> PoseSequence:
        """Only these persons, given as indices into M."""
        return replace(
            self,
            keypoints=self.keypoints[persons],
            scores=self.scores[persons],
            track_ids=self.track_ids[persons],
            boxes=self.boxes[persons],
        )

    def between(self, start: float, end: float) -> PoseSequence:
        """The frames of [start, end) seconds and those who are there in any of them, in the order of their ids."""
        first, last = np.searchsorted(self.times, [start - 1e-6, end - 1e-6])
        there = np.flatnonzero(self.present[:, first:last].any(axis=1))
        people = there[np.argsort(self.track_ids[there], kind="stable")]
        return replace(
            self,
            keypoints=self.keypoints[people, first:last],
            scores=self.scores[people, first:last],
            times=self.times[first:last],
            track_ids=self.track_ids[people],
            boxes=self.boxes[people, first:last],
            end=end,
        )

    def confident(self, least_score: float) -> PoseSequence:
        """The same with keypoints of a lower score absent."""
        return replace(self, scores=np.where(self.scores < least_score, 0, self.scores).astype(np.float32))


@dataclass(frozen=True)
class Annotation:
    """One labelled sequence of a pose file. label: class index, -1 if unlabelled.

    sequence: the name that the planes of a 3D sequence share; a 2D sequence's own name, unless given.
    source: the video as it was named when it was read; the sequence's own name, unless given.
    """

    name: str
    label: int
    poses: PoseSequence
    sequence: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        for unset in ("sequence", "source"):
            if not getattr(self, unset):
                object.__setattr__(self, unset, self.name)


@dataclass(frozen=True)
class PoseFile:
    """Annotations by name, the names in each split, and what else the writer noted down."""

    path: Path
    annotations: dict[str, Annotation]
    splits: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def split(self, name: str) -> list[Annotation]:
        """The annotations of a split, in its order. Raises InputError naming the splits that exist."""
        if name not in self.splits:
            known = ", ".join(self.splits) or "none"
            raise InputError(f"{self.path} has no split {name!r}; its splits: {known}")
        missing = [n for n in self.splits[name] if n not in self.annotations]
        if missing:
            raise InputError(f"{self.path}: split {name!r} names {missing[0]!r}, which has no annotation")
        return [self.annotations[n] for n in self.splits[name]]


# What a pickle of arrays and plain containers needs, and no more.
_HARMLESS = {
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    # Old protocols say `__builtin__`, Python 2's name.
    *(
        (module, name)
        for module in ("builtins", "__builtin__")
        for name in ("set", "frozenset", "bytearray", "complex")
    ),
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) in _HARMLESS:
            return super().find_class(module, name)
        raise InputError(
            f"refused: the pickle asks for {module}.{name}, and a pose file holds only arrays and plain containers"
        )


def load_pickle(path: Path) -> object:
    """Read a pickle of numpy arrays and plain containers; anything else in it is refused by name.

    Raises InputError if the file is missing, no pickle, or asks for more.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path") from error
    try:
        return _RestrictedUnpickler(io.BytesIO(data)).load()
    except InputError as error:
        raise InputError(f"{path} is {error}") from error
    except Exception as error:  # a broken pickle can raise nearly anything
        raise InputError(f"{path} is not a pickle of poses ({error}); expected PYSKL's format") from error


def is_pose_file(path: str | Path) -> bool:
    """Whether it is a pickle of poses rather than a video, by its ending."""
    return Path(path).suffix.lower() in PICKLES


def load_poses(path: str | Path, planes: Sequence[str] = PLANES) -> PoseFile:
    """Read a pose file in PYSKL's format: {"split": {...}, "annotations": [...]}, or the bare list.

    A 3D sequence `name`, whose keypoints are (M, T, K, 3) in metres, becomes one 2D sequence `name#plane` for each
    of the planes, in the annotations and in the splits; 2D sequences have no planes.
    Raises InputError if the file cannot be read or an annotation is malformed (it names which), UsageError if a
    plane is none of xy, yz, xz.
    """
    check_planes(planes)
    path = Path(path)
    content = load_pickle(path)
    if isinstance(content, Mapping) and "annotations" in content:
        rows, splits, notes = content["annotations"], content.get("split") or {}, content.get("notes")
    else:
        rows, splits, notes = content, {}, None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(f"{path} has no list of annotations; expected PYSKL's format")
    annotations: dict[str, Annotation] = {}
    members: dict[str, list[str]] = {}
    for index, row in enumerate(rows):
        try:
            found = _annotations(row, planes)
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            which = row.get("frame_dir", f"number {index}")
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            raise InputError(f"{path}: annotation {which} is malformed: {reason}") from error
        for annotation in found:
            if annotation.name in annotations:
                raise InputError(f"{path} has two annotations named {annotation.name}; names must differ")
            annotations[annotation.name] = annotation
            members.setdefault(annotation.sequence, []).append(annotation.name)
    named = {
        split: [member for name in names for member in members.get(name, [name])]
        for split, names in _splits(splits, path).items()
    }
    return PoseFile(path, annotations, named, dict(notes) if isinstance(notes, Mapping) else {})


def _splits(splits: object, path: Path) -> dict[str, list[str]]:
    plain = isinstance(splits, Mapping) and all(isinstance(n, list | tuple | np.ndarray) for n in splits.values())
    if not plain:
        raise InputError(f"{path}: its split must name, for each split, a list of annotations, as in PYSKL's format")
    return {str(name): [str(n) for n in names] for name, names in splits.items()}  # type: ignore[attr-defined]


def _annotations(row: Mapping, planes: Sequence[str]) -> list[Annotation]:
    """One annotation, or one for each plane of a 3D sequence."""
    if not is_3d(row):
        return [_annotation(row)]
    name = str(row["frame_dir"])
    return [
        replace(_annotation(flat), name=plane_name(name, plane), sequence=name, source=plane_name(name, plane))
        for plane, flat in project(row, planes).items()
    ]


def _annotation(row: Mapping) -> Annotation:
    keypoints = np.asarray(row["keypoint"], dtype=np.float32)
    if keypoints.ndim != 4 or keypoints.shape[3] != 2 or keypoints.shape[1] < 1:
        raise ValueError(f"keypoint must have shape (M, T, K, 2) or (M, T, K, 3) with T > 0, got {keypoints.shape}")
    m, t, k = keypoints.shape[:3]
    scores = np.asarray(row.get("keypoint_score", np.ones((m, t, k))), dtype=np.float32)
    if scores.shape != (m, t, k):
        raise ValueError(f"keypoint_score must have shape {(m, t, k)}, got {scores.shape}")
    # An estimator that found nobody writes NaN or 0 by convention of the peers.
    absent = ~np.isfinite(keypoints).all(axis=3) | ~np.isfinite(scores)
    if row.get("layout", "body13") not in LAYOUTS:
        raise ValueError(f"its layout {row['layout']!r} is none of {', '.join(LAYOUTS)}")
    layout = LAYOUTS[row["layout"]] if "layout" in row else layout_of(k)
    height, width = (int(side) for side in row["img_shape"])
    if min(height, width) < 1:
        raise ValueError(f"img_shape must be (H, W) above 0, got {(height, width)}")
    fps = float(row.get("fps", DEFAULT_FPS))
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps must be above 0, got {fps}")
    times = np.asarray(row.get("times", np.arange(t) / fps), dtype=np.float64)
    if times.shape != (t,) or not np.isfinite(times).all() or not (np.diff(times) > 0).all():
        raise ValueError(f"times must be {t} seconds that increase, got shape {times.shape}")
    end = float(row.get("end", times[-1] + 1 / fps))
    if not times[-1] < end < float("inf"):
        raise ValueError(f"its end must come after its last frame, at {times[-1]:g} s, got {end}")
    return Annotation(
        name=str(row["frame_dir"]),
        label=int(row.get("label", -1)),
        source=str(row.get("source", "")),
        poses=PoseSequence(
            keypoints=np.where(absent[..., None], 0, keypoints),
            scores=np.where(absent, 0, scores).clip(0, 1),
            times=times,
            image_size=(height, width),
            layout=layout,
            track_ids=np.asarray(row.get("track_ids", np.arange(m)), dtype=np.int64),
            boxes=np.asarray(row.get("boxes", np.zeros((m, t, 4))), dtype=np.float32),
            end=end,
        ),
    )


class _PicklerForPeers(pickle.Pickler):
    """NumPy 2 pickles arrays by functions of `numpy._core`, which NumPy before 1.26, the peers', does not have; all
    have `numpy.ndarray` itself."""

    def reducer_override(self, value: object) -> Any:
        if not isinstance(value, np.ndarray):
            return NotImplemented
        return np.ndarray, (value.shape, value.dtype, bytearray(value.tobytes()))  # unlike of bytes, it is writable


def save_poses(
    annotations: Iterable[Annotation],
    splits: Mapping[str, Sequence[str]],
    path: str | Path,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a pose file that PYSKL, MMAction2 and `load_poses` read. splits: the names in each split.

    Beside PYSKL's keys stand our own, which it passes over: track_ids, boxes, times, end, fps, layout and source of
    each sequence, and the notes.
    Raises ValueError if two annotations share a name or a split names one that is not there, OutputError if the
    file cannot be written; a file that was there before is then as it was.
    """
    path = Path(path)
    rows = [_row(annotation) for annotation in annotations]
    names = {row["frame_dir"] for row in rows}
    if len(names) < len(rows):
        raise ValueError("two annotations share a name; names must differ")
    for split, wanted in splits.items():
        if missing := [name for name in wanted if name not in names]:
            raise ValueError(f"split {split!r} names {missing[0]!r}, which has no annotation")
    content = {
        "split": {split: list(wanted) for split, wanted in splits.items()},
        "annotations": rows,
        "notes": dict(notes or {}),
    }
    try:
        with written_aside(path) as aside, aside.open("wb") as file:
            _PicklerForPeers(file, protocol=4).dump(content)  # the newest that Python 3.7, PYSKL's, can read
    except OSError as error:
        raise OutputError(f"the pose file {path} cannot be written: {error.strerror or error}") from error


def _row(annotation: Annotation) -> dict[str, object]:
    poses = annotation.poses
    span = float(poses.times[-1] - poses.times[0]) if len(poses.times) else 0.0
    fps = (len(poses.times) - 1) / span if span > 0 else DEFAULT_FPS
    return {
        "frame_dir": annotation.name,
        "label": annotation.label,
        "img_shape": poses.image_size,
        "original_shape": poses.image_size,
        "total_frames": len(poses.times),
        "keypoint": poses.keypoints,
        "keypoint_score": poses.scores,
        "track_ids": poses.track_ids,
        "boxes": poses.boxes,
        "times": poses.times,
        "end": float(poses.times[-1]) + 1 / fps if poses.end is None else poses.end,
        "fps": fps,
        "layout": poses.layout.name,
        "source": annotation.source,
    }
