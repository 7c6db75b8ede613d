"""Checkpoints of PYSKL and MMAction2: read with care, recognised by their weights' names and shapes, made bundles."""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from . import __version__
from .bundle import METADATA_FILE, BundleInfo, save_bundle
from .errors import InputError, ModelError, UsageError
from .files import check_output
from .heatmaps import PYSKL_RULE
from .modality import Modality, guess_modality
from .nets import NETS, find_net
from .nets.c3d import c3d
from .nets.conv import Recogniser
from .nets.slowonly import slowonly
from .nets.x3d import x3d
from .skeleton import LAYOUTS, Layout
from .training.labels import read_labels

# How torch names what a pickle asks for beyond weights, in the versions since 2.1.
_REFUSED = re.compile(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)")
_CLASS_WEIGHT = "cls_head.fc_cls.weight"
_STEMS = {
    "slowonly": "backbone.conv1.conv.weight",
    "c3d": "backbone.conv1a.conv.weight",
    "x3d": "backbone.conv1_s.conv.weight",
}
_FOURTH_STAGE = "backbone.conv5a.conv.weight"  # of C3D
# PYSKL tests with volumes of 64 pixels where it trains with 56.
_TEST_SCALE = PYSKL_RULE.size[0] / 56


@dataclass(frozen=True)
class ExportJob:
    """net, modality, layout: "auto" reads them off the weights. window: seconds that a clip should span.
    subjects: how many people are drawn into a volume. name: "" names the bundle as its file."""

    checkpoint: Path
    labels: Path
    output: Path
    net: str = "auto"
    modality: Literal["auto", "joint", "limb"] = "auto"
    layout: str = "auto"
    window: float = 3.0
    subjects: int | Literal["all"] = 2
    name: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if self.net != "auto":
            find_net(self.net)
        if self.modality not in ("auto", "joint", "limb"):
            raise UsageError(f"there is no modality {self.modality!r}; choose auto, joint or limb")
        if self.layout not in ("auto", *LAYOUTS):
            raise UsageError(f"there is no layout {self.layout!r}; choose auto or one of {', '.join(LAYOUTS)}")
        if not 0 < self.window < float("inf"):
            raise UsageError(f"the window must be longer than 0 s, got {self.window:g}")
        if self.subjects != "all" and self.subjects < 1:
            raise UsageError(f"the subjects must be 'all' or at least 1, got {self.subjects}")
        check_output(self.output, (self.checkpoint, self.labels))


@dataclass(frozen=True)
class Architecture:
    """A network as its weights tell it: build(in_channels, n_labels); clip_len frames, size (H, W) of training."""

    name: str
    build: Callable[..., Recogniser]
    clip_len: int
    size: tuple[int, int]


def export_checkpoint(job: ExportJob, log: Callable[[str], None] = lambda text: None) -> BundleInfo:
    """Write a checkpoint as a bundle, in float32, and return what the bundle says of itself.

    Raises ModelError (the checkpoint is none, or of another architecture), InputError (the labels do not fit),
    UsageError, OutputError. Nothing is written before all is checked.
    """
    state = read_checkpoint(job.checkpoint)
    labels = read_labels(job.labels)
    found = identify(state, job.net, job.checkpoint)
    n_labels = _n_labels(state)
    if n_labels != len(labels):
        raise InputError(f"{job.labels} has {len(labels)} class names, but {job.checkpoint} tells {n_labels} apart")
    if n_labels < 2:
        raise ModelError(f"{job.checkpoint} tells one class apart; a classifier needs at least two")
    net = found.build(_in_channels(state), n_labels)
    net.load_state_dict(state)
    layout = _layout(job, _in_channels(state))
    modality = _modality(job, net, layout)
    log(_findings(job, found, modality, layout, n_labels))
    if _FOURTH_STAGE in state:
        log("a C3D of four stages: PYSKL's own pools before the last one, this one does not, as the paper's table")
    info = _describe(job, found, modality, layout, labels)
    save_bundle(net, info, job.output, half=False)
    return info


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, without what a wrapper puts before their names, floats as float32.

    Only weights are loaded; whatever else the file asks for is refused. Raises ModelError.
    """
    content = _load(path)
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path} is no checkpoint: it holds no state dict of weights")
    weights = {}
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or not value.numel():
            raise ModelError(f"{path} cannot be used: {name} is empty, or no plain array of real numbers")
        bare = str(name).removeprefix("module.")
        if not bare.startswith("data_preprocessor."):
            weights[bare] = value.float() if value.is_floating_point() else value
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise ModelError(f"{path} cannot be used: NaN or infinite weights in {_some(broken)}")
    return weights


def is_bundle(path: Path) -> bool:
    """Whether the file is one of our own bundles rather than a checkpoint."""
    return _archived(path, f"/extra/{METADATA_FILE}")


def identify(state: Mapping[str, Tensor], net: str = "auto", source: Path | str = "the state dict") -> Architecture:
    """The network that these weights belong to: a name of NETS, or of any width and depth if `net` is "auto".

    Raises ModelError telling which weights do not fit.
    """
    kind = next((kind for kind, stem in _STEMS.items() if stem in state), None)
    if kind is None:
        raise ModelError(
            f"{source} is no SlowOnly, C3D or X3D of PYSKL or MMAction2: it has none of {', '.join(_STEMS.values())}; "
            f"its weights are {_some(list(state))}"
        )
    if net != "auto":
        candidates = [_named(net)]
    else:
        candidates = [*(_named(name) for name in NETS if name.startswith(kind)), _sized(kind, state)]
    for found in candidates:
        differences = _differences(found, state)
        if not differences:
            return found
    raise ModelError(f"{source} is no {found.name} checkpoint: {differences}")


def _load(path: Path) -> Any:
    if not path.is_file():
        raise ModelError(f"{path} is a folder" if path.is_dir() else f"{path} does not exist")
    if not os.access(path, os.R_OK):
        raise ModelError(f"{path} cannot be read; change its permissions")
    if _archived(path, "/code/"):
        raise ModelError(f"{path} is TorchScript; export takes a checkpoint of PYSKL or MMAction2")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch asks to be told of pickles that it did not write
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is no pickle can raise anything
        refused = _REFUSED.search(str(error))
        if refused:
            raise ModelError(
                f"{path} asks for {refused[1] or refused[2]}, which is refused as it could run code; "
                "save it anew with nothing but its state_dict"
            ) from error
        raise ModelError(f"{path} is no checkpoint that torch can load as plain weights") from error


def _archived(path: Path, part: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(part in name for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _named(name: str) -> Architecture:
    net = find_net(name)
    return Architecture(net.name, net.build, net.clip_len, net.size)


def _sized(kind: str, state: Mapping[str, Tensor]) -> Architecture:
    """A network of that kind with the width of the stem and as many stages and blocks as there are."""
    width = _length(state[_STEMS[kind]])
    build: Callable[..., Recogniser]
    if kind == "c3d":
        depth: tuple[int, ...] = (4 if _FOURTH_STAGE in state else 3,)
        build = partial(c3d, width=width, stages=depth[0])
    elif kind == "x3d":
        depth = first, second, third = _block_counts(state)[:3]
        build = partial(x3d, width=width, blocks=(first, second, third))
    else:
        depth = _block_counts(state)
        build = partial(slowonly, width=width, blocks=depth)
    net = NETS[kind]
    return Architecture(f"{kind} (width {width}, {'-'.join(map(str, depth))})", build, net.clip_len, net.size)


def _block_counts(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Blocks of each stage, three or four stages; a stage that is not there counts one, to be told as missing."""
    counts = [
        len({name.split(".")[2] for name in state if name.startswith(f"backbone.layer{n}.")}) for n in range(1, 5)
    ]
    return tuple(max(1, count) for count in (counts if counts[3] else counts[:3]))


