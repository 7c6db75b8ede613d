"""Parquet, written by pyarrow: typed columns for pandas, DuckDB, R and the like, however many rows there are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clips import ClipLabel
from .base import Sink

if TYPE_CHECKING:
    import pyarrow

# So many labels are held back until they are written together, as a group of rows.
GROUP = 16_384


class ParquetSink(Sink):
    is_binary = True

    def __init__(self, output: Path | None, many_sources: bool = False, per_person: bool = False):
        super().__init__(output, many_sources, per_person)
        self._rows: list[dict] = []
        self._writer: Any = None
        self._target: Any = None

    def write(self, clip: ClipLabel) -> None:
        row = clip.as_dict()
        row["source"] = row["source"].encode("utf-8", "backslashreplace").decode("utf-8")
        self._rows.append(row)
        self.written += 1
        if len(self._rows) >= GROUP:
            self._write_group()

    def finish(self) -> None:
        if self._rows or self._writer is None:
            self._write_group()
        with self.writing():
            self._writer.close()
            self._target.close()
        if self.part is None:
            self.put(self._target.getvalue().to_pybytes())

    def _write_group(self) -> None:
        import pyarrow
        from pyarrow.parquet import ParquetWriter

        rows, self._rows = self._rows, []
        with self.writing():
            if self._writer is None:
                self._target = self._open_target()
                self._writer = ParquetWriter(self._target, schema())
            self._writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema()))

    def _open_target(self) -> Any:
        import pyarrow

        if self.part is None:  # a pipe cannot tell how much was written to it, as the format must know
            return pyarrow.BufferOutputStream()
        # Not the stream of Python's, in which Ctrl-C would leave half a group.
        return pyarrow.OSFile(os.fsencode(self.part), "wb")


def schema() -> pyarrow.Schema:
    """The columns, which are those of `ClipLabel`."""
    import pyarrow as pa

    top = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float64())]))
    return pa.schema(
        [
            pa.field("source", pa.string(), nullable=False),
            pa.field("clip", pa.int64(), nullable=False),
            pa.field("start", pa.float64(), nullable=False),
            pa.field("end", pa.float64(), nullable=False),
            pa.field("person", pa.int64()),
            pa.field("label", pa.dictionary(pa.int32(), pa.string())),
            pa.field("score", pa.float64()),
            pa.field("persons", pa.int64(), nullable=False),
            pa.field("top", top, nullable=False),
        ]
    )
