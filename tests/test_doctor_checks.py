"""The checks of `poseact doctor`: each thing that can be wrong is faked, and must be found together with its remedy."""

import builtins
import importlib
import importlib.metadata
import sys
from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch

from poseact import memory, zoo
from poseact.doctor import Finding, examine, machine, selftest, software, storage
from poseact.doctor import runtime as runtime_checks

GPU = ("550.54", ["NVIDIA H100"])


def only(check):
    """What is found that is not ok; at least something is found."""
    found = list(check())
    assert found
    return [finding for finding in found if finding.status != "ok"]


def one(check):
    (finding,) = only(check)
    return finding


@pytest.fixture
def versions(monkeypatch):
    """versions(name="1.0", other=None): let packages be installed in other versions, or not be (None)."""

    def let(**changed):
        changed = {name.replace("_", "-"): version for name, version in changed.items()}
        true_version = importlib.metadata.version

        def version(name):
            if changed.get(name, "") is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return changed.get(name) or true_version(name)

        monkeypatch.setattr(importlib.metadata, "version", version)

    return let


@pytest.fixture
def fail_to_import(monkeypatch):
    """fail_to_import("cv2", error): what `import cv2` raises."""
    true_import, true_import_module = builtins.__import__, importlib.import_module

    def let(module, error):
        def import_module(name, package=None):
            if name == module:
                raise error
            return true_import_module(name, package)

        def import_statement(name, *args, **kwargs):
            if name == module:
                raise error
            return true_import(name, *args, **kwargs)

        monkeypatch.setattr(importlib, "import_module", import_module)
        monkeypatch.setattr(builtins, "__import__", import_statement)

    return let


# --- packages


def test_a_package_that_is_too_old_or_missing_is_named_with_the_version_needed(versions, monkeypatch):
    needed = ["av>=14.0", "lap>=0.5.12", 'onnx>=99; extra == "onnx"', "rich>=13"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needed)
    versions(av="12.3.0", lap=None)
    av, lap = sorted(only(software.packages), key=lambda finding: finding.name)
    assert (av.name, av.status, av.remedy) == ("av", "broken", "pip install 'av>=14.0'")
    assert "12.3.0" in av.text
    assert (lap.name, lap.text, lap.remedy) == (
        "lap",
        "not installed; poseact needs lap>=0.5.12",
        "pip install 'lap>=0.5.12'",
    )


def test_run_from_a_folder_of_sources_nothing_is_required(monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert only(software.packages) == []


def test_torch_and_torchvision_are_mended_together(fail_to_import):
    fail_to_import("torchvision", RuntimeError("operator torchvision::nms does not exist"))
    found = one(software.packages)
    assert found.status == "broken"
    assert "torchvision::nms" in found.text
    assert found.remedy == "pip install --force-reinstall torch torchvision"


ONE_OPENCV = dict.fromkeys(("opencv_python_headless", "opencv_contrib_python", "opencv_contrib_python_headless"))


@pytest.mark.parametrize("library", ["libGL.so.1", "libglib-2.0.so.0", "libgthread-2.0.so.0", "libxcb.so.1"])
def test_opencv_on_a_server_without_a_screen(fail_to_import, versions, library):
    versions(**ONE_OPENCV, opencv_python="4.11.0")
    fail_to_import("cv2", ImportError(f"{library}: cannot open shared object file: No such file or directory"))
    found = one(software.opencv)
    assert found.status == "broken"
    assert found.text.endswith(f"lacks {library}")
    assert found.remedy == (
        "pip uninstall -y opencv-python && pip install opencv-python-headless; or: apt-get install libgl1 libglib2.0-0"
    )


def test_opencv_that_is_broken_otherwise(fail_to_import, versions):
    versions(**{**ONE_OPENCV, "opencv_python": "4.11.0", "opencv_contrib_python": "4.11.0"})
    fail_to_import("cv2", ImportError("numpy.core.multiarray failed to import"))
    found = one(software.opencv)
    assert found.status == "broken"
    assert "numpy.core.multiarray" in found.text
    assert found.remedy.endswith("pip install opencv-contrib-python-headless")
    assert "apt-get" not in found.remedy


def test_what_pip_leaves_of_two_opencvs_is_no_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace())
    assert one(software.opencv).status == "broken"


