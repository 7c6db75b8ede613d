"""PoseAct: video in, action labels out, by way of human pose (PoseConv3D).

    from poseact import Pipeline
    for clip in Pipeline().stream("video.mp4"):
        print(clip.start, clip.end, clip.label, clip.score)

How data flows; a stage knows the type it takes and the type it gives, never its neighbours:

    video ─Frame─▶ detect ─boxes─▶ pose ─keypoints─▶ track ─PoseSequence─▶ sampling, heatmaps
                                                     sinks ◀─ClipLabel─ classifier ◀─volume─┘

`pipeline` chains them, `zoo` finds the models, `yolo` is the one place that imports Ultralytics,
`device` chooses the processor, `files` writes so that nobody sees half a file, `errors` draws the error tree,
`training` makes bundles from labelled poses, `cli` is a thin shell over all of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .clips import ClipLabel, LabelScore
    from .errors import PoseActError
    from .pipeline import Options, Pipeline
    from .poses import PoseSequence, load_poses
    from .sampling import Window

# torch takes seconds to import, so a name is loaded when it is first asked for.
_HOMES = {
    "ClipLabel": "clips",
    "LabelScore": "clips",
    "Options": "pipeline",
    "Pipeline": "pipeline",
    "PoseActError": "errors",
    "PoseSequence": "poses",
    "Window": "sampling",
    "load_poses": "poses",
}

__all__ = [
    "ClipLabel",
    "LabelScore",
    "Options",
    "Pipeline",
    "PoseActError",
    "PoseSequence",
    "Window",
    "__version__",
    "load_poses",
]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
