"""A short video of real people through the whole chain: decoding, detection, poses, tracking, volumes, classifiers.

The people are those of a photo that Ultralytics' package carries; the camera pans over it for two seconds.
"""

from __future__ import annotations

import importlib.util
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..zoo import DEFAULT_CLASSIFIER, DEFAULT_DETECTOR, DEFAULT_POSE, registry
from .findings import REPORT, Finding

if TYPE_CHECKING:
    from ..clips import ClipLabel

PART = "self test"

_SECONDS, _FPS = 2, 6
_SIZE = (348, 480)  # (W, H) of the video in pixels
_PAN = 1  # pixels from one frame to the next
_PEOPLE = 2  # stand in this part of the photo, whole and near


def self_test() -> Iterator[Finding]:
    """Whether people are found, followed and labelled, and in how many seconds. Downloads nothing.

    Raises PoseActError where the chain does.
    """
    photo = photo_of_people()
    missing = [name for name in _models() if registry()[name].find()[1] is None]
    if missing:
        text = f"not run, since {', '.join(missing)} is not on this machine"
        yield Finding(PART, "video", text, "warning", "mend what is said of the models above")
    elif photo is None:
        text = "not run, since Ultralytics' package lacks its photo bus.jpg"
        yield Finding(PART, "video", text, "warning", "pip install --force-reinstall --no-deps ultralytics")
    else:
        yield _run(photo)


def _models() -> list[str]:
    return [*DEFAULT_CLASSIFIER.split(","), *dict.fromkeys((DEFAULT_DETECTOR, DEFAULT_POSE))]


def photo_of_people() -> Path | None:
    """Ultralytics' picture of people at a bus stop; None if its package was installed without."""
    package = importlib.util.find_spec("ultralytics")
    if package is None or package.origin is None:
        return None
    photo = Path(package.origin).parent / "assets" / "bus.jpg"
    return photo if photo.is_file() else None


def _run(photo: Path) -> Finding:
    from ..options import Options
    from ..pipeline import Pipeline

    with tempfile.TemporaryDirectory(prefix="poseact-doctor-") as folder:
        video = Path(folder) / "bus.mp4"
        codec = write_pan(photo, video)
        start = time.perf_counter()
        pipeline = Pipeline(options=Options(window="whole", per_person=True))
        pipeline.classifier, pipeline.stages.detector, pipeline.stages.pose  # noqa: B018 - they load when asked for
        loaded = time.perf_counter()
        labels = list(pipeline.stream(video))
        done = time.perf_counter()
    seconds = f"models {loaded - start:.1f} s, video {done - loaded:.1f} s"
    return judge(labels, f"{_SECONDS} s of {codec} on {pipeline.device}", seconds)


def judge(labels: list[ClipLabel], what: str, seconds: str) -> Finding:
    """What a label for each of the photo's people, or for too few, says of this machine."""
    people = [label for label in labels if label.person is not None]
    if len(people) < _PEOPLE:
        text = f"{what}: {len(people)} people followed where {_PEOPLE} stand"
        return Finding(PART, "video", text, "broken", f"try `poseact predict` with --device cpu, and {REPORT}")
    if not all(label.top and math.isfinite(label.top[0].score) for label in people):
        text = f"{what}: the classifier gives no numbers"
        return Finding(PART, "video", text, "broken", f"try `poseact predict` with --precision float32, and {REPORT}")
    return Finding(PART, "video", f"{what}: {len(people)} people found, followed and labelled; {seconds}")


def write_pan(photo: Path, video: Path) -> str:
    """Write a video in which the camera moves to the right over a photo; returns the name of its codec."""
    import av

    with av.open(str(photo)) as container:
        picture: Any = next(container.decode(video=0))
    width, height = _SIZE
    n_frames = _SECONDS * _FPS
    image = picture.reformat(width=width + n_frames * _PAN, height=height, format="rgb24").to_ndarray()
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(video), "w") as container:
        stream: Any = container.add_stream(codec, rate=_FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(n_frames):
            left = index * _PAN
            frame = av.VideoFrame.from_ndarray(image[:, left : left + width].copy(), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        return str(stream.codec_context.codec.canonical_name)