@pytest.mark.parametrize("other", [{"opencv_python_headless": "5.0.0"}, {"opencv_contrib_python": "4.10.0"}])
def test_two_opencvs_that_overwrite_each_other(versions, other):
    versions(**{**ONE_OPENCV, "opencv_python": "5.0.0", **other})
    found = one(software.opencv)
    assert found.status == "warning"
    assert found.remedy.startswith("pip uninstall -y opencv-")
    assert " && pip install opencv-" in found.remedy


def test_two_equal_opencvs_as_rtmlib_wants_them_are_fine(versions):
    versions(**{**ONE_OPENCV, "opencv_python": "5.0.0", "opencv_contrib_python": "5.0.0"})
    assert only(software.opencv) == []


def test_ultralytics_that_lacks_a_library_of_the_system_is_no_matter_of_pips(fail_to_import):
    fail_to_import("ultralytics", ImportError("libGL.so.1: cannot open shared object file"))
    (found,) = examine(checks=(software.ultralytics,))
    assert (found.status, found.remedy) == ("broken", "poseact doctor")
    broken_opencv = lambda: [Finding(software.PACKAGES, "opencv", "lacks libGL.so.1", "broken", "apt-get")]  # noqa: E731
    assert examine(checks=(broken_opencv, software.ultralytics))[1].remedy == "mend the packages above first"


def test_ultralytics_that_is_not_installed_is_installed_by_pip(fail_to_import):
    fail_to_import("ultralytics", ModuleNotFoundError("No module named 'ultralytics'"))
    (found,) = examine(checks=(software.ultralytics,))
    assert (found.status, found.remedy) == ("broken", "pip install ultralytics")


# --- machine


def test_little_memory_is_a_warning_and_a_containers_limit_counts(monkeypatch, tmp_path):
    import psutil

    Memory = namedtuple("Memory", "total available")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(64e9, 60e9))
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CONTAINER_LIMIT", limit)
    assert only(machine.system) == []
    limit.write_text("max\n")
    assert only(machine.system) == []
    limit.write_text(f"{10**9}\n")
    found = one(machine.system)
    assert found.status == "warning"
    assert "1.0 GB" in found.text
    assert "container" in found.remedy


