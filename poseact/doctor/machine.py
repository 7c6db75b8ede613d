"""The machine: system, processor, memory, and the devices that torch can use."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

from .. import __version__
from ..memory import free_memory
from .findings import Finding, describe

_LEAST_MEMORY = 2e9  # bytes; `predict` takes 1.4 GB of a Full HD video
_CPUINFO = Path("/proc/cpuinfo")
# The kernel's names of what networks profit from.
_FEATURES = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "amx_tile": "AMX"}
_TORCH_FOR_CUDA = (
    "pip uninstall -y torch torchvision, then install both with the command that "
    "https://pytorch.org/get-started/locally gives for this driver"
)


def system() -> Iterator[Finding]:
    """Python, platform, processor and memory."""
    yield Finding("system", "poseact", __version__)
    yield Finding("system", "python", f"{platform.python_version()}, {platform.platform()}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("system", "processor", ", ".join([*_processor(), f"{cores} core{'s' if cores > 1 else ''}"]))
    yield _memory()


def _processor() -> list[str]:
    """Its name, and what of it networks profit from."""
    text = _CPUINFO.read_text(encoding="utf-8", errors="replace") if _CPUINFO.is_file() else ""
    rows = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    flags = rows.get("flags", "").split()
    name = rows.get("model name") or platform.processor() or platform.machine()
    return [name, *(feature for flag, feature in _FEATURES.items() if flag in flags)]


def _memory() -> Finding:
    free, total = free_memory()
    text = f"{total / 1e9:.1f} GB, {free / 1e9:.1f} GB of it free"
    if free < _LEAST_MEMORY:
        remedy = f"have {_LEAST_MEMORY / 1e9:.0f} GB free: close other programs, or give the container more"
        return Finding("system", "memory", text, "warning", remedy)
    return Finding("system", "memory", text)


def devices() -> Iterator[Finding]:
    """The processors that torch can use, and an NVIDIA GPU that it cannot."""
    import torch

    from ..nets.freeze import has_bfloat16

    precision = "bfloat16" if has_bfloat16() else "float32"
    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding("devices", "cpu", f"{torch.get_num_threads()} threads, {capability}, classifiers in {precision}")
    driver, gpus = nvidia_gpus()
    for index in range(torch.cuda.device_count()):
        yield _cuda_device(index, driver)
    if gpus and not torch.cuda.is_available():
        yield _unused_gpu(f"{', '.join(gpus)}, driver {driver}")
    if torch.backends.mps.is_available():
        yield Finding("devices", "mps", "Apple GPU")


def nvidia_gpus() -> tuple[str, list[str]]:
    """The NVIDIA driver's version and its GPUs' names, whatever torch makes of them; "" and none without a driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # not installed, or there is no driver
        return "", []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return pynvml.nvmlSystemGetDriverVersion(), [pynvml.nvmlDeviceGetName(handle) for handle in handles]
    finally:
        pynvml.nvmlShutdown()


def _cuda_device(index: int, driver: str) -> Finding:
    import torch

    name = f"cuda:{index}"
    found = torch.cuda.get_device_properties(index)
    text = f"{found.name}, {found.total_memory / 1e9:.1f} GB, driver {driver or '?'}, CUDA {torch.version.cuda}"
    try:
        torch.ones(2, device=name).sum().item()
    except RuntimeError as error:
        remedy = f"{_TORCH_FOR_CUDA}; until then use --device cpu"
        return Finding("devices", name, f"{text}: it cannot compute ({describe(error)})", "broken", remedy)
    return Finding("devices", name, text)


def _unused_gpu(gpus: str) -> Finding:
    import torch

    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden in ("", "-1"):
        return Finding("devices", "cuda", f"{gpus}: hidden by CUDA_VISIBLE_DEVICES={hidden}")
    if torch.version.cuda is None:
        text = f"{gpus}: not used, since torch {torch.__version__} is a build without CUDA"
        return Finding("devices", "cuda", text, "warning", _TORCH_FOR_CUDA)
    text = f"{gpus}: not used, since torch's CUDA {torch.version.cuda} does not start with this driver"
    return Finding("devices", "cuda", text, "warning", f"update the NVIDIA driver; or: {_TORCH_FOR_CUDA}")
