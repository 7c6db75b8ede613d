"""Boxes from a file: what is read, and how a mistake is named."""

from pathlib import Path

import numpy as np
import pytest
from test_extract import stages_of
from test_pipeline import ALWAYS, NOSE

from poseact.boxes import BoxesDetector, boxes_of, check_boxes, read_boxes
from poseact.errors import InputError, UsageError
from poseact.extract import PoseStages, extract_poses
from poseact.skeleton import COCO17
from poseact.video import Frame

PLAIN = "frame,x1,y1,x2,y2\n0,10,20,30,60\n2,11,20,31,60\n"


def written(tmp_path, text, name="boxes.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def frames(count):
    return [Frame(np.zeros((80, 80, 3), np.uint8), i, i / 25) for i in range(count)]


def test_a_csv_of_boxes(tmp_path):
    found = BoxesDetector(written(tmp_path, PLAIN))(frames(4))
    assert [len(one) for one in found] == [1, 0, 1, 0]
    assert found[0].boxes.tolist() == [[10, 20, 30, 60]]
    assert found[0].boxes.dtype == np.float32
    assert found[2].scores.tolist() == [1]
    assert found[0].ids is None


def test_columns_are_found_by_name(tmp_path):
    path = written(tmp_path, "\ufeffid, score, x1, y1, x2, y2, frame\n7, 0.5, 1, 2, 3.5, 4, 3\n\n2, 1, 1, 2, 3, 4, 3\n")
    (found,) = read_boxes(path).values()
    assert found.boxes.tolist() == [[1, 2, 3.5, 4], [1, 2, 3, 4]]
    assert found.scores.tolist() == [0.5, 1]
    assert found.ids.tolist() == [7, 2]


def test_mot_challenge_counts_frames_from_one_and_gives_sizes(tmp_path):
    detections = written(tmp_path, "1,-1,10,20,20,40,0.9,-1,-1,-1\n3,-1,11,20,20,40,0.8,-1,-1,-1\n", "det.txt")
    found = read_boxes(detections)
    assert sorted(found) == [0, 2]
    assert found[0].boxes.tolist() == [[10, 20, 30, 60]]
    assert found[0].scores.tolist() == pytest.approx([0.9])
    assert found[0].ids is None
    truth = written(tmp_path, "1,5,10,20,20,40,1,1,0.7\n1,6,0,0,9,9,0,8,1\n2,5,10,20,20,40,1,1,0.7\n", "gt.txt")
    assert {frame: one.ids.tolist() for frame, one in read_boxes(truth).items()} == {0: [5], 1: [5]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", PLAIN + "3,5,5,nan,9\n", "line 4: x2 must be a number, got 'nan'"),
        ("a.csv", PLAIN + "3,5,5,high,9\n", "line 4: x2 must be a number, got 'high'"),
        ("a.csv", PLAIN + "3.5,5,5,9,9\n", "line 4: frame must be a whole number, got '3.5'"),
        ("a.csv", PLAIN + "-1,5,5,9,9\n", "line 4: frame -1, id -1; both count from 0"),
        ("a.csv", PLAIN + "3,5,5,9\n", "line 4: 4 values, but line 1 names 5 columns"),
        ("a.csv", PLAIN + "3,9,5,5,9\n", r"line 4: the box from \(9, 5\) to \(5, 9\) has no area"),
        ("a.csv", "0,10,20,30,60\n", "must begin with a line that names its columns: frame,x1,y1,x2,y2"),
        ("a.csv", "", "must begin with a line that names its columns"),
        ("a.csv", "frame,x1,y1,x2,y2\n", "has no boxes"),
        ("a.csv", "frame,x1,y1,x2,y2,scores\n0,1,1,2,2,1\n", "line 1: 'scores' is unknown or there twice"),
        ("a.csv", "frame,x1,y1,x2,y2,score\n0,1,1,2,2,1.2\n", r"line 2: the score must be in \[0, 1\], got 1.2"),
        ("a.csv", "frame,x1,y1,x2,y2,id\n0,1,1,2,2,4\n1,1,1,2,2,\n", "line 3: no id, other than line 2"),
        ("a.csv", "frame,x1,y1,x2,y2,id\n0,1,1,2,2,4\n0,1,1,3,3,4\n", "line 3: id 4 is in this frame twice"),
        ("a.txt", "0,1,1,1,5,5,1\n", "line 1: frame 0; MOTChallenge counts frames from 1"),
        ("a.txt", "1,1,1,1,5\n", "line 1: 5 values; MOTChallenge's begin with frame, id, left, top"),
        ("a.txt", "1,1,1,1,5,0,1\n", "line 1: the box .* has no area"),
        ("a.json", "{}", "is no file of boxes"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        read_boxes(written(tmp_path, text, name))


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_boxes(tmp_path / "none.csv")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as a file of boxes"):
        read_boxes(tmp_path / "picture.csv")


def test_a_folder_has_a_file_for_each_video(tmp_path):
    walk = written(tmp_path, PLAIN, "walk.csv")
    assert boxes_of(walk, "any.mp4") == walk
    assert boxes_of(tmp_path, "videos/walk.mp4") == walk
    with pytest.raises(InputError, match=r"has no boxes of run.mp4; run.csv or run.txt is needed there"):
        boxes_of(tmp_path, "run.mp4")
    written(tmp_path, "", "walk.txt")
    with pytest.raises(InputError, match="both have the boxes"):
        boxes_of(tmp_path, "videos/walk.mp4")


class OneKeypoint:
    """All keypoints at the box's upper left corner."""

    layout = COCO17

    def __call__(self, frames, detections):
        from dataclasses import replace

        return [
            replace(
                found,
                keypoints=np.repeat(found.boxes[:, None, :2], 17, axis=1),
                keypoint_scores=np.ones((len(found), 17), np.float32),
                layout=COCO17,
            )
            for found in detections
        ]


def test_given_ids_replace_the_trackers_and_their_gaps_stay(tmp_path, draw_video):
    video = draw_video(tmp_path / "two.mp4", 20, fps=25, size=(320, 240))
    lines = [f"{t},{10 + t},20,{60 + t},120,{40 if t < 10 else 41}" for t in range(20) if t not in (4, 5)]
    written(tmp_path, "\n".join(["frame,x1,y1,x2,y2,id", *lines]), "two.csv")
    stages = PoseStages(pose=OneKeypoint(), device="cpu", boxes=tmp_path)
    poses = extract_poses(video, stages, subjects="all")
    assert sorted(poses.track_ids.tolist()) == [40, 41]
    row = poses.track_ids.tolist().index(40)
    assert np.flatnonzero(poses.present[row]).tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    assert poses.keypoints[row, 7, 0].tolist() == [17, 20]
    assert "boxes" in stages.description


def test_without_ids_the_tracker_finds_out_who_is_who(tmp_path, draw_video):
    video = draw_video(tmp_path / "two.mp4", 20, fps=25, size=(320, 240))
    lines = [f"{t},{10 + t},20,{60 + t},120\n{t},200,20,260,120" for t in range(20)]
    boxes = written(tmp_path, "\n".join(["frame,x1,y1,x2,y2", *lines]), "two.csv")
    poses = extract_poses(video, PoseStages(pose=OneKeypoint(), device="cpu", boxes=boxes), subjects="all")
    assert poses.present.all()
    assert sorted(poses.keypoints[:, 19, 0, 0].tolist()) == [29, 200]


def test_a_mistake_in_the_boxes_is_told_before_the_video_is_decoded(tmp_path, draw_video):
    stages, actors = stages_of((20, 100, NOSE, *ALWAYS))
    stages = PoseStages(actors.detect, actors, device="cpu", boxes=tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"none.csv does not exist"):
        extract_poses(draw_video(tmp_path / "two.mp4", 5, size=(320, 240)), stages)


def test_boxes_are_of_one_video_each(tmp_path):
    one, other = Path("a/x.mp4"), Path("b/x.avi")
    boxes = written(tmp_path, PLAIN)
    check_boxes(boxes, [one, one])
    check_boxes(tmp_path, [one, Path("y.mp4")])
    with pytest.raises(UsageError, match=r"boxes.csv is of one video, and here are 2; give a folder"):
        check_boxes(boxes, [one, other])
    with pytest.raises(UsageError, match=r"a/x.mp4 and b/x.avi would both take the boxes x in"):
        check_boxes(tmp_path, [one, other])
    with pytest.raises(InputError, match="does not exist"):
        check_boxes(tmp_path / "none", [one, other])


def test_boxes_as_shares_of_the_picture_are_refused(tmp_path):
    with pytest.raises(InputError, match="as shares of the picture; pixels are needed"):
        read_boxes(written(tmp_path, "frame,x1,y1,x2,y2\n0,0.1,0.2,0.5,1\n"))


@pytest.mark.parametrize("box", ["10,20,30,1e8", "500,20,510,30", "-300,20,10,30"])
def test_boxes_of_another_picture_are_refused(tmp_path, box):
    detector = BoxesDetector(written(tmp_path, f"frame,x1,y1,x2,y2\n0,-100,-100,200,200\n1,{box}\n"))
    detector(frames(1))
    with pytest.raises(InputError, match=r"a box at 0\.04 s is far outside of the picture of 80x80 pixels; give"):
        detector(frames(2))


def test_crops_cannot_be_left_out_with_given_boxes(tmp_path):
    with pytest.raises(UsageError, match="crops can only be left out"):
        PoseStages(device="cpu", crops="never", boxes=tmp_path).pose  # noqa: B018
