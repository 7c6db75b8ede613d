"""Poses of many videos into one file: what is kept, what goes on, and what is never lost."""

import csv
import logging
import os
import shutil

import pytest
from test_pipeline import ALWAYS, NOSE, Actors

from poseact import batch as batch_module
from poseact.batch import Extraction, ExtractionJob
from poseact.errors import InputError, OutputError, SomeInputsFailed, UsageError
from poseact.extract import PoseStages
from poseact.follow import Follow
from poseact.poses import load_pickle, load_poses
from poseact.training.labels import labels_beside, read_labels


@pytest.fixture
def videos(tmp_path, draw_video):
    """videos/jump/b.mp4 (12 frames), videos/jump/c.mkv (8), videos/a/x.mp4 (10)."""
    folder = tmp_path / "videos"
    for name in ("jump", "a"):
        (folder / name).mkdir(parents=True)
    draw_video(folder / "jump" / "b.mp4", 12, size=(160, 120))
    draw_video(folder / "jump" / "c.mkv", 8, size=(160, 120))
    draw_video(folder / "a" / "x.mp4", 10, size=(160, 120))
    return folder


def run(videos, output, *people, crops="auto", **options):
    """(what was told of each video, the frames that were looked at)."""
    actors = Actors(*(people or [(20, 80, NOSE, *ALWAYS)]))
    stages = PoseStages(actors.detect, actors, device="cpu", crops=crops)
    inputs = videos if isinstance(videos, list) else [videos]
    extraction = Extraction(ExtractionJob(inputs=inputs, output=output, **options), stages)
    return list(extraction.run()), actors.looked_at