def _in_channels(state: Mapping[str, Tensor]) -> int:
    stem = next(state[stem] for stem in _STEMS.values() if stem in state)
    return stem.shape[1] if stem.dim() > 1 else 1


def _n_labels(state: Mapping[str, Tensor]) -> int:
    weight = state.get(_CLASS_WEIGHT)
    return 1 if weight is None else _length(weight)


def _length(weight: Tensor) -> int:
    return len(weight) if weight.dim() else 1


def _differences(architecture: Architecture, found: Mapping[str, Tensor]) -> str:
    """Which weights are missing, too many, or of another shape; "" if none is."""
    with torch.device("meta"):
        expected = architecture.build(_in_channels(found), _n_labels(found)).state_dict()
    # Older checkpoints do not count batches, and nothing here needs the count.
    missing = [name for name in expected if name not in found and not name.endswith("num_batches_tracked")]
    surplus = [name for name in found if name not in expected]
    reshaped = [
        f"{name} {tuple(value.shape)} for {tuple(expected[name].shape)}"
        for name, value in found.items()
        if name in expected and value.shape != expected[name].shape
    ]
    told = (("it lacks", missing), ("it has besides", surplus), ("other shapes are", reshaped))
    return "; ".join(f"{what} {_some(names)}" for what, names in told if names)


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _layout(job: ExportJob, channels: int) -> Layout:
    if job.layout != "auto":
        candidates = [LAYOUTS[job.layout]]
    else:
        candidates = list(LAYOUTS.values())
    for layout in candidates:
        fits = {"joint": [len(layout)], "limb": [len(layout.limbs)], "auto": [len(layout), len(layout.limbs)]}
        if channels in fits[job.modality]:
            return layout
    named = ", ".join(f"{one.name} ({len(one)} keypoints, {len(one.limbs)} limbs)" for one in candidates)
    raise ModelError(f"{job.checkpoint} takes volumes of {channels} channels, which is none of {named}")


def _modality(job: ExportJob, net: Recogniser, layout: Layout) -> Modality:
    if job.modality != "auto":
        return job.modality
    guess = guess_modality(net, layout)
    if guess is None:
        raise ModelError(
            f"{job.checkpoint}: its batch norm does not tell whether it was trained on joints or on limbs; "
            "say --modality joint or --modality limb"
        )
    return guess


def _findings(job: ExportJob, found: Architecture, modality: Modality, layout: Layout, n_labels: int) -> str:
    told = {"net": found.name, "modality": modality, "layout": layout.name}
    read = [value for option, value in told.items() if getattr(job, option) == "auto"]
    return f"{', '.join([*read, f'{n_labels} classes'])} (read off the weights)"


def _describe(job: ExportJob, found: Architecture, modality: Modality, layout: Layout, labels: list[str]) -> BundleInfo:
    height, width = (round(_TEST_SCALE * n) for n in found.size)
    return BundleInfo(
        name=job.name or job.output.stem,
        version=__version__,
        labels=tuple(labels),
        layout=layout.name,
        window=job.window,
        stride=job.window / 2,
        clip_len=found.clip_len,
        sampling="pyskl",
        modality=modality,
        limbs=layout.limbs if modality == "limb" else (),
        net=found.name if found.name in NETS else "",
        volume=replace(PYSKL_RULE, size=(height, width)),
        subjects=job.subjects,
        training_data=f"not known; converted from {job.checkpoint.name}",
        licence=job.licence,
    )
