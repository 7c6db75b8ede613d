"""The classifier bundle: one TorchScript file that carries, as `poseact.json`, all that is needed to use it."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from .errors import ModelError, OutputError
from .files import written_aside
from .heatmaps import VolumeRule
from .nets.conv import suit_gpu
from .skeleton import LAYOUTS

METADATA_FILE = "poseact.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says of itself.

    window, stride: seconds of video that a clip should span, as the training clips did. net: the network's name
    in `nets`, "" if it is none of them. sampling: how several clips of a sequence are sampled, as this package's
    training does or as PYSKL's, which differ where a sequence has fewer frames than a clip. modality: what is drawn;
    limbs: pairs of the layout's keypoints, in the order of the volume's channels. subjects: how many people the
    network expects in a volume. aliases: other names for labels. temperature: divides the logits.
    rejection_threshold: a label with a lower score is not given. accuracy: measured, by name of the test.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    layout: str
    window: float
    stride: float
    clip_len: int = 48
    net: str = ""
    sampling: Literal["uniform", "pyskl"] = "uniform"
    modality: Literal["joint", "limb"] = "joint"
    limbs: tuple[tuple[int, int], ...] = ()
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
        if self.modality not in ("joint", "limb"):
            raise ValueError(f"modality {self.modality!r} is not known to this version of poseact")
        if self.sampling not in ("uniform", "pyskl"):
            raise ValueError(f"sampling {self.sampling!r} is not known to this version of poseact")
        if (self.modality == "limb") != bool(self.limbs):
            raise ValueError("limbs must be given for the limb modality, and only for it")
        if not all(0 <= end < len(LAYOUTS[self.layout]) for limb in self.limbs for end in limb):
            raise ValueError(f"limbs must be pairs of the {len(LAYOUTS[self.layout])} keypoints of {self.layout}")
        if self.subjects != "all" and not (isinstance(self.subjects, int) and self.subjects > 0):
            raise ValueError(f"subjects must be 'all' or a count, got {self.subjects!r}")
        if not all(0 < n < float("inf") for n in (self.window, self.stride, self.temperature, self.clip_len)):
            raise ValueError("window, stride, temperature and clip_len must be above 0 and finite")
        if not 0 <= self.rejection_threshold <= 1:
            raise ValueError(f"the rejection threshold must be in [0, 1], got {self.rejection_threshold}")
        if not all(label in self.labels for label in self.aliases.values()):
            raise ValueError("an alias must stand for one of the labels")

    @property
    def channels(self) -> int:
        """How many heatmaps a frame of the volume has."""
        return len(self.limbs) or len(LAYOUTS[self.layout])

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
        content["limbs"] = tuple((int(a), int(b)) for a, b in content.get("limbs", ()))
        known = {f.name for f in fields(cls)}
        return cls(volume=VolumeRule(**rule), **{key: value for key, value in content.items() if key in known})


def save_bundle(net: nn.Module, info: BundleInfo, path: Path, half: bool = True) -> None:
    """Write a trained network as a bundle: scripted and unfrozen, so that it can be cast, moved and trained further.

    half: weights in half precision, batch norm's statistics in full. The file is written aside and then renamed.
    Raises OutputError if it cannot be.
    """
    net = copy.deepcopy(net).cpu().eval()
    suit_gpu(net, False)  # which is a GPU's concern, not the file's
    if half:
        for module in net.modules():
            if not isinstance(module, nn.BatchNorm3d):
                for weight in module.parameters(recurse=False):
                    weight.data = weight.data.half()
    with no_jit_warnings():
        script = torch.jit.script(net)
    _write(script, info, path)


def replace_info(path: Path, info: BundleInfo) -> None:
    """Let a bundle say something else of itself, such as what was measured of it. Raises as loading and saving do."""
    script, _ = load_bundle(path, torch.device("cpu"))
    _write(script, info, path)


def load_weights(path: Path) -> tuple[dict[str, Tensor], BundleInfo]:
    """The weights of a bundle in float32, to train on from, and what it says of itself. Raises ModelError."""
    script, info = load_bundle(path, torch.device("cpu"))
    return {name: value.float() for name, value in script.state_dict().items()}, info


def _write(script: torch.jit.ScriptModule, info: BundleInfo, path: Path) -> None:
    try:
        # By way of memory: on a full disk torch's own writer ends the process, and it puts the file's name inside.
        buffer = io.BytesIO()
        with no_jit_warnings():
            torch.jit.save(script, buffer, _extra_files={METADATA_FILE: info.to_json()})
        with written_aside(path) as aside:
            aside.write_bytes(buffer.getvalue())
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path} cannot be written: {error}") from error


def load_bundle(path: Path, device: torch.device) -> tuple[torch.jit.ScriptModule, BundleInfo]:
    """The scripted network of a bundle, in evaluation mode, and what it says of itself. Raises ModelError."""
    script, text = _load(path, device)
    try:
        return script.eval(), BundleInfo.from_json(text)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is no usable classifier bundle: {METADATA_FILE} in it: {error}") from error


def _load(path: Path, device: torch.device) -> tuple[torch.jit.ScriptModule, str]:
    if not path.is_file():
        raise ModelError(f"{path} does not exist; `poseact models` lists the models that have names")
    extra = {METADATA_FILE: ""}
    try:
        with no_jit_warnings():
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
def no_jit_warnings() -> Iterator[None]:
    """torch announces the end of torch.jit at each call; that is our concern, not the user's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.jit")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.jit")
        yield
