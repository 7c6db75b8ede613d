"""PoseAct: video in, action labels out, by way of human pose (PoseConv3D).

    from poseact import Pipeline
    for clip in Pipeline().stream("video.mp4"):
        print(clip.start, clip.end, clip.label, clip.score)

How data flows; a stage knows the type it takes and the type it gives, never its neighbours:

    video ─Frame─▶ detect ─boxes─▶ pose ─keypoints─▶ track ─PoseSequence─▶ sampling, heatmaps
                                                     sinks ◀─ClipLabel─ classifier ◀─volume─┘

`extract` chains the part left of the PoseSequence, `lane` cuts the clips of one video out of it, `pipeline` has them
labelled, of several videos at once; `options` is what a user may choose of all that. `engine` has the threads and the
queues between stages, `network_thread` the one in which networks run, `watch` the time that each takes.

Behind `video`: `addresses` says what the name of a source means, `decoding` turns packets into pictures, `rgb` pictures
into arrays, and `skipping` leaves out those that nobody wants; for what is live, `connections` opens cameras, streams
and pipes, `reader` reads them in a thread and `live` connects them again.

Left of it: `cuts` tells where a scene ends, `boxes` reads people from a file instead of detecting them, `track_process`
follows people beside this process where a GPU leaves it no time, `reunion` gives somebody who was hidden their id back,
`gaps` fills what is missing for a moment, `follow` picks the person that a user pointed at, `smoothing` smooths.
`keyframes` has whole pictures searched only now and then, and `regions` of them in between. `yolo` is the one place
that imports Ultralytics; the network in its weights runs by `yolo_net`, `yolo_cuda` or `openvino`, on pictures that
`letterbox` fits. `rtm` is the one that imports rtmlib, `providers` chooses what ONNX Runtime runs on.

Poses as files: `poses` reads and writes the pickles, `pose_tables` CSV and JSON, `planes` makes 3D poses flat. `batch`
extracts many videos into one file by way of `pose_store`; `video_labels` and `splits` say what
each is for.

Of many videos: `label` has a `crew` of worker processes, each with a `labeller`, label them; `run_store` keeps what
is known, as `records`, whatever is killed; `run_output` writes it, with `summary` adding it up and `sorting` putting
videos into folders. `sources` finds the videos, by `probe` also by what is in them.

To look at: `video_poses` puts the poses of clips together and says who is where at any time, `timeline` which label
holds then; `drawing`, with `lettering`, draws both, `annotate` makes a video of it by `mp4` and `sound`, `thumbnails`
takes small pictures of moments, by `run_pictures` also later. `report` makes a page of a run.

Right of it: `nets` holds the networks, `bundle` the file that a classifier is, `checkpoints` and `modality` turn those
of PYSKL and MMAction2 into one, `onnx` turns one into ONNX, `training` makes bundles from labelled poses and measures
them. `segments` merges consecutive clips of the same label.

Everywhere: `zoo` finds the models, `download` fetches those that are not there and `partial` keeps what has come of
one, `device` chooses the processor, `cuda_graphs` launches at once what on a GPU would be hundreds of launches, `files`
writes so that nobody sees half a file, `errors` draws the error tree, `doctor` looks for what is wrong on a machine,
`memory` keeps freed memory, `cli` is a thin shell over all of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .classifier import Classifier, Ensemble, load_classifier
    from .clips import ClipLabel, LabelScore
    from .errors import PoseActError
    from .extract import PoseStages, extract_poses
    from .options import Options
    from .pipeline import Pipeline
    from .poses import PoseSequence, load_poses, save_poses
    from .sampling import Window

# torch takes seconds to import, so a name is loaded when it is first asked for.
_HOMES = {
    "Classifier": "classifier",
    "ClipLabel": "clips",
    "Ensemble": "classifier",
    "LabelScore": "clips",
    "Options": "options",
    "Pipeline": "pipeline",
    "PoseActError": "errors",
    "PoseSequence": "poses",
    "PoseStages": "extract",
    "Window": "sampling",
    "extract_poses": "extract",
    "load_classifier": "classifier",
    "load_poses": "poses",
    "save_poses": "poses",
}

__all__ = [
    "Classifier",
    "ClipLabel",
    "Ensemble",
    "LabelScore",
    "Options",
    "Pipeline",
    "PoseActError",
    "PoseSequence",
    "PoseStages",
    "Window",
    "__version__",
    "extract_poses",
    "load_classifier",
    "load_poses",
    "save_poses",
]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