def test_the_file_is_pyskls_with_our_keys_beside(videos, tmp_path):
    output = tmp_path / "poses.pkl"
    done, _ = run(videos, output)
    assert [(d.video.name, d.people, d.known, d.error) for d in done] == [
        ("a/x.mp4", 1, False, None),
        ("jump/b.mp4", 1, False, None),
        ("jump/c.mkv", 1, False, None),
    ]
    content = load_pickle(output)
    assert content["split"] == {"train": ["a/x.mp4", "jump/b.mp4", "jump/c.mkv"]}
    row = content["annotations"][1]
    assert (row["frame_dir"], row["label"], row["total_frames"]) == ("jump/b.mp4", -1, 12)
    assert row["img_shape"] == row["original_shape"] == (120, 160)
    assert (row["keypoint"].shape, row["keypoint_score"].shape) == ((1, 12, 17, 2), (1, 12, 17))
    assert (row["track_ids"].shape, row["boxes"].shape, row["times"].shape) == ((1,), (1, 12, 4), (12,))
    assert row["fps"] == pytest.approx(25)
    assert row["end"] == pytest.approx(12 / 25)
    assert (row["layout"], row["source"]) == ("coco17", str(videos / "jump" / "b.mp4"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["poses.pkl", "videos"]


def test_labels_and_splits(videos, tmp_path):
    output = tmp_path / "poses.pkl"
    run(videos, output, labels="folders", shares={"one": 0.5, "two": 0.5})
    file = load_poses(output)
    assert {name: a.label for name, a in file.annotations.items()} == {"a/x.mp4": 0, "jump/b.mp4": 1, "jump/c.mkv": 1}
    assert read_labels(labels_beside(output)) == ["a", "jump"]
    assert {len({"jump/b.mp4", "jump/c.mkv"} & set(names)) for names in file.splits.values()} == {1}


def test_a_split_that_stays_empty_is_told(videos, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run(videos, tmp_path / "p.pkl", labels="folders", shares={"one": 0.0001, "two": 0.0001, "rest": 0.9998})
    assert "the split one, two is empty" in caplog.text


def test_what_has_no_label_among_labelled_ones_is_in_no_split(videos, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("video,label\nb.mp4,leap\n")
    run(videos, tmp_path / "poses.pkl", labels=table)
    file = load_poses(tmp_path / "poses.pkl")
    assert file.splits == {"train": ["jump/b.mp4"]}
    assert [a.label for a in file.annotations.values()] == [-1, 0, -1]


def test_a_table_instead_of_a_pickle(videos, tmp_path):
    run(videos, tmp_path / "poses.csv", labels="folders", rate=5)
    with (tmp_path / "poses.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = [(row["video"], row["label"], row["time"]) for row in rows]
    assert told == [(name, name.split("/")[0], time) for name, _, time in told]
    assert told[-1] == ("jump/c.mkv", "jump", "0.2")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["poses.csv", "videos"]
    with pytest.raises(UsageError, match=r"exists, and a table cannot be gone on with; move it"):
        run(videos, tmp_path / "poses.csv")
    with pytest.raises(UsageError, match=r"is complete, and a table cannot be gone on with"):
        run(videos, tmp_path / "poses.csv", resume=True)


@pytest.fixture
def begun(videos, tmp_path, monkeypatch):
    """begun(output, **options): a run that is killed in its third video."""

    def begin(output, **options):
        extract = batch_module.extract_poses

        def killed_at_the_third(path, *arguments, **others):
            if path.name == "c.mkv":
                raise KeyboardInterrupt
            return extract(path, *arguments, **others)

        with monkeypatch.context() as patched:
            patched.setattr(batch_module, "extract_poses", killed_at_the_third)
            with pytest.raises(KeyboardInterrupt):
                run(videos, output, **options)
        assert not output.exists()

    return begin


@pytest.mark.parametrize("name", ["poses.pkl", "poses.csv", "poses.json"])
def test_a_kill_loses_only_the_video_in_hand(videos, tmp_path, begun, name):
    run(videos, tmp_path / f"whole.{name}")
    begun(tmp_path / name)
    with pytest.raises(UsageError, match=r"is not complete \(2 videos are done\): --resume goes on with it"):
        run(videos, tmp_path / name)
    done, looked_at = run(videos, tmp_path / name, resume=True)
    assert [d.known for d in done] == [True, True, False]
    assert len(looked_at) == 8
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole.{name}").read_bytes()
    assert not (tmp_path / f"{name}.parts").exists()


def test_other_settings_are_never_mixed(videos, tmp_path, begun):
    output = tmp_path / "poses.pkl"
    begun(output)
    for other in ({"subjects": 1}, {"rate": 5.0}, {"crops": "always"}):
        with pytest.raises(UsageError, match=r"other settings \(subjects all, all frames/s, detector .*; now "):
            run(videos, output, resume=True, **other)
    run(videos, output, resume=True)
    with pytest.raises(UsageError, match="other settings"):
        run(videos, output, resume=True, rate=5.0)


def test_the_same_job_finds_all_done(videos, tmp_path):
    output = tmp_path / "poses.pkl"
    options = {"labels": "folders", "shares": {"one": 0.5, "two": 0.5}}
    run(videos, output, **options)
    before = output.read_bytes(), output.stat().st_mtime_ns
    assert run(videos, output, **options) == ([], [])
    assert (output.read_bytes(), output.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    "other", [{"rate": 5.0}, {"labels": "folders"}, {"shares": {"test": 1.0}}, {"crops": "always"}, {"new": True}]
)
def test_another_job_does_not_write_over_a_finished_file(videos, tmp_path, draw_video, other):
    output = tmp_path / "poses.pkl"
    run(videos, output)
    before = output.read_bytes()
    if other.pop("new", False):
        draw_video(videos / "a" / "x.mp4", 9, size=(160, 120))
    with pytest.raises(UsageError, match=r"is not what this command would make: --resume goes on from it"):
        run(videos, output, **other)
    assert output.read_bytes() == before
    assert not (tmp_path / "poses.pkl.parts").exists()


def test_resuming_a_finished_file_looks_only_at_what_is_new_or_changed(videos, tmp_path, draw_video):
    output = tmp_path / "poses.pkl"
    run(videos, output)
    draw_video(videos / "a" / "new.mp4", 5, size=(160, 120))
    draw_video(videos / "a" / "x.mp4", 7, size=(160, 120))
    _, looked_at = run(videos, output, resume=True, labels="folders", shares={"test": 1.0})
    assert len(looked_at) == 12
    file = load_poses(output)
    assert {name: (a.label, len(a.poses.times)) for name, a in file.annotations.items()} == {
        "a/new.mp4": (0, 5),
        "a/x.mp4": (0, 7),
        "jump/b.mp4": (1, 12),
        "jump/c.mkv": (1, 8),
    }
    assert len(file.splits["test"]) == 4


def test_resuming_never_drops_what_is_there(videos, tmp_path):
    output = tmp_path / "poses.pkl"
    run(videos, output)
    shutil.rmtree(videos / "jump")
    with pytest.raises(UsageError, match=r"poses of 2 videos that are not named now, such as jump/b\.mp4, which"):
        run(videos, output, resume=True)
    assert len(load_poses(output).annotations) == 3


@pytest.mark.parametrize("name", ["poses.pkl", "poses.csv"])
def test_resuming_never_drops_what_was_begun(videos, tmp_path, begun, name):
    begun(tmp_path / name)
    shutil.rmtree(videos / "a")
    with pytest.raises(UsageError, match=r"poses of 1 videos that are not named now, such as a/x\.mp4"):
        run(videos, tmp_path / name, resume=True)
    assert len(list((tmp_path / f"{name}.parts").glob("*.pkl"))) == 2


def test_what_goes_wrong_before_the_first_video_is_done_leaves_nothing(videos, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise UsageError("no such crops")

    monkeypatch.setattr(batch_module, "extract_poses", broken)
    with pytest.raises(UsageError, match="no such crops"):
        run(videos, tmp_path / "poses.pkl")
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]
    with pytest.raises(UsageError, match="rate must be above 0"):
        run(videos, tmp_path / "poses.pkl", rate=0)


def test_another_file_under_the_name_is_not_written_over(videos, tmp_path):
    shutil.copy(videos / "a" / "x.mp4", tmp_path / "poses.pkl")
    for resume in (False, True):
        with pytest.raises(OutputError, match="is not written over"):
            run(videos, tmp_path / "poses.pkl", resume=resume)
    with pytest.raises(UsageError, match=r"poses are written as one of \.pkl, \.pickle, \.csv"):
        run(videos, tmp_path / "poses.npz")
    with pytest.raises(OutputError, match=r"the folder of .* does not exist"):
        run(videos, tmp_path / "absent" / "poses.pkl")
    table = tmp_path / "labels.csv"
    table.write_text("video,label\nb.mp4,leap\n")
    with pytest.raises(UsageError, match="would overwrite what it is made from"):
        run(videos, table, labels=table)


def test_labels_and_class_names_of_others_are_not_written_over(videos, tmp_path):
    beside = tmp_path / "poses_labels.txt"
    beside.write_text("video,label\nb.mp4,leap\n")
    with pytest.raises(UsageError, match="would overwrite what it is made from"):
        run(videos, tmp_path / "poses.pkl", labels=beside)
    with pytest.raises(UsageError, match=r"poses_labels.txt has other class names, which would be lost"):
        run(videos, tmp_path / "poses.pkl", labels="folders")
    assert beside.read_text().startswith("video,label")
    run(videos, tmp_path / "poses.csv", labels="folders")


def test_a_video_may_be_called_as_anything(videos, tmp_path):
    named = shutil.copy(videos / "a" / "x.mp4", tmp_path / "settings")
    run([named], tmp_path / "poses.pkl")
    assert list(load_poses(tmp_path / "poses.pkl").annotations) == ["settings"]


def test_other_boxes_are_looked_at_again(videos, tmp_path):
    boxes, output = tmp_path / "boxes", tmp_path / "poses.pkl"
    boxes.mkdir()
    for name in ("x", "b", "c"):
        (boxes / f"{name}.csv").write_text("frame,x1,y1,x2,y2\n0,10,20,60,100\n")
    actors = Actors((20, 80, NOSE, *ALWAYS))

    def again(path=boxes):
        stages = PoseStages(actors.detect, actors, device="cpu", boxes=path)
        return [d.known for d in Extraction(ExtractionJob([videos], output, resume=True), stages).run()]

    assert again() == [False, False, False]
    (boxes / "b.csv").write_text("frame,x1,y1,x2,y2\n0,10,20,61,100\n")
    assert again() == [True, False, True]
    with pytest.raises(UsageError, match="is of one video, and here are 3"):
        again(boxes / "b.csv")


def test_broken_videos_are_told_and_the_others_are_done(videos, tmp_path):
    (videos / "a" / "broken.mp4").write_bytes(b"no video")
    output = tmp_path / "poses.pkl"
    actors = Actors((20, 80, NOSE, *ALWAYS))
    job = ExtractionJob(inputs=[videos, tmp_path / "absent.mp4"], output=output)
    going = Extraction(job, PoseStages(actors.detect, actors, device="cpu")).run()
    told = [next(going) for _ in range(5)]
    assert [done.video.name for done in told if done.error] == ["a/broken.mp4", "absent.mp4"]
    assert "broken.mp4 is not a video" in str(told[0].error)
    with pytest.raises(SomeInputsFailed, match="2 of 5 videos could not be read; the others are in"):
        next(going)
    assert len(load_poses(output).annotations) == 3


def test_if_no_video_can_be_read_nothing_is_left_behind(tmp_path):
    for inputs, message in ((["a.mp4"], "a.mp4 does not exist"), (["a.mp4", "b.mp4"], "none of the 2 videos")):
        with pytest.raises(InputError, match=message):
            run(inputs, tmp_path / "poses.pkl")
        assert list(tmp_path.iterdir()) == []


def test_videos_of_nobody_are_kept_and_in_no_split(videos, tmp_path, caplog, draw_video):
    draw_video(videos / "a" / "late.mp4", 30, fps=10, size=(160, 120))
    with caplog.at_level(logging.WARNING):
        run(videos, tmp_path / "poses.pkl", (20, 80, NOSE, 2.0, 9.0))
    assert "nobody is found in 3 of the videos, such as a/x.mp4; no split has them" in caplog.text
    file = load_poses(tmp_path / "poses.pkl")
    assert file.splits == {"train": ["a/late.mp4"]}
    assert file.annotations["a/x.mp4"].poses.scores.shape == (0, 10, 17)


def test_somebody_can_only_be_followed_in_one_video(videos, tmp_path):
    somebody = Follow((20, 10, 60, 90), 0.2)
    with pytest.raises(UsageError, match="here are 3; give one"):
        run(videos, tmp_path / "poses.pkl", follow=somebody, subjects=1)
    people = (90, 60, NOSE, *ALWAYS), (20, 80, NOSE, *ALWAYS)
    run([videos / "jump" / "b.mp4"], tmp_path / "poses.pkl", *people, follow=somebody, subjects=1)
    (annotation,) = load_poses(tmp_path / "poses.pkl").annotations.values()
    assert annotation.poses.keypoints[:, 5, 0, 0].tolist() == [20]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_a_disk_that_is_full_keeps_what_is_done(videos, tmp_path, begun, monkeypatch):
    output = tmp_path / "poses.pkl"
    begun(output)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("poseact.poses.written_aside", full)
        with pytest.raises(OutputError, match="cannot be written: No space left on device"):
            run(videos, output, resume=True)
    done, _ = run(videos, output, resume=True)
    assert [d.known for d in done] == [True, True, False]
