"""ONNX Runtime: which builds are installed, the clash of them, and whether it runs a tiny network."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelError
from ..providers import hidden_cuda, installed_builds, load_session
from .findings import Finding, Status, broken_by, split_remedy
from .machine import nvidia_gpus

PART = "onnx runtime"

# An ONNX file of one ReLU: a provider that is listed may lack its libraries, which only a session shows.
_RELU = (
    b'\x08\x07\x12\x00:3\n\x0c\n\x01x\x12\x01y"\x04Relu\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


def onnx_runtime() -> Iterator[Finding]:
    """The installed builds, what one hides of the other, and the devices on which it runs."""
    builds = installed_builds()
    if not builds:
        yield Finding(PART, "builds", "not installed; only ONNX models and `poseact export --onnx` need it")
        return
    yield Finding(PART, "builds", ", ".join(f"{name} {version}" for name, version in builds.items()))
    cpu = _runs_on("cpu")
    yield cpu
    if cpu.status != "ok":
        return
    _, gpus = nvidia_gpus()
    if gpus:
        # Whoever installed the build for GPUs wants it to use them.
        yield _runs_on("cuda", "broken" if "onnxruntime-gpu" in builds else "warning")
    elif clash := hidden_cuda():
        text, remedy = split_remedy(clash)
        yield Finding(PART, "cuda", f"{text}, though this machine has no NVIDIA GPU", "warning", remedy)


def _runs_on(device: str, otherwise: Status = "broken") -> Finding:
    with tempfile.TemporaryDirectory(prefix="poseact-doctor-") as folder:
        relu = Path(folder) / "relu.onnx"
        relu.write_bytes(_RELU)
        try:
            session = load_session(relu, device)
        except ModelError as error:
            return broken_by(PART, device, error, otherwise)
        return Finding(PART, device, f"runs ({session.get_providers()[0]})")
