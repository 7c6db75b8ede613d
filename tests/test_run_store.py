"""The state of a run: what is kept, what is done again, and what is refused."""

import os
import sqlite3
from pathlib import Path

import pytest

from poseact.clips import ClipLabel, LabelScore
from poseact.errors import InputError, OutputError, UsageError
from poseact.files import readable
from poseact.records import LabelledVideo, Moment, PersonAtMoment
from poseact.run_store import FILE, RunStore, open_run
from poseact.sources import SourceVideo

SETTINGS = {"window": "2.0", "stride": "1.0"}


@pytest.fixture
def videos(tmp_path):
    """Three files."""
    found = []
    for name in ("b.mp4", "a.mp4", "sub/c.mp4"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        found.append(SourceVideo(name, path))
    return found


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def row(video, label="walk", score=0.75, person=3):
    top = (LabelScore("walk", score), LabelScore("läuft", 0.1))
    return ClipLabel(str(video.path), 0, 0.0, 1.5, person, label, score, top, 1)


def labelled(video, label="walk", picture=b"webp"):
    person = PersonAtMoment(3, ((0.25, 0.5, 0.875), (0.0, 0.0, 0.0)))
    moment = Moment(0.75, (person,), picture)
    return LabelledVideo(video.name, video.path, 1.5, (48, 64), "coco17", (row(video, label),), (moment,))


def names(videos):
    return [video.name for video in videos]


def test_what_is_known_of_a_video_is_there_after_reopening(folder, videos):
    with RunStore(folder) as store:
        store.begin(SETTINGS, videos)
        assert names(store.waiting(videos)) == ["b.mp4", "a.mp4", "sub/c.mp4"]
        store.finish(labelled(videos[1]))
        store.fail("sub/c.mp4", "sub/c.mp4 is empty")
    with open_run(folder) as store:
        assert list(store.labelled()) == [labelled(videos[1])]
        assert next(store.labelled(with_moments=False)).moments == ()
        (failed,) = store.failed()
        assert (failed.name, failed.path, failed.error) == ("sub/c.mp4", videos[2].path, "sub/c.mp4 is empty")
        assert names(store.waiting(videos)) == ["b.mp4"]
        assert names(store.undone(videos)) == ["b.mp4", "sub/c.mp4"]
        assert store.counts() == {"waiting": 1, "done": 1, "failed": 1}
        assert store.settings == SETTINGS


def test_videos_come_in_the_order_in_which_they_were_named_not_done(folder, videos):
    with RunStore(folder) as store:
        store.begin(SETTINGS, videos)
        for video in reversed(videos):
            store.finish(labelled(video))
        assert names(store.labelled()) == names(videos)


def test_a_resumed_run_does_what_is_new_has_changed_or_failed(folder, videos, tmp_path):
    with RunStore(folder) as store:
        store.begin(SETTINGS, videos)
        for video in videos[:2]:
            store.finish(labelled(video))
        store.count_attempt("sub/c.mp4")
        store.fail("sub/c.mp4", "broken")
        videos[0].path.write_text("another video now")
        new = SourceVideo("new.mp4", tmp_path / "new.mp4")
        assert names(store.undone([*videos, new])) == ["b.mp4", "sub/c.mp4", "new.mp4"]
        store.begin(SETTINGS, [*videos, new])
        assert names(store.waiting([*videos, new])) == ["b.mp4", "sub/c.mp4", "new.mp4"]
        assert names(store.labelled()) == ["a.mp4"]
        assert store.failed() == []


def test_videos_that_are_away_keep_their_labels(folder, videos):
    with RunStore(folder) as store:
        store.begin(SETTINGS, videos)
        store.finish(labelled(videos[0]))
        for video in videos[:2]:
            video.path.unlink()
        assert names(store.undone(videos)) == ["a.mp4", "sub/c.mp4"]
        store.begin(SETTINGS, videos)
        assert names(store.waiting(videos)) == ["a.mp4", "sub/c.mp4"]
        assert list(store.labelled()) == [labelled(videos[0])]


def test_a_folder_that_was_moved_is_the_same_run(folder, videos, tmp_path):
    with RunStore(folder) as store:
        store.begin(SETTINGS, videos)
        store.finish(labelled(videos[0]))
        os.rename(tmp_path / "in", tmp_path / "moved")
        moved = [SourceVideo(video.name, tmp_path / "moved" / video.name) for video in videos]
        store.begin(SETTINGS, moved)
        assert names(store.waiting(moved)) == ["a.mp4", "sub/c.mp4"]
        (known,) = store.labelled()
        assert known.path == tmp_path / "moved" / "b.mp4"


def test_another_video_of_the_same_name_does_not_take_its_place(folder, videos, tmp_path):
    other = SourceVideo("b.mp4", tmp_path / "b.mp4")
    other.path.write_text("something else")
    with RunStore(folder) as store:
        store.begin(SETTINGS, videos)
        store.finish(labelled(videos[0]))
        with pytest.raises(UsageError, match=r"labels of another b\.mp4, .*in/b\.mp4, which would be lost"):
            store.begin(SETTINGS, [other])
        assert len(list(store.labelled())) == 1


def test_videos_that_are_not_named_again_keep_their_labels(folder, videos):
    with RunStore(folder) as store:
        store.begin(SETTINGS, videos[:1])
        store.finish(labelled(videos[0]))
        store.begin(SETTINGS, videos[1:])
        assert names(store.waiting(videos[1:])) == ["a.mp4", "sub/c.mp4"]
        assert names(store.labelled()) == ["b.mp4"]


def test_other_settings_are_refused_and_named(folder, videos):
    with RunStore(folder) as store:
        store.check_settings(SETTINGS)  # nothing is there yet
        store.begin(SETTINGS, videos)
        store.check_settings(SETTINGS)
        with pytest.raises(UsageError, match=r"window was 2\.0 and is now 3\.0\); .*--restart"):
            store.check_settings({**SETTINGS, "window": "3.0"})
        with pytest.raises(UsageError, match="only was not set and is now walk"):
            store.check_settings({**SETTINGS, "only": "walk"})


def test_moments_can_be_replaced(folder, videos):
    with RunStore(folder) as store:
        store.begin(SETTINGS, videos)
        store.finish(labelled(videos[0], picture=None))
        (before,) = next(store.labelled()).moments
        store.replace_moments("b.mp4", [Moment(before.time, before.people, b"picture")])
        assert next(store.labelled()).moments == (Moment(0.75, before.people, b"picture"),)


def test_a_change_that_breaks_off_changes_nothing(folder, videos):
    with RunStore(folder) as store:
        store.begin(SETTINGS, videos)
        broken = labelled(videos[0])
        object.__setattr__(broken, "moments", [Moment("no time", (object(),), None)])
        with pytest.raises(AttributeError):
            store.finish(broken)
        assert store.counts()["done"] == 0


def test_names_and_paths_that_are_no_text_survive(folder, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4"))
    path.write_text("video")
    video = SourceVideo(readable(path.name), path)
    with RunStore(folder) as store:
        store.begin(SETTINGS, [video])
        store.finish(labelled(SourceVideo(video.name, Path("x"))))
        (found,) = store.labelled()
    assert found.name == "\ufffd.mp4"
    assert found.path == path


def test_a_folder_without_a_run_and_a_broken_one_are_told(tmp_path):
    with pytest.raises(InputError, match="holds no run of `poseact label`"):
        open_run(tmp_path)
    (tmp_path / FILE).write_text("this is no database, however long it may be " * 20)
    with pytest.raises(OutputError, match="not a database"):
        open_run(tmp_path)


def test_a_disk_that_is_full_is_told_and_nothing_is_lost(folder, videos):
    with RunStore(folder) as store:
        store.begin(SETTINGS, videos)
        store.finish(labelled(videos[0]))
        store._database.execute("PRAGMA max_page_count = 1")
        with pytest.raises(OutputError, match="full"):
            store.finish(labelled(videos[1], picture=os.urandom(200_000)))
        store._database.execute("PRAGMA max_page_count = 1000000")
        assert names(store.labelled()) == ["b.mp4"]
    assert sqlite3.connect(folder / FILE).execute("PRAGMA journal_mode").fetchone() == ("wal",)
