"""Training poses from a folder of videos: extracted once, kept, and resumed."""

import logging
import os
import shutil

import pytest
from test_pipeline import ALWAYS, NOSE, Actors

from poseact.errors import InputError, OutputError
from poseact.extract import PoseStages
from poseact.poses import load_poses
from poseact.training import extracted
from poseact.training.folder import find_videos, poses_of_folder
from poseact.training.labels import labels_beside, read_labels


@pytest.fixture
def videos(tmp_path, draw_video):
    """jump/b.mp4, jump/c.avi and a/x.mp4, with things beside them that are no videos."""
    folder = tmp_path / "videos"
    for name in ("jump", "a", "empty", ".hidden"):
        (folder / name).mkdir(parents=True)
    draw_video(folder / "jump" / "b.mp4", 12, size=(160, 120))
    draw_video(folder / "jump" / "c.AVI", 8, size=(160, 120), codec="mpeg4")
    draw_video(folder / "a" / "x.mp4", 10, size=(160, 120))
    shutil.copy(folder / "a" / "x.mp4", folder / ".hidden" / "y.mp4")
    shutil.copy(folder / "a" / "x.mp4", folder / "a" / ".z.mp4")
    (folder / "readme.txt").write_text("about")
    return folder


def stages_of(*people):
    actors = Actors(*(people or [(20, 80, NOSE, *ALWAYS)]))
    return PoseStages(actors.detect, actors, device="cpu"), actors


def test_videos_are_found_by_class_in_order(videos):
    classes, found = find_videos(videos)
    assert classes == ["a", "jump"]
    assert [(video.name, video.label) for video in found] == [("a/x.mp4", 0), ("jump/b.mp4", 1), ("jump/c.AVI", 1)]


