"""Which processor the networks run on."""

from __future__ import annotations

import re

from .errors import UsageError


def kind_of(device: str) -> str:
    """cpu, cuda or mps, of a name that `choose_device` gives."""
    return device.partition(":")[0]


def choose_device(name: str) -> str:
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps` to the name that torch knows. Raises UsageError if it is not there."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"{name!r} is no device; choose auto, cpu, cuda, cuda:N or mps")
    if name == "cpu":
        return name
    import torch

    mps = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "mps" if mps else "cpu"
    if name == "mps":
        if not mps:
            raise UsageError("this machine has no Apple GPU that torch can use; choose --device cpu")
        return name
    index = int(name.partition(":")[2] or 0)
    count = torch.cuda.device_count()
    if index >= count:
        found = f"{count} CUDA GPU{'s' if count != 1 else ''}" if count else "no CUDA GPU"
        raise UsageError(f"torch finds {found} on this machine, so {name} cannot be used; choose --device cpu or auto")
    return f"cuda:{index}"
