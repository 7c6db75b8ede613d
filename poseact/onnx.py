"""A bundle as an ONNX file, for whoever runs networks without torch; checked by ONNX Runtime before it is kept.

The file takes `volume` (N, K, T, H, W) float32, any N, and gives `logits` (N, n_labels); what a bundle says of itself
stands in its metadata as `poseact.json`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.onnx.symbolic_helper import parse_args

from .bundle import METADATA_FILE, BundleInfo, load_bundle, no_jit_warnings
from .errors import ModelError, OutputError, UsageError
from .files import written_aside
from .heatmaps import heatmap_volume

# The oldest set of operators in which torch 2.1 to 2.14 and ONNX Runtime since 1.15 agree on all that is used.
_OPSET = 17
LARGEST_DIFFERENCE = 1e-3


def require_onnx() -> None:
    """Raises UsageError naming what to install if the ONNX packages are not there."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"ONNX needs packages of its own ({error.name} is missing): pip install 'poseact[onnx]'"
        ) from error


def export_onnx(bundle: Path, output: Path) -> float:
    """Write a bundle's network as ONNX, and return its largest difference from the TorchScript, as a share of the
    largest logit, on drawn volumes in batches of one and three.

    Raises ModelError if the bundle cannot be used or the difference is above LARGEST_DIFFERENCE, UsageError,
    OutputError. Nothing is written then.
    """
    require_onnx()
    script, info = load_bundle(bundle, torch.device("cpu"))
    with no_jit_warnings():
        frozen = torch.jit.freeze(script.float())
    try:
        with written_aside(output) as aside:
            _translate(frozen, info, aside, bundle)
            difference = _difference(frozen, info, aside, bundle)
            if not difference <= LARGEST_DIFFERENCE:
                raise ModelError(
                    f"{bundle}: ONNX Runtime's logits differ by {difference:.1e} of the largest from TorchScript's, "
                    f"more than {LARGEST_DIFFERENCE:g}; {output} is not written"
                )
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror or error}") from error
    return difference


def _translate(frozen: torch.jit.ScriptModule, info: BundleInfo, path: Path, bundle: Path) -> None:
    import onnx

    options: dict[str, Any] = {}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False  # the new exporter takes no TorchScript and needs one more package
    # On a failure torch prints the network, and to stdout, which is for results.
    torch._C._jit_set_onnx_log_output_stream("stderr")
    try:
        with _symbols(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                frozen,
                (_volumes(info, 1),),
                str(path),
                input_names=["volume"],
                output_names=["logits"],
                dynamic_axes={"volume": {0: "n"}, "logits": {0: "n"}},
                opset_version=_OPSET,
                **options,
            )
    except (RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ModelError(f"{bundle} cannot be expressed in ONNX: {reason}") from error
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {METADATA_FILE: info.to_json()})
    onnx.save(model, str(path))


def _difference(frozen: torch.jit.ScriptModule, info: BundleInfo, path: Path, bundle: Path) -> float:
    import onnxruntime

    largest = 0.0
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for n in (1, 3):
            volumes = _volumes(info, n)
            with torch.inference_mode():
                wanted = frozen(volumes).numpy()
            (found,) = session.run(["logits"], {"volume": volumes.numpy()})
            difference = np.abs(found - wanted).max() / max(float(np.abs(wanted).max()), 1e-12)
            largest = float(np.maximum(largest, difference))  # unlike max(), it lets NaN through
    except Exception as error:  # ONNX Runtime's have no base of their own
        reason = str(error).strip().splitlines()[0][:200]
        raise ModelError(f"{bundle}: its ONNX form does not run: {reason}") from error
    return largest


def _volumes(info: BundleInfo, n: int) -> Tensor:
    """Volumes of people whose keypoints wander at random, (n, K, T, H, W) float32."""
    random = torch.Generator().manual_seed(n)
    layout_size = 1 + max((end for limb in info.limbs for end in limb), default=info.channels - 1)
    steps = 4 * torch.randn((n, 1, info.clip_len, layout_size, 2), generator=random)
    places = 300 + 60 * torch.randn((n, 1, 1, layout_size, 2), generator=random)
    scores = torch.rand(steps.shape[:-1], generator=random).clamp(min=0.3)
    image_size = torch.full((n, 2), 600.0)
    return heatmap_volume(places + steps.cumsum(dim=2), scores, image_size, info.volume, info.limbs or None)


@contextmanager
def _symbols() -> Iterator[None]:
    """Teach torch's exporter two operators: it refuses a memory format, and forgets the rank of what it unflattens."""
    symbols: dict[str, Callable[..., Any]] = {
        "aten::contiguous": lambda g, x, memory_format: x,
        "aten::unflatten": _unflatten,
    }
    for name, symbol in symbols.items():
        torch.onnx.register_custom_op_symbolic(name, symbol, _OPSET)
    try:
        yield
    finally:
        for name in symbols:
            torch.onnx.unregister_custom_op_symbolic(name, _OPSET)


@parse_args("v", "i", "v")
def _unflatten(g: Any, x: Any, dim: int, sizes: Any) -> Any:
    rank = x.type().dim()
    dim %= rank

    def numbers(*values: int) -> Any:
        return g.op("Constant", value_t=torch.tensor(values))

    shape = g.op("Shape", x)
    parts = [g.op("Slice", shape, numbers(0), numbers(dim))] if dim else []
    parts += [g.op("Reshape", size, numbers(1)) for size in sizes.node().inputs()]
    if dim + 1 < rank:
        parts.append(g.op("Slice", shape, numbers(dim + 1), numbers(rank)))
    unflattened = g.op("Reshape", x, g.op("Concat", *parts, axis_i=0))
    n_sizes = len(list(sizes.node().inputs()))
    return unflattened.setType(x.type().with_sizes([None] * (rank - 1 + n_sizes)))
