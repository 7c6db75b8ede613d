"""Which ONNX Runtime providers run a network on a device, and what keeps CUDA from it."""

from __future__ import annotations

import contextlib
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import ModelError

# A provider by name, or with its options.
Provider = str | tuple[str, dict[str, Any]]

CPU, CUDA, CORE_ML = "CPUExecutionProvider", "CUDAExecutionProvider", "CoreMLExecutionProvider"
_CPU_BUILD, _CUDA_BUILD = "onnxruntime", "onnxruntime-gpu"


def choose_providers(device: str) -> list[Provider]:
    """The providers, in ONNX Runtime's own order of preference, that run a network on `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises ModelError naming the command that mends it if the installed ONNX Runtime cannot.
    """
    if device == "cpu":
        return [CPU]
    available = _import_onnxruntime().get_available_providers()
    if device == "mps":
        if CORE_ML not in available:
            raise ModelError("this ONNX Runtime has no CoreML, so it cannot use mps; choose --device cpu")
        return [CORE_ML, CPU]
    if CUDA not in available:
        raise ModelError(f"ONNX Runtime cannot run on {device}: {_why_no_cuda()}")
    index = int(device.partition(":")[2] or 0)
    # Exhaustive search, the default, starts anew for every number of people.
    return [(CUDA, {"device_id": index, "cudnn_conv_algo_search": "HEURISTIC"}), CPU]


def installed_builds() -> dict[str, str]:
    """The versions of ONNX Runtime's builds that pip knows of: onnxruntime, onnxruntime-gpu or both."""
    found = {}
    for name in (_CPU_BUILD, _CUDA_BUILD):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def hidden_cuda() -> str | None:
    """What is wrong and how it is mended, if onnxruntime hides onnxruntime-gpu; None if it does not.

    Both fill one folder, so the one that was installed last is used. rtmlib needs the first by name, so that both
    are there wherever CUDA is wanted: the second has to be laid over it.
    """
    builds = installed_builds()
    if len(builds) < 2 or CUDA in _import_onnxruntime().get_available_providers():
        return None
    return (
        f"onnxruntime {builds[_CPU_BUILD]} was installed over onnxruntime-gpu {builds[_CUDA_BUILD]} and hides CUDA; "
        f"run: pip install --force-reinstall --no-deps onnxruntime-gpu=={builds[_CUDA_BUILD]}"
    )


def load_session(path: Path, device: str) -> Any:
    """An ONNX file as an `onnxruntime.InferenceSession` on the device.

    Raises ModelError if it is no ONNX file that ONNX Runtime can run, or if it would run on the CPU instead.
    """
    onnxruntime = _import_onnxruntime()
    providers = choose_providers(device)
    if device.startswith("cuda") and hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it misses, and stdout is for results
            onnxruntime.preload_dlls()  # CUDA and cuDNN as pip installs them, which the system does not know of
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised; they need not be printed too
    try:
        # With its fallback it would print to stdout, and run on the CPU.
        session = onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's have no base of their own
        raise ModelError(f"{path} cannot be loaded as an ONNX file on {device} ({first_line(error)})") from error
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if wanted not in session.get_providers():
        cure = "run: pip install 'onnxruntime-gpu[cuda,cudnn]', or " if wanted == CUDA else ""
        raise ModelError(
            f"ONNX Runtime has {wanted} but could not start it on {device}, for want of a library or driver that it "
            f"names above; {cure}choose --device cpu"
        )
    return session


def first_line(error: Exception) -> str:
    """What an error says, in one line of at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _why_no_cuda() -> str:
    if clash := hidden_cuda():
        return clash
    builds = installed_builds()
    if _CUDA_BUILD in builds:
        return f"onnxruntime-gpu {builds[_CUDA_BUILD]} is damaged; run: pip install --force-reinstall onnxruntime-gpu"
    return "the installed build knows no CUDA; run: pip install 'poseact[gpu]', or choose --device cpu"


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(f"ONNX Runtime cannot be imported ({error}); run: pip install onnxruntime") from error
    return onnxruntime
