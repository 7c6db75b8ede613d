"""JSON lines: one object for each label."""

from __future__ import annotations

import json

from ..clips import ClipLabel
from .base import Sink


class JsonlSink(Sink):
    def format(self, clip: ClipLabel) -> str:
        return json.dumps(clip.as_dict(), ensure_ascii=False) + "\n"
