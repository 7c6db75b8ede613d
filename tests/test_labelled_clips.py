"""Training clips from a table `video,start,end,label`: cut out of poses that are extracted once."""

import logging

import numpy as np
import pytest
import small
from test_pipeline import ALWAYS, NOSE, Actors
from test_training_job import job, one_thread, poses, tiny_nets  # noqa: F401  (the fixtures are used by being here)

import poseact.extract
from poseact.bundle import load_weights
from poseact.errors import InputError, ModelError, UsageError
from poseact.extract import PoseStages
from poseact.poses import Annotation, load_poses
from poseact.training.data import LabelledPoses, hold_out, read_training_data
from poseact.training.folder import poses_of_folder
from poseact.training.job import train_bundle
from poseact.training.labelled_clips import cache_beside, clips_of_table


@pytest.fixture
def videos(tmp_path, draw_video):
    """videos/a.mp4 of 2 s, videos/b.mp4 of 1 s, 10 frames a second."""
    folder = tmp_path / "videos"
    folder.mkdir()
    draw_video(folder / "a.mp4", 20, fps=10, size=(160, 120))
    draw_video(folder / "b.mp4", 10, fps=10, size=(160, 120))
    return folder


def stages_of(*people):
    actors = Actors(*(people or [(20, 80, NOSE, *ALWAYS)]))
    return PoseStages(actors.detect, actors, device="cpu"), actors


def table_of(folder, *rows, header="video,start,end,label"):
    path = folder / "corrections.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def told(clips):
    """(label, frames, first and last time) of each clip."""
    return [
        (clips.names[a.label], len(a.poses.times), round(a.poses.times[0], 3), round(a.poses.times[-1], 3))
        for a in clips.file.split("train")
    ]


def test_each_row_is_a_clip_of_its_own(videos):
    table = table_of(
        videos, "a.mp4,0.5,1.5,jump", "b.mp4,,,wave", "a.mp4,1,1.5,wave", "a.mp4,1.6,,jump", "a.mp4,,0.3,sit"
    )
    clips = clips_of_table(table, stages_of()[0])
    assert clips.names == ["jump", "sit", "wave"]
    assert told(clips) == [
        ("jump", 10, 0.5, 1.4),
        ("wave", 10, 0.0, 0.9),
        ("wave", 5, 1.0, 1.4),
        ("jump", 4, 1.6, 1.9),
        ("sit", 3, 0.0, 0.2),
    ]
    assert len({a.sequence for a in clips.file.annotations.values()}) == 5
    assert {a.source for a in clips.file.annotations.values()} == {str(videos / "a.mp4"), str(videos / "b.mp4")}


def test_each_video_is_looked_at_once_and_never_again(videos):
    table = table_of(videos, "a.mp4,0,1,jump", "a.mp4,1,2,wave", "b.mp4,0,1,wave")
    stages, actors = stages_of()
    seen = []
    clips_of_table(table, stages, on_progress=lambda *now: seen.append(now))
    assert len(actors.looked_at) == 30
    assert seen == [(0, 2, "a.mp4"), (1, 2, "b.mp4"), (2, 2, "")]
    assert list(load_poses(cache_beside(table)).annotations) == ["a.mp4", "b.mp4"]
    actors.looked_at.clear()
    clips = clips_of_table(table_of(videos, "b.mp4,0.2,0.4,sit", "a.mp4,,,jump"), stages)
    assert (told(clips), actors.looked_at) == ([("sit", 2, 0.2, 0.3), ("jump", 20, 0.0, 1.9)], [])
    assert sorted(path.name for path in videos.iterdir()) == [
        "a.mp4",
        "b.mp4",
        "corrections.csv",
        "corrections.poses.pkl",
    ]


def test_a_kill_is_gone_on_from(videos, monkeypatch):
    table = table_of(videos, "a.mp4,0,1,jump", "b.mp4,0,1,wave")
    stages, actors = stages_of()
    whole = stages.track

    def killed_at_b(frames, rate, engine, *, video="", **options):
        if video == videos / "b.mp4":
            raise KeyboardInterrupt
        return whole(frames, rate, engine, video=video, **options)

    monkeypatch.setattr(stages, "track", killed_at_b)
    with pytest.raises(KeyboardInterrupt):
        clips_of_table(table, stages)
    assert not cache_beside(table).exists()
    monkeypatch.undo()
    actors.looked_at.clear()
    assert len(clips_of_table(table, stages).file.annotations) == 2
    assert len(actors.looked_at) == 10


def test_videos_are_named_in_several_ways_and_are_one(videos, monkeypatch):
    monkeypatch.chdir(videos.parent)
    table = table_of(videos, f"{videos / 'a.mp4'},0,1,jump", "a.mp4,1,2,wave", "videos/a.mp4,0,2,sit")
    stages, actors = stages_of()
    assert [row[0] for row in told(clips_of_table(table, stages))] == ["jump", "wave", "sit"]
    assert len(actors.looked_at) == 20


