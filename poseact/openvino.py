"""OpenVINO: the fastest way to run a network on an x86 CPU. The only file that imports it.

PyTorch networks are converted once; what comes of it is kept in the folder of downloads, named by all it depends on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import sys
import tempfile
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .bundle import no_jit_warnings
from .errors import ModelError
from .files import written_aside
from .providers import first_line
from .zoo import cache_folder

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

# Changed whenever what is kept would be made in another way.
_FORM = "1"
# Shapes of input for which a network is kept compiled; each takes 0.2 seconds and some 30 MB.
_MOST_SHAPES = 8
_ABOUT, _XML, _BIN = "about.json", "model.xml", "model.bin"


def is_installed() -> bool:
    """Whether OpenVINO can be imported."""
    try:
        _import_openvino()
    except ModelError as error:
        if util.find_spec("openvino") is not None:
            log.warning("%s", error)
        return False
    return True


def convert(network: nn.Module, example: tuple[int, ...]) -> Any:
    """A network that takes pictures (N, 3, H, W) in [0, 1], as an `openvino.Model` of float32 that takes (N, H, W, 3)
    uint8, N, H and W open. example: a shape that it can be tried with. Raises ModelError if OpenVINO cannot."""
    import torch

    openvino = _import_openvino()
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    pictures = torch.zeros(example)
    try:
        with torch.inference_mode(), no_jit_warnings():
            traced = torch.jit.trace(network, pictures, check_trace=False)
        # openvino.convert_model does the same, but also tells Intel of each call.
        frontend = _frontends().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced, example_input=(pictures,))
        steps = openvino.preprocess.PrePostProcessor(frontend.convert(frontend.load(decoder)))
        steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
        return steps.build()
    except Exception as error:  # OpenVINO's have no base of their own
        raise ModelError(
            f"OpenVINO cannot convert the network ({first_line(error)}); choose the torch backend"
        ) from error


def key_of(sha256: str, settings: str, *packages: str) -> str:
    """A name for what is made of weights (their SHA-256) with these settings, by the installed packages."""
    versions = [f"{name} {metadata.version(name)}" for name in ("openvino", *packages)]
    text = "\n".join([_FORM, sha256, settings, platform.machine(), *versions])
    return hashlib.sha256(text.encode()).hexdigest()


def keep(key: str, model: Any, about: dict[str, Any]) -> None:
    """Keep a model that took a while to make, and what is to be known about it. A folder that cannot be written to is
    no error: it is made again the next time."""
    path = _kept_path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder, written_aside(path) as aside:
            xml, weights = Path(folder, _XML), Path(folder, _BIN)
            _import_openvino().serialize(model, str(xml), str(weights))
            with zipfile.ZipFile(aside, "w") as archive:
                archive.writestr(_ABOUT, json.dumps(about))
                archive.write(xml, _XML)
                archive.write(weights, _BIN)
    except (OSError, RuntimeError) as error:  # a full disk is a RuntimeError of OpenVINO's
        log.info("%s cannot be written (%s), so the network is converted each time", path, first_line(error))


def kept(key: str) -> tuple[Any, dict[str, Any]] | None:
    """The model that `keep` kept, and what is to be known about it; None if there is none, or it is damaged."""
    path = _kept_path(key)
    try:
        with zipfile.ZipFile(path) as archive:  # checks each part's CRC
            about = json.loads(archive.read(_ABOUT))
            return _core().read_model(archive.read(_XML), archive.read(_BIN)), about
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        log.info("%s is damaged (%s), so the network is converted again", path, first_line(error))
        return None


def _kept_path(key: str) -> Path:
    return cache_folder() / "openvino" / f"{key}.zip"


class Network:
    """A model for this CPU, on as many threads as PyTorch would take. Inputs are answered side by side, each by a few
    of the threads, which is faster than one after the other by all of them.

    exact: in float32; else in bfloat16 where the processor has it. A model whose inputs may be of any shape is compiled
    for each shape anew: one that is open to all of them takes half as long again whenever the shape changes.
    """

    def __init__(self, model: Any, exact: bool):
        capable = "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.precision = "bf16" if capable and not exact else "f32"
        self._model = model
        self._requests_for = lru_cache(_MOST_SHAPES)(self._compile)

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Compile it for inputs of a shape. Raises ModelError if this processor cannot run it."""
        self._requests_for(shape)

    def __call__(self, inputs: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """The outputs for each input, in order; they are overwritten when the next ones are asked for."""
        running: deque[tuple[Any, deque, np.ndarray]] = deque()  # with its input, whose memory is the request's too
        free: dict[tuple[int, ...], deque] = {}
        try:
            for each in inputs:
                requests = self._requests_for(each.shape)
                left = free.setdefault(each.shape, deque(requests))
                while len(running) >= len(requests):
                    yield _finish(running)
                request = left.popleft()
                request.start_async([each], share_inputs=True)
                running.append((request, left, each))
            while running:
                yield _finish(running)
        finally:
            for request, _, _ in running:
                request.wait()

    def _compile(self, shape: tuple[int, ...]) -> list:
        """What answers inputs of a shape: twice as many requests as are worth running at a time."""
        import torch

        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # a core is shared with those who decode
        }
        model = self._model.clone()
        try:
            model.reshape(shape)
            compiled = _core().compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise ModelError(
                f"OpenVINO cannot run the network on this processor ({first_line(error)}); choose the native backend"
            ) from error
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        # While Python reads the answers of as many, the next ones are already being computed.
        return [compiled.create_infer_request() for _ in range(2 * count)]