def test_the_processor_is_told_by_what_networks_profit_from(monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Big Chip\nflags\t\t: fpu avx2 avx512f amx_tile amx_bf16\n")
    monkeypatch.setattr(machine, "_CPUINFO", cpuinfo)
    (found,) = [finding for finding in machine.system() if finding.name == "processor"]
    assert found.text.startswith("Big Chip, AVX2, AVX-512, AMX, ")
    cpuinfo.unlink()
    (found,) = [finding for finding in machine.system() if finding.name == "processor"]
    assert "core" in found.text


@pytest.fixture
def torch_without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(machine, "nvidia_gpus", lambda: GPU)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_torch_without_cuda_beside_a_gpu(torch_without_gpu, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    found = one(machine.devices)
    assert found.status == "warning"
    assert "NVIDIA H100, driver 550.54" in found.text
    assert "without CUDA" in found.text
    assert found.remedy.startswith("pip uninstall -y torch torchvision, then install both")


def test_a_driver_too_old_for_torch(torch_without_gpu, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert one(machine.devices).remedy.startswith("update the NVIDIA driver")


def test_a_gpu_that_was_hidden_on_purpose_is_fine(torch_without_gpu, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert only(machine.devices) == []
    assert any("hidden by CUDA_VISIBLE_DEVICES" in finding.text for finding in machine.devices())


def test_a_gpu_that_torch_sees_but_cannot_use(monkeypatch):
    properties = SimpleNamespace(name="Old GPU", total_memory=4e9)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(machine, "nvidia_gpus", lambda: GPU)
    true_ones = torch.ones

    def ones(*args, **options):
        if options.get("device") == "cuda:0":
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nand more")
        return true_ones(*args, **options)

    monkeypatch.setattr(torch, "ones", ones)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found = one(machine.devices)
    assert (found.name, found.status) == ("cuda:0", "broken")
    assert "Old GPU, 4.0 GB, driver 550.54" in found.text
    assert "no kernel image" in found.text
    assert "--device cpu" in found.remedy


# --- ONNX Runtime


@pytest.fixture
def runtime(monkeypatch):
    """runtime(builds, gpus, cuda): let these builds be installed, with CUDA or without, beside these GPUs."""
    pytest.importorskip("onnxruntime")
    from poseact import providers

    def let(builds, gpus, cuda):
        import onnxruntime

        available = ["CUDAExecutionProvider"] * cuda + ["CPUExecutionProvider"]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
        monkeypatch.setattr(providers, "installed_builds", lambda: builds)
        monkeypatch.setattr(runtime_checks, "installed_builds", lambda: builds)
        monkeypatch.setattr(runtime_checks, "nvidia_gpus", lambda: GPU if gpus else ("", []))

    return let


BOTH = {"onnxruntime": "1.20.0", "onnxruntime-gpu": "1.20.0"}


def test_without_onnx_runtime_nothing_is_wrong(runtime):
    runtime({}, gpus=True, cuda=False)
    assert only(runtime_checks.onnx_runtime) == []


def test_it_runs_on_the_cpu(runtime):
    runtime({"onnxruntime": "1.20.0"}, gpus=False, cuda=False)
    assert only(runtime_checks.onnx_runtime) == []
    assert [finding.name for finding in runtime_checks.onnx_runtime()] == ["builds", "cpu"]


@pytest.mark.parametrize(("gpus", "status"), [(True, "broken"), (False, "warning")])
def test_the_clash_of_two_builds_prints_the_command_that_mends_it(runtime, gpus, status):
    runtime(BOTH, gpus, cuda=False)
    found = one(runtime_checks.onnx_runtime)
    assert (found.name, found.status) == ("cuda", status)
    assert "hides" in found.text
    assert found.remedy == "pip install --force-reinstall --no-deps onnxruntime-gpu==1.20.0"


def test_only_the_build_for_the_cpu_beside_a_gpu_is_a_warning(runtime):
    runtime({"onnxruntime": "1.20.0"}, gpus=True, cuda=False)
    found = one(runtime_checks.onnx_runtime)
    assert (found.name, found.status) == ("cuda", "warning")
    assert "poseact[gpu]" in found.remedy


def test_cuda_that_is_listed_but_does_not_start_is_broken(runtime):
    runtime({"onnxruntime-gpu": "1.20.0"}, gpus=True, cuda=True)
    found = one(runtime_checks.onnx_runtime)
    assert (found.name, found.status) == ("cuda", "broken")
    assert "--device cpu" in found.remedy


def test_a_runtime_that_cannot_be_imported_is_broken(runtime, fail_to_import):
    runtime({"onnxruntime": "1.20.0"}, gpus=False, cuda=False)
    fail_to_import("onnxruntime", ImportError("DLL load failed"))
    found = one(runtime_checks.onnx_runtime)
    assert (found.name, found.status, found.remedy) == ("cpu", "broken", "pip install onnxruntime")


# --- decoders, cache, models


@pytest.mark.parametrize(
    ("missing", "status"),
    [({"libdav1d", "libaom-av1", "vp9", "libvpx-vp9"}, "warning"), ({"h264"}, "broken")],
)
def test_decoders_that_are_missing(monkeypatch, missing, status):
    true_decodes = storage._decodes
    monkeypatch.setattr(storage, "_decodes", lambda name: name not in missing and true_decodes(name))
    found = one(storage.decoders)
    assert found.status == status
    assert found.text.startswith("VP9, AV1 cannot" if status == "warning" else "H.264 cannot")
    assert found.remedy == "pip install --force-reinstall --only-binary av av"


def test_a_decoder_that_ffmpeg_does_not_know_is_not_there():
    assert storage._decodes("h264")
    assert not storage._decodes("no-such-codec")


def test_the_cache_is_measured_and_not_made(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setenv("POSEACT_HOME", str(folder))
    assert only(storage.cache) == []
    assert not folder.exists()
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.onnx").write_bytes(b"x" * 2_000_000)
    (found,) = storage.cache()
    assert "1 files of 2.0 MB" in found.text
    assert [path.name for path in folder.iterdir()] == ["in"]


def test_a_cache_that_cannot_be_written_names_the_variable(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("POSEACT_HOME", str(blocked / "cache"))
    found = one(storage.cache)
    assert found.status == "warning"
    assert "POSEACT_HOME" in found.remedy


def test_a_full_disk_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("POSEACT_HOME", str(tmp_path))
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: SimpleNamespace(free=5e8))
    found = one(storage.cache)
    assert found.status == "warning"
    assert "0.5 GB free" in found.text
    assert found.remedy.startswith("free some space")


def model(**row):
    return zoo.Model(**{"parts": ("pose",), "licence": "MIT", "about": "", "size": 3, **row})


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """registry(*models): let only these be known; an empty folder is the cache, and nothing is shipped."""

    def let(*models):
        rows = {row.name: row for row in models}
        for module in (zoo, storage, selftest):
            monkeypatch.setattr(module, "registry", lambda: rows)
        monkeypatch.setenv("POSEACT_HOME", str(tmp_path))
        return tmp_path

    return let


def test_a_model_that_was_changed_is_broken_and_what_can_be_downloaded_is_not(registry):
    url = "https://example.org/x"
    folder = registry(
        model(name="changed", file="changed.pt", sha256="0" * 64, url=url),
        model(name="absent", file="absent.pt", sha256="0" * 64, url=url),
    )
    (folder / "changed.pt").write_bytes(b"abc")
    changed, absent = storage.models()
    assert (changed.name, changed.status, changed.remedy) == ("changed", "broken", "delete it")
    assert (absent.status, absent.text) == ("ok", "absent, when they are first asked for")


def test_a_model_without_a_registered_sha256_is_first_used_by_somebody_else_than_the_doctor(registry):
    folder = registry(model(name="free", file="free.onnx", size=None, url="https://example.org/x"))
    (folder / "free.onnx").write_bytes(b"abc")
    (found,) = storage.models()
    assert (found.status, found.text.partition(";")[0]) == ("ok", "cached")
    assert "first use, which is yet to come" in found.text
    assert [path.name for path in folder.iterdir()] == ["free.onnx"]
    zoo.resolve("free", "pose")
    (found,) = storage.models()
    assert found.text == "cached, SHA-256 as at its first use"
    (folder / "free.onnx").write_bytes(b"abd")
    assert one(storage.models).status == "broken"


def test_a_default_model_that_would_have_to_be_downloaded_is_a_warning_and_nothing_is_downloaded(registry, monkeypatch):
    monkeypatch.setattr(zoo, "fetch", lambda *args, **options: pytest.fail("downloads"))
    default = model(
        name=zoo.DEFAULT_POSE, file="absent.pt", sha256="0" * 64, url="https://example.org/x", requirement="carrier==1"
    )
    registry(default)
    found = one(storage.models)
    assert (found.name, found.status, found.remedy) == (zoo.DEFAULT_POSE, "warning", "pip install carrier==1")
    monkeypatch.setattr(selftest, "_models", lambda: [zoo.DEFAULT_POSE])
    found = one(selftest.self_test)
    assert found.status == "warning"
    assert f"{zoo.DEFAULT_POSE} is not on this machine" in found.text


def test_a_shipped_model_that_is_missing_is_broken(registry):
    registry(model(name=zoo.DEFAULT_CLASSIFIER.split(",")[0], file="absent.pt", sha256="0" * 64, size=1))
    found = one(storage.models)
    assert (found.status, found.remedy) == ("broken", "install poseact again")
