"""What a bug report needs and what is wrong on this machine, each with its remedy.

    for finding in examine():
        print(finding.part, finding.name, finding.status, finding.text, finding.remedy)

A check is a function that yields findings. It imports what it looks at by itself, and what crashes in it becomes a
finding too, so that a machine on which nothing works still gets its report.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import PoseActError
from .findings import REPORT, Check, Finding, broken_by, describe
from .machine import devices, system
from .runtime import onnx_runtime
from .selftest import self_test
from .software import PACKAGES, opencv, packages, ultralytics
from .storage import cache, decoders, models

__all__ = ["CHECKS", "Check", "Finding", "examine"]

CHECKS: tuple[Check, ...] = (
    *(system, packages, opencv, ultralytics, devices, onnx_runtime),
    *(decoders, cache, models, self_test),
)

_MEND_PACKAGES = "mend the packages above first"


def examine(on_check: Callable[[str], None] | None = None, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Run all checks, some 10 seconds of work; on_check is told each one's name first. Raises nothing.

    The home folder is written as ~, so that the findings name no user.
    """
    findings: list[Finding] = []
    for check in checks:
        name = check.__name__.replace("_", " ")
        if on_check:
            on_check(name)
        findings += _isolated(name, check, findings)
    return [replace(f, text=_without_home(f.text), remedy=_without_home(f.remedy)) for f in findings]


def _isolated(part: str, check: Check, earlier: Sequence[Finding]) -> list[Finding]:
    """What the check finds, and what stops it as one more finding, of which a broken package may be the cause."""
    found: list[Finding] = []
    try:
        # stdout is for results, and what libraries print when they are imported is none.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for finding in check():
                found.append(finding)
    except PoseActError as error:
        found.append(broken_by(part, "check", error))
    except (Exception, SystemExit) as error:
        found.append(Finding(part, "check", f"stopped by {describe(error)}", "broken", REPORT))
    else:
        return found
    if any(finding.part == PACKAGES and finding.status == "broken" for finding in earlier):
        found[-1] = replace(found[-1], remedy=_MEND_PACKAGES)
    return found


def _without_home(text: str) -> str:
    home = os.path.expanduser("~")
    for folder in {home, os.path.realpath(home)}:
        if len(Path(folder).parts) > 1:  # a service's home may be / itself
            text = re.sub(rf"{re.escape(folder)}(?!\w)", "~", text)
    return text