def test_the_poses_of_a_folder_are_a_pose_file(videos, tmp_path):
    cache, seen = tmp_path / "out.poses.pkl", []
    stages, _ = stages_of()
    file = poses_of_folder(videos, cache, stages, on_progress=lambda *told: seen.append(told))
    assert file.path == cache
    assert [(a.name, a.label, a.poses.scores.shape) for a in file.split("train")] == [
        ("a/x.mp4", 0, (1, 10, 17)),
        ("jump/b.mp4", 1, (1, 12, 17)),
        ("jump/c.AVI", 1, (1, 8, 17)),
    ]
    assert read_labels(labels_beside(cache)) == ["a", "jump"]
    assert seen == [(0, 3, "a/x.mp4"), (1, 3, "jump/b.mp4"), (2, 3, "jump/c.AVI"), (3, 3, "")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.poses.pkl", "out.poses_labels.txt", "videos"]


def test_the_second_time_nothing_is_looked_at(videos, tmp_path):
    poses_of_folder(videos, tmp_path / "poses.pkl", stages_of()[0])
    stages, actors = stages_of()
    again = poses_of_folder(videos, tmp_path / "poses.pkl", stages)
    assert actors.looked_at == []
    assert len(again.split("train")) == 3


def test_a_kill_loses_only_the_video_in_hand(videos, tmp_path, monkeypatch):
    stages, actors = stages_of()
    extract = extracted.extract_poses

    def killed_at_the_third(path, *arguments, **options):
        if path.name == "c.AVI":
            raise KeyboardInterrupt
        return extract(path, *arguments, **options)

    monkeypatch.setattr(extracted, "extract_poses", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        poses_of_folder(videos, tmp_path / "poses.pkl", stages)
    assert not (tmp_path / "poses.pkl").exists()
    monkeypatch.undo()
    actors.looked_at.clear()
    file = poses_of_folder(videos, tmp_path / "poses.pkl", stages)
    assert len(actors.looked_at) == 8
    assert [len(a.poses.times) for a in file.split("train")] == [10, 12, 8]
    assert not (tmp_path / "poses.pkl.parts").exists()


def test_a_part_that_was_damaged_is_done_again(videos, tmp_path, caplog):
    stages, actors = stages_of()
    (tmp_path / "poses.pkl.parts").mkdir()
    (tmp_path / "poses.pkl.parts" / "abc.pkl").write_bytes(b"half a pick")
    with caplog.at_level(logging.WARNING):
        assert len(poses_of_folder(videos, tmp_path / "poses.pkl", stages).split("train")) == 3
    assert "abc.pkl is not a pickle of poses" in caplog.text
    assert len(actors.looked_at) == 30


def test_new_changed_and_removed_videos(videos, tmp_path, draw_video):
    poses_of_folder(videos, tmp_path / "poses.pkl", stages_of()[0])
    (videos / "jump" / "b.mp4").unlink()
    draw_video(videos / "a" / "new.mp4", 5, size=(160, 120))
    draw_video(videos / "a" / "x.mp4", 7, size=(160, 120))
    stages, actors = stages_of()
    file = poses_of_folder(videos, tmp_path / "poses.pkl", stages)
    assert {a.name: len(a.poses.times) for a in file.split("train")} == {"a/new.mp4": 5, "a/x.mp4": 7, "jump/c.AVI": 8}
    assert len(actors.looked_at) == 12


def test_a_new_class_shifts_the_labels_without_a_new_look(videos, tmp_path):
    poses_of_folder(videos, tmp_path / "poses.pkl", stages_of()[0])
    (videos / "a").rename(videos / "zz")  # its video has a new name, the others have a new label
    stages, actors = stages_of()
    file = poses_of_folder(videos, tmp_path / "poses.pkl", stages)
    assert [(a.name, a.label) for a in file.split("train")] == [("jump/b.mp4", 0), ("jump/c.AVI", 0), ("zz/x.mp4", 1)]
    assert len(actors.looked_at) == 10


def test_other_settings_are_another_look(videos, tmp_path, caplog):
    people = (20, 80, NOSE, *ALWAYS), (90, 60, NOSE, *ALWAYS)
    poses_of_folder(videos, tmp_path / "poses.pkl", stages_of(*people)[0])
    stages, actors = stages_of(*people)
    with caplog.at_level(logging.WARNING):
        file = poses_of_folder(videos, tmp_path / "poses.pkl", stages, subjects=2)
    assert "other settings" in caplog.text
    assert {len(a.poses.track_ids) for a in file.split("train")} == {2}
    assert len(actors.looked_at) == 30


def test_unreadable_videos_and_videos_of_nobody_are_reported_and_left_out(videos, tmp_path, caplog, draw_video):
    (videos / "a" / "broken.mp4").write_bytes(b"no video")
    (videos / "a" / "notes.txt").write_text("x")
    draw_video(videos / "a" / "late.mp4", 30, fps=10, size=(160, 120))
    stages, _ = stages_of((20, 80, NOSE, 2.0, 9.0))  # the other videos are over by then
    with caplog.at_level(logging.WARNING):
        file = poses_of_folder(videos, tmp_path / "poses.pkl", stages)
    assert [a.name for a in file.split("train")] == ["a/late.mp4"]
    told = [record.message for record in caplog.records]
    assert any("broken.mp4 is not a video" in text and text.endswith("it is left out") for text in told)
    assert sum("nobody is found in it; it is left out" in text for text in told) == 3
    assert any("1 files" in text and "notes.txt" in text for text in told)
    again, actors = stages_of((20, 80, NOSE, 2.0, 9.0))
    poses_of_folder(videos, tmp_path / "poses.pkl", again)
    assert actors.looked_at == []  # where nobody was is remembered


def test_nobody_anywhere_is_an_input_error_and_writes_nothing(videos, tmp_path):
    stages, _ = stages_of((20, 80, NOSE, 50, 60))
    with pytest.raises(InputError, match="nobody is found in any of the 3 videos"):
        poses_of_folder(videos, tmp_path / "poses.pkl", stages)
    assert not (tmp_path / "poses.pkl").exists()


def test_a_folder_without_classes_says_what_is_expected(tmp_path):
    with pytest.raises(InputError, match=r"no folders with videos in them; sort the videos into .*/class_name/"):
        find_videos(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        find_videos(tmp_path / "absent")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_an_output_error(videos, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be made"):
        poses_of_folder(videos, closed / "poses.pkl", stages_of()[0])


def test_a_missing_place_is_an_output_error(videos, tmp_path):
    with pytest.raises(OutputError, match="cannot be made"):
        poses_of_folder(videos, tmp_path / "absent" / "poses.pkl", stages_of()[0])


def test_the_cache_is_a_pose_file_like_any_other(videos, tmp_path):
    poses_of_folder(videos, tmp_path / "poses.pkl", stages_of()[0])
    file = load_poses(tmp_path / "poses.pkl")
    assert list(file.splits) == ["train"]
    assert file.annotations["jump/b.mp4"].poses.times[-1] == pytest.approx(11 / 25)
