"""Which videos files, folders and patterns stand for, and what each is called."""

import logging
import os

import pytest

from poseact.errors import InputError
from poseact.sources import find_videos, stamp_of


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """day1/a.mp4, day1/deep/b.MOV, day2/a.mp4 and things that are no videos; the current folder is above them."""
    for name in ("day1/a.mp4", "day1/deep/b.MOV", "day2/a.mp4", "day1/notes.txt", "day1/.c.mp4", ".old/d.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(*inputs):
    return {video.name: str(video.path) for video in find_videos(inputs)}


def test_a_folder_is_searched_to_the_bottom(tree):
    assert named("day1") == {"a.mp4": "day1/a.mp4", "deep/b.MOV": "day1/deep/b.MOV"}
    assert list(named(".")) == ["day1/a.mp4", "day1/deep/b.MOV", "day2/a.mp4"]
    assert list(named(tree / "day1")) == ["a.mp4", "deep/b.MOV"]


def test_files_are_taken_whatever_they_are_called(tree):
    assert named("day1/notes.txt", "absent.mp4") == {"notes.txt": "day1/notes.txt", "absent.mp4": "absent.mp4"}


def test_a_pattern_that_no_shell_expanded(tree):
    assert list(named("day*/a.mp4")) == ["day1/a.mp4", "day2/a.mp4"]
    assert list(named("**/b.*")) == ["b.MOV"]
    assert list(named("day?")) == ["day1/a.mp4", "deep/b.MOV", "day2/a.mp4"]
    (tree / "x[1].mp4").touch()
    assert list(named("x[1].mp4")) == ["x[1].mp4"]  # a file of that very name comes first


def test_names_that_clash_are_lengthened_and_no_others(tree):
    assert list(named("day1", "day2")) == ["day1/a.mp4", "deep/b.MOV", "day2/a.mp4"]
    assert list(named("day2/a.mp4", tree / "day1" / "a.mp4")) == ["day2/a.mp4", "day1/a.mp4"]
    assert list(named("day1/a.mp4", "absent/day1/a.mp4", "day2")) == [
        f"{tree.name}/day1/a.mp4",
        "absent/day1/a.mp4",
        "day2/a.mp4",
    ]


def test_the_same_video_is_taken_once(tree, caplog):
    with caplog.at_level(logging.WARNING):
        assert list(named("day1/a.mp4", "./day1/a.mp4", tree / "day1" / "a.mp4", "absent.mp4", "./absent.mp4")) == [
            "a.mp4",
            "absent.mp4",
        ]
    assert caplog.text == ""
    os.symlink(tree / "day1" / "a.mp4", tree / "day2" / "link.mp4")
    os.link(tree / "day1" / "a.mp4", tree / "day2" / "hard.mp4")
    with caplog.at_level(logging.WARNING):
        assert list(named("day1", "day2")) == ["day1/a.mp4", "deep/b.MOV", "day2/a.mp4"]
    assert "2 videos are there under another name too" in caplog.text


def test_links_to_folders_are_followed_but_not_in_circles(tree):
    os.symlink(tree, tree / "day1" / "round")
    os.symlink(tree / "day2", tree / "day1" / "other")
    assert set(named("day1")) == {"a.mp4", "deep/b.MOV", "other/a.mp4"}


def test_nothing_found_is_told(tree):
    (tree / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no videos"):
        find_videos(["empty"])
    with pytest.raises(InputError, match=r"nope\*\.mp4 matches no file"):
        find_videos(["day1", "nope*.mp4"])


def test_a_stamp_changes_with_the_file(tree):
    path = tree / "day1" / "a.mp4"
    before = stamp_of(path)
    assert stamp_of(path) == before
    path.write_text("longer than before")
    assert stamp_of(path) != before
    with pytest.raises(InputError, match="absent does not exist"):
        stamp_of(tree / "absent")