def test_the_table_of_a_spreadsheet_is_read(videos):
    table = table_of(videos, "jump;0,5;1,5;a.mp4", "wave;;;b.mp4", header="\ufeffLabel;Start;End;Video")
    assert told(clips_of_table(table, stages_of()[0])) == [("jump", 10, 0.5, 1.4), ("wave", 10, 0.0, 0.9)]


def test_rows_of_no_use_are_counted_and_left_out(videos, caplog):
    (videos / "broken.mp4").write_bytes(b"no video")
    rows = ["a.mp4,1,1,jump", "a.mp4,2,1,jump", "a.mp4,5,6,jump", "b.mp4,-3,-1,wave", "b.mp4,0.6,0.9,wave"]
    rows += ["c.mp4,0,1,jump", "broken.mp4,0,1,jump", "a.mp4,0,0.4,jump", "a.mp4,1.8,99,wave"]
    with caplog.at_level(logging.WARNING):
        clips = clips_of_table(table_of(videos, *rows), stages_of((20, 80, NOSE, 0, 0.4), (20, 80, NOSE, 1.8, 3))[0])
    assert [row[0] for row in told(clips)] == ["jump", "wave"]
    said = [record.message for record in caplog.records]
    assert [text.partition(",")[0].partition(" of ")[0] for text in said[1:]] == [
        "2 rows",
        "2 rows",
        "1 rows",
        "2 rows",
    ]
    assert "broken.mp4 is not a video" in said[0]
    assert "end before they start, such as a.mp4 from 1 to 1 s in line 2; they are left out" in said[1]
    assert "lie outside of their video, such as a.mp4 from 5 to 6 s in line 4" in said[2]
    assert "show nobody, or nobody where they say, such as b.mp4 from 0.6 to 0.9 s in line 6" in said[3]
    assert "are of videos that are not there or cannot be read, such as c.mp4" in said[4]


def test_rows_that_contradict_each_other_are_left_out(videos, caplog):
    table = table_of(
        videos, "a.mp4,0,1,jump", f"{videos / 'a.mp4'},0,1,wave", "a.mp4,1,2,sit", "a.mp4,1,2,sit", "b.mp4,0,1,wave"
    )
    with caplog.at_level(logging.WARNING):
        clips = clips_of_table(table, stages_of()[0])
    assert [label for label, *_ in told(clips)] == ["sit", "sit", "wave"]
    assert "2 rows of" in caplog.text
    assert "label a time that other rows label otherwise" in caplog.text


def test_a_table_with_nothing_to_learn_from_is_an_input_error(videos):
    with pytest.raises(InputError, match="no row with anything to learn from"):
        clips_of_table(table_of(videos, "a.mp4,3,4,jump", "c.mp4,0,1,wave"), stages_of()[0])
    with pytest.raises(
        InputError, match=r"line 2 of .*corrections\.csv has 'soon' for a time or place; write a number"
    ):
        clips_of_table(table_of(videos, "a.mp4,soon,4,jump"), stages_of()[0])


def test_a_clip_has_its_most_prominent_people_first(videos):
    people = [(10, 40, NOSE, 0, 1.0), (60, 90, NOSE, 1.0, 2.0), (110, 60, NOSE, *ALWAYS)]
    table = table_of(videos, "a.mp4,0,1,jump", "a.mp4,1,2,wave")
    first, second = clips_of_table(table, stages_of(*people)[0], subjects=2).file.split("train")
    assert [a.poses.boxes[:, 3, 0].tolist() for a in (first, second)] == [[110, 10], [60, 110]]
    assert clips_of_table(table, stages_of(*people)[0]).file.split("train")[1].poses.scores.shape[0] == 1


def test_a_row_with_a_place_is_of_who_is_there_then(videos, caplog):
    people = [(10, 80, NOSE, *ALWAYS), (110, 60, NOSE, *ALWAYS), (60, 90, NOSE, 1.0, 2.0)]
    # The middle of somebody's keypoints is at x + size / 4, 10 + size / 2, in a picture of 160 x 120.
    rows = ["a.mp4,0,1,jump,0.78,0.33,0.5", "a.mp4,0,1,wave,0.19,0.42,0.5", "a.mp4,1,2,sit,0.52,0.46,1.5"]
    rows += ["a.mp4,0,1,run,0.52,0.46,0.5", "b.mp4,0,1,wave,,,"]
    table = table_of(videos, *rows, header="video,start,end,label,x,y,at")
    with caplog.at_level(logging.WARNING):
        clips = clips_of_table(table, stages_of(*people)[0])
    found = [(clips.names[a.label], a.poses.boxes[0, 0, 0].tolist()) for a in clips.file.split("train")]
    assert found == [("jump", 110), ("wave", 10), ("sit", 60), ("wave", 10)]
    assert "show nobody, or nobody where they say, such as a.mp4 from 0 to 1 s in line 5" in caplog.text


