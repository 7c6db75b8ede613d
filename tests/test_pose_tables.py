"""Poses as CSV and JSON, read back by those who usually do."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from small import poses

from poseact.errors import OutputError
from poseact.pose_tables import write_pose_table
from poseact.poses import Annotation
from poseact.skeleton import BODY13, COCO17


def annotation(name="a/tänze, 1.mp4", label=1):
    """Two people in three frames of 300×200; the second (id 7) is only in the last one. x is the keypoint's index."""
    keypoints = np.zeros((2, 3, 13, 2))
    keypoints[..., 0] = np.arange(13) + 0.126
    keypoints[..., 1] = np.arange(3)[:, None]
    scores = np.full((2, 3, 13), 0.87654)
    scores[1, :2] = 0
    boxes = np.tile(np.array([1, 2, 3.456, 4], np.float32), (2, 3, 1))
    return Annotation(name, label, replace(poses(keypoints, scores), track_ids=np.array([3, 7]), boxes=boxes))


NAMES, SPLITS = ["sit", "jump"], {"train": ["a/tänze, 1.mp4"], "val": []}


def written(path, *annotations):
    write_pose_table(annotations, NAMES, SPLITS, path)
    return path.read_text(encoding="utf-8")


def test_csv_has_a_column_for_each_number(tmp_path):
    text = written(tmp_path / "p.csv", annotation(), annotation("b.mp4", -1))
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 8
    assert list(rows[0])[:12] == [
        *("video", "split", "label", "frame", "time", "width", "height", "person", "x1", "y1", "x2", "y2")
    ]
    assert list(rows[0])[12:] == [f"{name}_{of}" for name in BODY13.keypoints for of in ("x", "y", "score")]
    assert [(row["frame"], row["person"]) for row in rows[:4]] == [("0", "3"), ("1", "3"), ("2", "3"), ("2", "7")]
    last = rows[3]
    assert (last["video"], last["split"], last["label"]) == ("a/tänze, 1.mp4", "train", "jump")
    assert (last["time"], last["width"], last["height"], last["x2"]) == ("0.066667", "300", "200", "3.46")
    assert (last["left_elbow_x"], last["left_elbow_y"], last["left_elbow_score"]) == ("3.13", "2.0", "0.8765")
    assert (rows[4]["video"], rows[4]["split"], rows[4]["label"]) == ("b.mp4", "", "")


def test_json_and_json_lines_hold_the_same_rows(tmp_path):
    lines = written(tmp_path / "p.jsonl", annotation()).splitlines()
    rows = [json.loads(line) for line in lines]
    assert json.loads(written(tmp_path / "p.json", annotation())) == rows
    assert len(rows) == 4
    assert rows[3]["person"] == 7
    assert rows[3]["box"] == [1, 2, 3.46, 4]
    assert list(rows[3]["keypoints"]) == list(BODY13.keypoints)
    assert rows[3]["keypoints"]["left_elbow"] == [3.13, 2.0, 0.8765]


def test_nobody_at_all(tmp_path):
    nobody = replace(annotation(), poses=annotation().poses.select([]))
    assert json.loads(written(tmp_path / "p.json", nobody)) == []
    assert written(tmp_path / "p.jsonl", nobody) == ""
    assert written(tmp_path / "p.csv", nobody) == ""


def test_annotations_are_taken_one_at_a_time_and_half_a_file_never_stays(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("earlier")

    def breaking():
        yield annotation()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pose_table(breaking(), NAMES, SPLITS, path)
    assert path.read_text() == "earlier"
    other = Annotation("c", -1, poses(np.zeros((1, 2, 17, 2)), layout=COCO17))
    with pytest.raises(ValueError, match="nose_x"):
        write_pose_table([annotation(), other], NAMES, SPLITS, path)
    assert [p.name for p in tmp_path.iterdir()] == ["p.csv"]


def test_a_place_that_is_not_there_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"p\.csv cannot be written: No such file"):
        write_pose_table([annotation()], NAMES, SPLITS, tmp_path / "absent" / "p.csv")
