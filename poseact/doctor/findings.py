"""`Finding`, what a check of the machine saw; a leaf that imports nothing heavy."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ..errors import PoseActError

Status = Literal["ok", "warning", "broken"]

REPORT = "report it, with what `poseact doctor --json` prints"


@dataclass(frozen=True)
class Finding:
    """What a check saw. part, name: where; text: what; remedy: what to do, given wherever something is not ok."""

    part: str
    name: str
    text: str
    status: Status = "ok"
    remedy: str = ""

    def __post_init__(self) -> None:
        if (self.status == "ok") == bool(self.remedy):
            raise ValueError(f"a remedy belongs to what is not ok, and to nothing else, got {self}")


Check = Callable[[], Iterable[Finding]]


def broken_by(part: str, name: str, error: PoseActError, status: Status = "broken") -> Finding:
    """An error of ours as a finding."""
    text, remedy = split_remedy(str(error))
    return Finding(part, name, text, status, remedy or REPORT)


def split_remedy(sentence: str) -> tuple[str, str]:
    """What is wrong and, after the last semicolon, what to do, as the sentences of our errors say it; "" if nothing."""
    head, _, tail = sentence.rpartition("; ")
    return (head, tail.removeprefix("run: ")) if head else (tail, "")


def describe(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def version_of(package: str) -> str | None:
    """The version in which pip knows a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Of those that are installed."""
    found = {package: version_of(package) for package in packages}
    return {package: version for package, version in found.items() if version is not None}
