"""Videos into folders by their labels."""

import logging
import os
from pathlib import Path

import pytest

from poseact.clips import ClipLabel
from poseact.errors import OutputError
from poseact.records import LabelledVideo
from poseact.sorting import safe_name, sort_videos


@pytest.fixture
def videos(tmp_path):
    """videos(name, labels): a video of that name below in/, with a second of each label; `-`: unsure, `.`: nobody."""

    def make(name, labels):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(f"video {name}")
        rows = tuple(
            ClipLabel(name, i, i, i + 1.0, None, *{"-": (None, 0.2), ".": (None, None)}.get(each, (each, 0.9)), (), 1)
            for i, each in enumerate(labels)
        )
        return LabelledVideo(name, path, float(len(rows)), (48, 64), "coco17", rows)

    return make


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("copy", [False, True])
def test_a_video_goes_where_its_main_label_belongs_and_again_nothing_happens(tmp_path, videos, copy):
    out = tmp_path / "sorted"
    found = [videos("a/x.mp4", ["run", "sit", "sit"]), videos("y.mp4", "--"), videos("z.mp4", "..")]
    for _ in range(2):
        assert sort_videos(found, out, "label", copy) == 3
        assert tree(out) == ["_nobody/z.mp4", "_unsure/y.mp4", "sit/a_x.mp4"]
    placed = out / "sit" / "a_x.mp4"
    assert placed.read_text() == "video a/x.mp4"
    assert placed.is_symlink() is not copy
    assert placed.stat().st_mtime == pytest.approx(found[0].path.stat().st_mtime, abs=0.01)
    assert found[0].path.read_text() == "video a/x.mp4"


def test_a_video_can_go_to_the_folder_of_each_of_its_labels(tmp_path, videos):
    sort_videos([videos("x.mp4", ["run", "sit", "-", "run"]), videos("y.mp4", "-")], tmp_path / "out", "labels")
    assert tree(tmp_path / "out") == ["_unsure/y.mp4", "run/x.mp4", "sit/x.mp4"]


def test_links_survive_that_both_folders_are_moved_together(tmp_path, videos):
    sort_videos([videos("x.mp4", ["sit"])], tmp_path / "out")
    link = tmp_path / "out" / "sit" / "x.mp4"
    assert os.readlink(link) == "../../in/x.mp4"
    moved = tmp_path.parent / f"{tmp_path.name} moved"
    tmp_path.rename(moved)
    assert (moved / "out" / "sit" / "x.mp4").read_text() == "video x.mp4"


@pytest.mark.parametrize("copy", [False, True])
def test_what_is_there_is_never_overwritten(tmp_path, videos, copy):
    other = tmp_path / "out" / "sit" / "x.mp4"
    other.parent.mkdir(parents=True)
    other.write_text("something else")
    for _ in range(2):
        sort_videos([videos("x.mp4", ["sit"])], tmp_path / "out", "label", copy)
    assert tree(tmp_path / "out") == ["sit/x (2).mp4", "sit/x.mp4"]
    assert other.read_text() == "something else"
    assert (other.parent / "x (2).mp4").read_text() == "video x.mp4"


def test_a_copy_is_made_beside_a_link_and_a_link_that_leads_nowhere_stays(tmp_path, videos):
    folder = tmp_path / "out" / "sit"
    folder.mkdir(parents=True)
    (folder / "y.mp4").symlink_to("nowhere")
    sort_videos([videos("x.mp4", ["sit"]), videos("y.mp4", ["sit"])], tmp_path / "out")
    sort_videos([videos("x.mp4", ["sit"])], tmp_path / "out", copy=True)
    assert tree(tmp_path / "out") == ["sit/x (2).mp4", "sit/x.mp4", "sit/y (2).mp4", "sit/y.mp4"]
    assert not (folder / "x (2).mp4").is_symlink()
    assert os.readlink(folder / "y.mp4") == "nowhere"


def test_names_that_clash_when_folders_are_flattened_get_numbers(tmp_path, videos):
    found = [videos("a/x.mp4", ["sit"]), videos("a_x.mp4", ["sit"])]
    for order in (found, found[::-1]):
        sort_videos(order, tmp_path / "out")
        assert tree(tmp_path / "out") == ["sit/a_x (2).mp4", "sit/a_x.mp4"]
    assert (tmp_path / "out" / "sit" / "a_x.mp4").read_text() == "video a/x.mp4"


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("walk", "walk"),
        ("sit down", "sit down"),
        ("a/b", "a_b"),
        ("..", "_"),
        (".hidden", "_hidden"),
        ("", "_"),
        ("CON", "CON_"),
        ("nul.txt", "nul.txt_"),
        ("end. . ", "end"),
        ('a<b>:"|?*\\c', "a_b_______c"),
        ("a\0b\n", "a_b_"),
        ("gehen_äöü_走", "gehen_äöü_走"),
        ("走" * 200, "走" * 76),
    ],
)
def test_any_label_becomes_a_name_of_a_folder(tmp_path, label, folder):
    assert safe_name(label) == folder
    (tmp_path / folder).mkdir()


def test_a_video_that_is_gone_is_told_and_the_others_are_sorted(tmp_path, videos, caplog):
    found = [videos("x.mp4", ["sit"]), videos("y.mp4", ["sit"])]
    found[0].path.unlink()
    with caplog.at_level(logging.WARNING):
        assert sort_videos(found, tmp_path / "out") == 1
    assert "x.mp4 is not there any more" in caplog.text
    assert tree(tmp_path / "out") == ["sit/y.mp4"]


def test_where_links_cannot_be_made_copies_are_recommended(tmp_path, videos, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    with pytest.raises(OutputError, match=r"sit cannot hold links to videos on this system; add --copy"):
        sort_videos([videos("x.mp4", ["sit"])], tmp_path / "out")
    assert sort_videos([videos("x.mp4", ["sit"])], tmp_path / "out", copy=True) == 1


def test_a_copy_that_fails_leaves_nothing(tmp_path, videos, monkeypatch):
    def full(source, target):
        Path(target).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OutputError, match="no space left on device"):
        sort_videos([videos("x.mp4", ["sit"])], tmp_path / "out", copy=True)
    assert tree(tmp_path / "out") == []


def test_a_folder_that_is_a_file_is_an_output_error(tmp_path, videos):
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="cannot be made: not a directory"):
        sort_videos([videos("x.mp4", ["sit"])], tmp_path / "out")


def test_what_is_sorted_is_what_a_training_takes(tmp_path, videos):
    from poseact.training.folder import find_videos

    sort_videos([videos("a/x.mp4", ["sit"]), videos("y.mp4", ["run"])], tmp_path / "out")
    classes, found = find_videos(tmp_path / "out")
    assert (sorted(classes), len(found)) == (["run", "sit"], 2)
