"""Labels as Parquet, read back by pandas and pyarrow."""

import io
import sys

import pandas
import pyarrow
import pyarrow.parquet
import pytest

from poseact.clips import ClipLabel, LabelScore
from poseact.sinks import open_sink, parquet

ROWS = [
    ClipLabel(
        "tänze, 1.mp4", 0, 0.0, 2.00049, 7, "jump", 0.87654, (LabelScore("jump", 0.87654), LabelScore("sit", 0.1)), 2
    ),
    ClipLabel("a\udcff.mp4", 1, 1.0004, 3.1236, None, None, 0.25, (LabelScore("sit", 0.25),), 1),
    ClipLabel("a.mp4", 2, 61.27, 75.28, None, None, None, (), 0),
]


def write(path, rows=ROWS):
    with open_sink(path, None) as sink:
        for row in rows:
            sink.write(row)
    return path


def test_columns_have_types(tmp_path):
    table = pyarrow.parquet.read_table(write(tmp_path / "a.parquet"))
    assert {field.name: (str(field.type), field.nullable) for field in table.schema} == {
        "source": ("string", False),
        "clip": ("int64", False),
        "start": ("double", False),
        "end": ("double", False),
        "person": ("int64", True),
        "label": ("dictionary<values=string, indices=int32, ordered=0>", True),
        "score": ("double", True),
        "persons": ("int64", False),
        "top": ("list<element: struct<label: string, score: double>>", False),
    }
    empty = pyarrow.parquet.read_table(write(tmp_path / "empty.parquet", []))
    assert empty.schema == table.schema
    assert empty.num_rows == 0


def test_pandas_reads_it_back(tmp_path):
    frame = pandas.read_parquet(write(tmp_path / "a.parquet"))
    first, second, third = frame.to_dict("records")
    assert (first["source"], first["clip"], first["start"], first["end"]) == ("tänze, 1.mp4", 0, 0.0, 2.0)
    assert (first["person"], first["label"], first["score"], first["persons"]) == (7, "jump", 0.8765, 2)
    assert list(first["top"]) == [{"label": "jump", "score": 0.8765}, {"label": "sit", "score": 0.1}]
    assert second["source"] == "a\\udcff.mp4"
    assert pandas.isna([second["person"], second["label"], third["score"], third["label"]]).all()
    assert len(third["top"]) == 0
    assert frame["label"].dtype == "category"


def test_rows_are_written_in_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "GROUP", 4)
    rows = [ClipLabel("a.mp4", i, i, i + 1.0, None, f"label {i % 3}", 0.5, (), 1) for i in range(10)]
    path = tmp_path / "a.parquet"
    with open_sink(path, None) as sink:
        for row in rows:
            sink.write(row)
            assert len(sink._rows) < 4
    file = pyarrow.parquet.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4, 4, 2]
    assert file.read().column("label").to_pylist() == [row.label for row in rows]


@pytest.mark.parametrize("at", [3, 5])
def test_ctrl_c_leaves_a_file_that_can_be_read(tmp_path, monkeypatch, at):
    monkeypatch.setattr(parquet, "GROUP", 4)
    sink = open_sink(tmp_path / "a.parquet", None)
    with pytest.raises(KeyboardInterrupt), sink:  # noqa: PT012
        for i in range(at):
            sink.write(ClipLabel("a.mp4", i, i, i + 1.0, None, "sit", 0.5, (), 1))
        assert sink.kept == f"the {at} labels so far are in {tmp_path / 'a.parquet.part'}"
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet.part"]
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet.part").column("clip").to_pylist() == list(range(at))


def test_a_pipe_gets_the_whole_file(monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    with open_sink(None, "parquet") as sink:
        sink.write(ROWS[0])
    assert pyarrow.parquet.read_table(pyarrow.BufferReader(out.getvalue())).num_rows == 1
