"""The classifier bundle: one TorchScript file that carries, as `poseact.json`, all that is needed to use it."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .errors import ModelError, OutputError
from .files import written_aside
from .heatmaps import VolumeRule, joint_volume
from .nets.slowonly import fold_batch_norm
from .poses import PoseSequence
from .sampling import nearest_frames, sample_times
from .skeleton import LAYOUTS, Layout, conversion

METADATA_FILE = "poseact.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says of itself.

    window, stride: seconds of video that a clip should span, as the training clips did. subjects: how many
    people the network expects in a volume. aliases: other names for labels. temperature: divides the logits.
    rejection_threshold: a label below it is not given. accuracy: measured, by name of the test.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    layout: str
    window: float
    stride: float
    clip_len: int = 48
    modality: Literal["joint"] = "joint"
    volume: VolumeRule = field(default_factory=VolumeRule)
    subjects: int | Literal["all"] = 1
    aliases: dict[str, str] = field(default_factory=dict)
    temperature: float = 1.0
    rejection_threshold: float = 0.0
    training_data: str = ""
    accuracy: dict[str, float] = field(default_factory=dict)
    licence: str = ""

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"unknown keypoint layout {self.layout!r}")
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be at least two different names")
        if self.modality != "joint":
            raise ValueError(f"modality {self.modality!r} is not known to this version of poseact")
        if self.subjects != "all" and not (isinstance(self.subjects, int) and self.subjects > 0):
            raise ValueError(f"subjects must be 'all' or a count, got {self.subjects!r}")
        if not all(0 < n < float("inf") for n in (self.window, self.stride, self.temperature, self.clip_len)):
            raise ValueError("window, stride, temperature and clip_len must be above 0 and finite")
        if not 0 <= self.rejection_threshold <= 1:
            raise ValueError(f"the rejection threshold must be in [0, 1], got {self.rejection_threshold}")
        if not all(label in self.labels for label in self.aliases.values()):
            raise ValueError("an alias must stand for one of the labels")

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT_VERSION, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> BundleInfo:
        """Raises ValueError, KeyError or TypeError if the text does not describe a bundle."""
        content = json.loads(text)
        version = content.pop("format")
        if version != FORMAT_VERSION:
            raise ValueError(f"it has bundle format {version}; this poseact reads format {FORMAT_VERSION}")
        rule = content.pop("volume")
        rule["size"] = tuple(rule["size"])
        content["labels"] = tuple(content["labels"])
        known = {f.name for f in fields(cls)}
        return cls(volume=VolumeRule(**rule), **{key: value for key, value in content.items() if key in known})


class Classifier:
    """A loaded bundle. Raises ModelError if the file is not one."""

    def __init__(self, path: Path, device: str):
        self.path = path
        self.device = torch.device(device)
        net, text = _load(path, self.device)
        try:
            self.info = BundleInfo.from_json(text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path} is no usable classifier bundle: {METADATA_FILE} in it: {error}") from error
        net.eval()
        half = self.device.type == "cuda"
        self._dtype = torch.float16 if half else torch.float32
        with _no_jit_warnings():
            self._net = torch.jit.freeze(net.to(self._dtype))
        self._check_that_it_fits()

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.info.layout]

    def _check_that_it_fits(self) -> None:
        """Show the network an empty volume: it must take what the bundle says and know as many labels."""
        shape = (1, len(self.layout), self.info.clip_len, *self.info.volume.size)
        try:
            with torch.inference_mode():
                answer = self._net(torch.zeros(shape, dtype=self._dtype, device=self.device))
        except RuntimeError as error:
            raise ModelError(f"{self.path}: its network does not take the volume {shape} that it describes") from error
        if answer.shape != (1, len(self.info.labels)):
            raise ModelError(
                f"{self.path}: its network gives {tuple(answer.shape)}, but it has {len(self.info.labels)} labels"
            )

    def probabilities(self, clips: Sequence[tuple[PoseSequence, float, float]]) -> np.ndarray:
        """The probability of each label for each clip, (N, n_labels) float32.

        clips: the subjects' poses, with the start and end of the clip in seconds; a clip needs at least one
        person and one frame.
        """
        with torch.inference_mode():
            logits = torch.cat([self._net(self.volume(*clip).to(self._dtype)).float() for clip in clips])
            return (logits / self.info.temperature).softmax(dim=1).cpu().numpy()

    def volume(self, poses: PoseSequence, start: float, end: float) -> Tensor:
        """The heatmap volume of one clip, (1, K, T, H, W) float32, on the classifier's device."""
        frames = nearest_frames(poses.times, sample_times(start, end, self.info.clip_len))
        order = conversion(poses.layout, self.layout)
        keypoints = torch.from_numpy(poses.keypoints[:, frames][:, :, order])[None].to(self.device)
        scores = torch.from_numpy(poses.scores[:, frames][:, :, order])[None].to(self.device)
        image_size = torch.tensor([poses.image_size], dtype=torch.float32, device=self.device)
        return joint_volume(keypoints, scores, image_size, self.info.volume)


def save_bundle(net: torch.nn.Module, info: BundleInfo, path: Path) -> None:
    """Write a trained network as a bundle: batch norm folded, scripted, in half precision, unfrozen.

    The file is written aside and then renamed. Raises OutputError if it cannot be.
    """
    with _no_jit_warnings():
        script = torch.jit.script(fold_batch_norm(net.cpu()).half())
    _write(script, info, path)


def replace_info(path: Path, info: BundleInfo) -> None:
    """Let a bundle say something else of itself, such as what was measured of it. Raises as loading and saving do."""
    net, _ = _load(path, torch.device("cpu"))
    _write(net, info, path)


def _write(script: torch.jit.ScriptModule, info: BundleInfo, path: Path) -> None:
    try:
        with written_aside(path) as aside, _no_jit_warnings():
            torch.jit.save(script, str(aside), _extra_files={METADATA_FILE: info.to_json()})
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path} cannot be written: {error}") from error


def _load(path: Path, device: torch.device) -> tuple[torch.jit.ScriptModule, str]:
    if not path.is_file():
        raise ModelError(f"{path} does not exist; `poseact models` lists the models that have names")
    extra = {METADATA_FILE: ""}
    try:
        with _no_jit_warnings():
            net = torch.jit.load(str(path), map_location=device, _extra_files=extra)
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"{path} is not a classifier bundle (no TorchScript in it); `poseact train` writes bundles"
        ) from error
    text = extra[METADATA_FILE]
    if not text:
        raise ModelError(f"{path} is TorchScript but not a classifier bundle: it has no {METADATA_FILE} inside")
    return net, text if isinstance(text, str) else text.decode()


@contextlib.contextmanager
def _no_jit_warnings() -> Iterator[None]:
    """torch announces the end of torch.jit at each call; that is our concern, not the user's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.jit")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.jit")
        yield
