"""CSV with the keys of the JSON lines as columns; `top` is JSON inside its cell."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields

from ..clips import ClipLabel
from .base import RowSink

_COLUMNS = [field.name for field in fields(ClipLabel)]


class CsvSink(RowSink):
    def header(self) -> str:
        return _row(_COLUMNS)

    def format(self, clip: ClipLabel) -> str:
        values = clip.as_dict()
        values["top"] = json.dumps(values["top"], ensure_ascii=False)
        return _row(["" if values[name] is None else values[name] for name in _COLUMNS])


def _row(values: list) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