# Training on them


def clips_of(video, *labels):
    return [
        (Annotation(f"{video} {i}", label, small.poses(small.person(1)), source=video), label)
        for i, label in enumerate(labels)
    ]


def test_clips_of_a_video_are_held_out_together_whatever_their_labels():
    items = [item for n in range(10) for item in clips_of(f"/v{n}.mp4", n % 2, (n + 1) % 2, n % 3)]
    for seed in range(8):
        kept, held_out = hold_out(items, 0.3, np.random.default_rng(seed))
        videos = [{a.source for a, _ in part} for part in (kept, held_out)]
        assert not videos[0] & videos[1]
        assert 2 <= len(videos[1]) <= 5
        assert {label for _, label in kept} == {0, 1, 2}


def test_the_last_video_of_a_class_is_never_held_out():
    items = clips_of("/a.mp4", 0, 1) + clips_of("/b.mp4", 0) + clips_of("/c.mp4", 0, 1, 2)
    for seed in range(8):
        _, held_out = hold_out(items, 0.9, np.random.default_rng(seed))
        assert {a.source for a, _ in held_out} in ({"/a.mp4"}, {"/b.mp4"}, {"/a.mp4", "/b.mp4"})


def test_a_video_in_two_tables_is_not_both_trained_and_validated_on(videos, draw_video):
    names = [f"v{n}.mp4" for n in range(6)]
    for name in names:
        draw_video(videos / name, 4, fps=10, size=(160, 120))
    stages, _ = stages_of()
    sources = []
    for number, span in enumerate(("0,0.2", "0.2,0.4")):
        (videos / str(number)).mkdir()
        table = table_of(videos / str(number), *(f"../{n},{span},{'ab'[i % 2]}" for i, n in enumerate(names)))
        clips = clips_of_table(table, stages)
        sources.append(LabelledPoses(table, clips.names, "train", clips.file))
    data = read_training_data(sources, "0.3", {})
    train, validation = ({a.source for a, _ in items} for items in (data.train, data.validation))
    assert not train & validation
    assert len(train) + len(validation) == 6
    assert validation


def test_a_folder_and_a_table_of_the_same_video_know_it(videos, monkeypatch):
    monkeypatch.chdir(videos.parent)
    file = poses_of_folder(videos.parent.relative_to(videos.parent), videos.parent / "cache.pkl", stages_of()[0])
    clips = clips_of_table(table_of(videos, "a.mp4,0,1,jump"), stages_of()[0])
    assert {a.source for a in clips.file.annotations.values()} < {a.source for a in file.annotations.values()}


def test_clips_of_one_video_leave_nothing_to_validate_on_and_that_is_told(videos, caplog):
    table = table_of(videos, "a.mp4,0,1,jump", "a.mp4,1,2,wave")
    clips = clips_of_table(table, stages_of()[0])
    with caplog.at_level(logging.WARNING):
        data = read_training_data([LabelledPoses(table, clips.names, "train", clips.file)], "0.1", {})
    assert (len(data.train), data.validation) == (2, [])
    assert "nothing is held out to validate on" in caplog.text


def test_tables_and_pickles_are_trained_on_together(job, poses, videos, monkeypatch):  # noqa: F811
    stages, _ = stages_of()
    monkeypatch.setattr(poseact.extract, "PoseStages", lambda **_: stages)
    table = table_of(videos, "a.mp4,0,1,jump", "a.mp4,1,2,wave", "b.mp4,,,jump")
    wanted = job(poses=[table, poses], validation="0")
    said = []
    assert len(list(train_bundle(wanted, said.append))) == 1
    assert said[0].startswith("11 sequences to train on")
    info = load_weights(wanted.output)[1]
    assert (info.labels, info.training_data) == (("jump", "wave", "stand"), "corrections:train, my:train")


def test_what_a_table_already_says_is_a_usage_error(job, videos):  # noqa: F811
    table = table_of(videos, "a.mp4,0,1,jump", "b.mp4,,,wave")
    with pytest.raises(UsageError, match="is a table of clips: its classes are in it, and all of it is trained on"):
        next(train_bundle(job(poses=[table], train_splits=["some"])))
    with pytest.raises(UsageError, match=r"corrections\.csv would overwrite what it is made from"):
        job(poses=[table], output=videos / "corrections.pt")


def test_a_bundle_to_begin_from_is_read_before_any_video(videos, job, monkeypatch, tmp_path):  # noqa: F811
    table = table_of(videos, "a.mp4,0,1,jump", "b.mp4,0,1,wave")
    monkeypatch.setattr(poseact.extract, "PoseStages", None)
    with pytest.raises(ModelError, match=r"absent\.pt does not exist"):
        list(train_bundle(job(poses=[table], init=tmp_path / "absent.pt")))
