"""Which ONNX Runtime providers are chosen, and how what is wrong with an installation is told; its builds are fakes."""

import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from poseact.errors import ModelError
from poseact.providers import CORE_ML, CPU, CUDA, choose_providers, hidden_cuda, load_session

PLAIN, WITH_CUDA = ["AzureExecutionProvider", CPU], ["TensorrtExecutionProvider", CUDA, CPU]


@pytest.fixture
def install(monkeypatch):
    """install(available, **versions): the ONNX Runtime that is imported, and the builds that pip knows of.

    starts: the providers that a session ends up with, or an error that it raises. Returns what the session was
    asked for.
    """

    def pretend(available, starts=(), **versions):
        versions = {name.replace("_", "-"): version for name, version in versions.items()}
        asked = {}

        def session(path, options, **arguments):
            asked.update(arguments, path=path)
            if isinstance(starts, Exception):
                raise starts
            return SimpleNamespace(get_providers=lambda: list(starts))

        def version(name):
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        def preload_dlls():
            asked["preloaded"] = True
            print("Failed to load libcudnn.so.9")

        fake = SimpleNamespace(
            get_available_providers=lambda: list(available),
            SessionOptions=SimpleNamespace,
            InferenceSession=session,
            preload_dlls=preload_dlls,
        )
        monkeypatch.setitem(sys.modules, "onnxruntime", fake)
        monkeypatch.setattr("poseact.providers.metadata.version", version)
        return asked

    return pretend


def test_the_cpu_is_always_there(install):
    install([])
    assert choose_providers("cpu") == [CPU]


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:3", 3)])
def test_cuda_on_the_gpu_that_is_meant_then_the_cpu(install, device, index):
    install(WITH_CUDA, onnxruntime_gpu="1.31.1")
    (cuda, options), fallback = choose_providers(device)
    assert (cuda, options["device_id"], fallback) == (CUDA, index, CPU)


def test_apples_gpu(install):
    install([CORE_ML, CPU], onnxruntime="1.32.0")
    assert choose_providers("mps") == [CORE_ML, CPU]
    install(PLAIN, onnxruntime="1.32.0")
    with pytest.raises(ModelError, match=r"no CoreML.*--device cpu"):
        choose_providers("mps")


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({"onnxruntime": "1.32.0"}, r"the installed build knows no CUDA; run: pip install 'poseact\[gpu\]'"),
        (
            {"onnxruntime": "1.32.0", "onnxruntime_gpu": "1.31.1"},
            r"onnxruntime 1\.32\.0 was installed over onnxruntime-gpu 1\.31\.1 and hides CUDA; "
            r"run: pip install --force-reinstall --no-deps onnxruntime-gpu==1\.31\.1",
        ),
        ({"onnxruntime_gpu": "1.31.1"}, r"onnxruntime-gpu 1\.31\.1 is damaged; run: pip install --force-reinstall"),
    ],
)
def test_why_there_is_no_cuda(install, versions, message):
    install(PLAIN, **versions)
    with pytest.raises(ModelError, match=f"cannot run on cuda:1: {message}"):
        choose_providers("cuda:1")


def test_two_builds_are_no_clash_where_the_right_one_was_installed_last(install):
    both = {"onnxruntime": "1.32.0", "onnxruntime_gpu": "1.31.1"}
    install(WITH_CUDA, **both)
    assert hidden_cuda() is None
    install(PLAIN, **both)
    assert "pip install --force-reinstall --no-deps onnxruntime-gpu==1.31.1" in hidden_cuda()
    install(PLAIN, onnxruntime="1.32.0")
    assert hidden_cuda() is None


def test_a_provider_that_does_not_start_is_no_quiet_cpu(install, tmp_path):
    asked = install(WITH_CUDA, starts=[CPU], onnxruntime_gpu="1.31.1")
    with pytest.raises(ModelError, match=r"has CUDAExecutionProvider but could not start it.*\[cuda,cudnn\].*cpu"):
        load_session(tmp_path / "model.onnx", "cuda")
    assert asked["enable_fallback"] == 0


def test_a_session_on_cuda_finds_pips_libraries_and_prints_nothing(install, tmp_path, capsys):
    asked = install(WITH_CUDA, starts=[CUDA, CPU], onnxruntime_gpu="1.31.1")
    load_session(tmp_path / "model.onnx", "cuda")
    assert asked["preloaded"]
    assert capsys.readouterr().out == ""


def test_a_session_on_the_cpu_looks_for_no_libraries(install, tmp_path):
    asked = install(WITH_CUDA, starts=[CPU], onnxruntime_gpu="1.31.1")
    load_session(tmp_path / "model.onnx", "cpu")
    assert asked["providers"] == [CPU]
    assert "preloaded" not in asked


def test_what_the_runtime_says_of_a_file_is_told_in_one_line(install, tmp_path):
    install(PLAIN, starts=RuntimeError("no protobuf\nstack of many lines"))
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded as an ONNX file on cpu \(no protobuf\)$"):
        load_session(tmp_path / "model.onnx", "cpu")


def test_without_onnx_runtime_the_command_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match="run: pip install onnxruntime"):
        choose_providers("cuda")
