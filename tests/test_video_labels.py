"""Labels of videos by their folders and by a table."""

import logging

import pytest

from poseact.errors import InputError, UsageError
from poseact.sources import find_videos
from poseact.video_labels import VideoLabels, labels_from_folders, labels_from_table


@pytest.fixture
def videos(tmp_path, monkeypatch):
    """videos/jump/a.mp4, videos/jump/2023/b.mp4, videos/sit/a.mp4."""
    for name in ("jump/a.mp4", "jump/2023/b.mp4", "sit/a.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "videos"


def told(labels):
    return {name: labels.names[index] for name, index in labels.index_of.items()}


def test_no_labels():
    assert VideoLabels().of("a.mp4") == -1


def test_the_topmost_folder_is_the_class(videos):
    labels = labels_from_folders(find_videos([videos]))
    assert labels.names == ["jump", "sit"]
    assert told(labels) == {"jump/2023/b.mp4": "jump", "jump/a.mp4": "jump", "sit/a.mp4": "sit"}


def test_folders_of_classes_and_files_may_be_named_themselves(videos):
    assert told(labels_from_folders(find_videos(["videos/sit"]))) == {"a.mp4": "sit"}
    found = labels_from_folders(find_videos(["videos/*/a.mp4"]))
    assert told(found) == {"jump/a.mp4": "jump", "sit/a.mp4": "sit"}


def test_a_video_beside_folders_of_videos_is_refused(videos):
    (videos / "intro.mp4").touch()
    with pytest.raises(UsageError, match=r"intro\.mp4 lies beside folders of videos"):
        labels_from_folders(find_videos([videos]))


def table(videos, text):
    path = videos.parent / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_names_videos_in_several_ways(videos, separator, caplog):
    rows = [["Who", "label", "video"], ["me", "leap, high", "b.mp4"], ["", "rest", "videos/sit/a.mp4"]]
    rows.append(["", "leap, high", str(videos / "jump" / "a.mp4")])
    text = "".join(separator.join(f'"{cell}"' if "," in cell else cell for cell in row) + "\r\n" for row in rows)
    with caplog.at_level(logging.WARNING):
        labels = labels_from_table(find_videos([videos]), table(videos, "\ufeff" + text))
    assert labels.names == ["leap, high", "rest"]
    assert told(labels) == {"jump/2023/b.mp4": "leap, high", "sit/a.mp4": "rest", "jump/a.mp4": "leap, high"}
    assert caplog.text == ""


def test_what_has_no_row_is_unlabelled_and_told(videos, caplog):
    text = "video,label\njump/a.mp4,up\nelsewhere.mp4,up\na.mp4,two of that name\n"
    with caplog.at_level(logging.WARNING):
        labels = labels_from_table(find_videos([videos]), table(videos, text))
    assert [labels.of(name) for name in ("jump/a.mp4", "sit/a.mp4")] == [0, -1]
    assert "2 rows" in caplog.text
    assert "such as elsewhere.mp4" in caplog.text
    assert "no row for 2 videos" in caplog.text


def test_numbers_keep_their_order(videos):
    text = "video,label\njump/a.mp4,10\nb.mp4,2\nsit/a.mp4,0\n"
    assert labels_from_table(find_videos([videos]), table(videos, text)).names == ["0", "2", "10"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4,jump\n", "must name the columns video and label, but is 'a.mp4,jump'"),
        ("", "must name the columns"),
        ("video,label\n", "holds no row"),
        ("video,label\nb.mp4,\n", "holds no row"),
        ("video,label\nz.mp4,jump\n", "names none of the videos; its first row is of z.mp4"),
        ("video,label\nb.mp4,jump\njump/2023/b.mp4,sit\n", "'jump' and 'sit'; keep one .* by `poseact train .*labels"),
    ],
)
def test_a_table_that_helps_nobody_is_an_input_error(videos, text, message):
    with pytest.raises(InputError, match=message):
        labels_from_table(find_videos([videos]), table(videos, text))


def test_a_table_that_cannot_be_read(videos):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        labels_from_table(find_videos([videos]), videos / "absent.csv")
    (videos / "binary.csv").write_bytes(b"\xff\xfe\x00video")
    with pytest.raises(InputError, match="cannot be read: it is not text"):
        labels_from_table(find_videos([videos]), videos / "binary.csv")