def _finish(running: deque) -> list[np.ndarray]:
    request, left, _ = running.popleft()
    request.wait()
    left.append(request)
    return [tensor.data for tensor in request.output_tensors]


class OnnxSession:
    """An ONNX file on the CPU, called as an `onnxruntime.InferenceSession` is. Raises ModelError.

    In bfloat16 where the processor has it: in float32 OpenVINO is no faster than ONNX Runtime. Where the file leaves
    the number of pictures open they go one by one, and every shape is compiled: of a shape that is left open OpenVINO
    believes the file, and writes past the end of its memory if that is wrong, as it is of networks that say to take any
    number and take one.
    """

    def __init__(self, path: Path):
        manager = _frontends()
        try:
            # Core.read_model would try every other format too, and have them print what they think of the file.
            frontend = manager.load_by_framework("onnx")
            model = frontend.convert(frontend.load(str(path)))
            self._inputs = [_Input(port) for port in model.inputs]
        except Exception as error:  # OpenVINO's have no base of their own
            raise ModelError(f"{path} cannot be loaded as an ONNX file by OpenVINO ({first_line(error)})") from error
        self._network = Network(model, exact=False)

    def get_inputs(self) -> list[_Input]:
        return self._inputs

    def run(self, outputs: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs for the one input."""
        (batch,) = feed.values()
        step = self._inputs[0].shape[0] or 1
        inputs = (batch[start : start + step] for start in range(0, len(batch), step))
        found = [[output.copy() for output in found] for found in self._network(inputs)]
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]


class _Input:
    """name, shape with None where it is open, and type of an input, as ONNX Runtime tells them."""

    def __init__(self, port: Any):
        self.name = port.any_name
        self.shape = [None if side.is_dynamic else side.get_length() for side in port.partial_shape]
        self.type = {"f32": "tensor(float)"}.get(port.element_type.get_type_name(), str(port.element_type))


@cache
def _core() -> Any:
    return _import_openvino().Core()


@cache
def _frontends() -> Any:
    """The readers of each format, which must outlive what they read."""
    _import_openvino()
    from openvino.frontend import FrontEndManager

    return FrontEndManager()


def _import_openvino() -> Any:
    """Import it so that it does not tell Intel of it, nor write into the user's home for that."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it were not installed
    try:
        import openvino
    except ImportError as error:
        raise ModelError(f"OpenVINO cannot be imported ({error}); run: pip install 'poseact[cpu]'") from error
    return openvino
