"""Which videos files, folders and patterns stand for, and what each is called."""

import io
import logging
import os
import sys

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
    (tree / "day1" / "notes.dat").touch()
    assert named("day1/notes.dat", "absent.mp4") == {"notes.dat": "day1/notes.dat", "absent.mp4": "absent.mp4"}


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


def test_by_content_a_video_needs_no_ending(tree, draw_video):
    draw_video(tree / "a.mp4", 3).rename(tree / "day1" / "recording")
    draw_video(tree / "b.mp4", 3).rename(tree / "day1" / "half.mp4.part")
    os.mkfifo(tree / "day1" / "pipe")
    assert list(named("day1")) == ["a.mp4", "deep/b.MOV"]
    found = [video.name for video in find_videos(["day1"], by_content=True)]
    # Those with an ending hold no video at all, which who reads them has to tell.
    assert found == ["a.mp4", "deep/b.MOV", "recording"]


def test_by_content_nothing_found_is_told(tree):
    (tree / "texts").mkdir()
    (tree / "texts" / "a").write_text("hello")
    with pytest.raises(InputError, match="texts holds no videos; check the path"):
        find_videos(["texts"], by_content=True)


def test_the_folder_of_the_results_is_left_out(tree):
    assert [video.name for video in find_videos(["."], leave_out=tree / "day1" / ".." / "day1")] == ["day2/a.mp4"]
    assert [video.name for video in find_videos(["day1"], leave_out=tree / "day1" / "absent")] == [
        "a.mp4",
        "deep/b.MOV",
    ]


def test_a_list_names_files_folders_and_patterns(tree):
    (tree / "lists").mkdir()
    lines = ["\ufeff# two days", "", "  ../day2/a.mp4  ", "../day1/deep", "../day1/*.mp4", "../absent.mp4", "./#1.mp4"]
    (tree / "lists" / "all.TXT").write_text("\r\n".join(lines), encoding="utf-8", newline="")
    (tree / "lists" / "#1.mp4").touch()
    assert sorted(named("lists/all.TXT").values()) == [
        "lists/#1.mp4",
        "lists/../absent.mp4",
        "lists/../day1/a.mp4",
        "lists/../day1/deep/b.MOV",
        "lists/../day2/a.mp4",
    ]


def test_what_a_list_names_may_be_in_the_current_folder(tree):
    (tree / "lists [1]").mkdir()
    (tree / "lists [1]" / "c.mp4").touch()
    (tree / "lists [1]" / "all.txt").write_text("day1/a.mp4\nday2/*.mp4\nc*.mp4\n")
    assert list(named("lists [1]/all.txt").values()) == ["day1/a.mp4", "day2/a.mp4", "lists [1]/c.mp4"]


def test_a_list_may_name_what_is_no_text(tree):
    name = os.fsdecode(b"caf\xe9.mp4")
    (tree / name).touch()
    (tree / "all.txt").write_bytes(b"caf\xe9.mp4\nt\xc3\xa4nze.mp4\n")
    assert list(named("all.txt")) == [name, "tänze.mp4"]


def test_a_list_can_come_from_standard_input(tree, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"day1/a.mp4\nday2\n")))
    assert list(named("-").values()) == ["day1/a.mp4", "day2/a.mp4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "all.txt names no videos; it takes a file, folder or pattern a line"),
        (b"# nothing\n\n", "names no videos"),
        (b"\x1aE\xdf\xa3\0\0", "all.txt is no list of videos, which is UTF-8 text"),
        ("day1/a.mp4\n".encode("utf-16"), "is no list of videos"),
        (b"day9*\n", r"day9\* matches no file"),
    ],
)
def test_a_list_that_is_none_is_told(tree, content, message):
    (tree / "all.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        find_videos(["all.txt"])


def test_home_is_expanded(tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree))
    monkeypatch.setenv("USERPROFILE", str(tree))
    (tree / "all.txt").write_text("~/day1/a.mp4\n~/day2/*.mp4\n")
    assert list(named("~/day1")) == ["a.mp4", "deep/b.MOV"]
    assert list(named("~/day1/*.mp4")) == ["a.mp4"]
    assert list(named("~/all.txt")) == ["day1/a.mp4", "day2/a.mp4"]
    (tree / "~").mkdir()
    (tree / "~" / "here.mp4").touch()
    assert list(named("~/here.mp4").values()) == ["~/here.mp4"]
