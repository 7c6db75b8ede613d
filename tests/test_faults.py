"""Faults injected into each stage of the chain: nothing hangs, no clip is lost or doubled, the fault is told."""

import threading
import time
import weakref

import numpy as np
import pytest
from test_pipeline import ALWAYS, NOSE, Actors, spans
from typer.testing import CliRunner

from poseact import Options, Pipeline
from poseact.cli import app
from poseact.detect import Detections
from poseact.engine import Engine
from poseact.errors import InputError, OutputError, StalledError, UsageError
from poseact.extract import PoseStages, extract_poses
from poseact.skeleton import COCO17
from poseact.video import Frame, Video


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    end = time.monotonic() + 5
    while any(thread.name.startswith("poseact") for thread in threading.enumerate()):
        assert time.monotonic() < end, threading.enumerate()
        time.sleep(0.02)


@pytest.fixture
def video(tmp_path, draw_video):
    return draw_video(tmp_path / "five.mp4", 125, fps=25, size=(320, 240))


def chain(bundle, detect=None, **options):
    actors = Actors((20, 100, NOSE, *ALWAYS))
    return Pipeline(
        bundle, detector=detect or actors.detect, pose=actors, device="cpu", options=Options(window=1.0, **options)
    )


def labels_until(stream, error):
    """The labels that came before the error."""
    got = []
    try:
        for clip in stream:
            got.append(clip)
    except error as raised:
        return got, raised
    pytest.fail(f"no {error.__name__} came")


def told(clip):
    return clip.source, clip.clip, clip.start, clip.end, clip.label, clip.persons


def failing_at(seconds, error):
    actors = Actors((20, 100, NOSE, *ALWAYS))

    def detect(frames):
        if frames[-1].time >= seconds:
            raise error
        return actors.detect(frames)

    return detect


def test_a_detector_that_throws(video, make_bundle):
    whole = list(chain(make_bundle()).stream(video))
    got, error = labels_until(
        chain(make_bundle(), failing_at(3.5, RuntimeError("CUDA is gone"))).stream(video), RuntimeError
    )
    assert str(error) == "CUDA is gone"
    assert got == whole[: len(got)]
    assert 2 <= len(got) <= 5


def test_a_decoder_that_throws_in_the_middle(video, make_bundle, monkeypatch):
    whole = list(chain(make_bundle()).stream(video))
    pictures = Video.pictures

    def broken(self, *args):
        for index, frame in pictures(self, *args):
            if frame.time > 3.5:
                raise InputError("the disk is gone")
            yield index, frame

    monkeypatch.setattr(Video, "pictures", broken)
    got, error = labels_until(chain(make_bundle()).stream(video), InputError)
    assert str(error) == "the disk is gone"
    assert got == whole[: len(got)]
    # All that is complete by then is labelled, whatever is on its way through the stages.
    assert spans(got)[-1][1] >= 3.0


def test_a_classifier_that_throws(video, make_bundle, monkeypatch):
    pipeline = chain(make_bundle())
    answers, classify = [], pipeline.classifier.probabilities

    def third_fails(clips):
        answers.append(len(clips))
        if len(answers) == 3:
            raise MemoryError("no memory left")
        return classify(clips)

    monkeypatch.setattr(pipeline.classifier, "probabilities", third_fails)
    got, _ = labels_until(pipeline.stream(video), MemoryError)
    assert len(got) == 2


@pytest.mark.parametrize("stage", ["detection and poses", "decoding"])
def test_a_stage_that_hangs_is_named_and_the_labels_before_it_are_kept(video, make_bundle, monkeypatch, stage):
    forever, pictures = threading.Event(), Video.pictures

    def hanging(self, *args):
        for index, frame in pictures(self, *args):
            if stage == "decoding" and frame.time > 3.5:
                forever.wait(30)
            yield index, frame

    actors = Actors((20, 100, NOSE, *ALWAYS))

    def detect(images):
        if stage != "decoding" and images[-1].time > 3.5:
            forever.wait(30)
        return actors.detect(images)

    monkeypatch.setattr(Video, "pictures", hanging)
    try:
        got, error = labels_until(chain(make_bundle(), detect, patience=0.7).stream(video), StalledError)
    finally:
        forever.set()
    assert str(error).startswith(f"{stage} has not got on")
    assert len(got) >= 2


def test_a_consumer_that_stops(video, make_bundle):
    actors = Actors((20, 100, NOSE, *ALWAYS))

    def slow(frames):
        time.sleep(0.01)
        return actors.detect(frames)

    labels = chain(make_bundle(), slow).stream(video)
    next(labels)
    labels.close()
    seen = len(actors.looked_at)
    assert seen < 110
    time.sleep(0.1)
    assert len(actors.looked_at) == seen


def test_a_disk_that_fills_while_labels_are_written(video, make_bundle, monkeypatch, tmp_path):
    from poseact.sinks.jsonl import JsonlSink

    write = JsonlSink.write

    def full_after_two(self, clip):
        if self.written == 2:
            raise OutputError("out.jsonl cannot be written: no space left on device")
        write(self, clip)

    monkeypatch.setattr(JsonlSink, "write", full_after_two)
    out = tmp_path / "out.jsonl"
    ran = CliRunner().invoke(app, ["predict", str(video), "--classifier", str(make_bundle()), "-o", str(out)])
    assert ran.exit_code == 5
    assert "no space left" in ran.stderr
    assert not out.exists()
    assert len((tmp_path / "out.jsonl.part").read_text().splitlines()) == 2


def test_extraction_meets_the_same_faults(video):
    actors = Actors((20, 100, NOSE, *ALWAYS))
    with pytest.raises(RuntimeError, match="CUDA is gone"):
        extract_poses(video, PoseStages(failing_at(2.0, RuntimeError("CUDA is gone")), actors, device="cpu"))


def test_one_of_several_videos_that_fails_costs_no_other_one(video, make_bundle, tmp_path, draw_video):
    other = draw_video(tmp_path / "other.mp4", 75, fps=25, size=(320, 240))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    sources = [str(video), str(broken), str(other), str(tmp_path / "missing.mp4"), str(video)]
    expected = [clip for source in (video, other, video) for clip in chain(make_bundle()).stream(source)]
    for at_once in (1, 2, 5):
        errors = {}
        found = list(chain(make_bundle()).stream_all(sources, on_error=errors.__setitem__, at_once=at_once))
        assert list(map(told, found)) == list(map(told, expected))
        assert set(errors) == {1, 3}
    with pytest.raises(InputError, match=r"broken\.mp4 is not a video"):
        list(chain(make_bundle()).stream_all(sources))


def test_a_video_that_waits_for_its_turn_does_not_hang(video, make_bundle, monkeypatch):
    monkeypatch.setattr("poseact.watch._GRACE", 0.0)
    actors = Actors((20, 100, NOSE, *ALWAYS))

    def slow(frames):
        time.sleep(0.01 * len(frames))  # longer for a video than the patience
        return actors.detect(frames)

    pipeline = chain(make_bundle(), slow, patience=0.7)
    assert pipeline.classifier  # loaded now
    found = list(pipeline.stream_all([str(video)] * 3, at_once=2))
    assert len(found) == 3 * len({clip.clip for clip in found})


def test_videos_at_once_share_batches_and_mix_nothing_up(make_bundle, tmp_path, draw_video, monkeypatch):
    """Each video shows another keypoint best; who got another video's frames would be labelled by that one."""
    videos = [draw_video(tmp_path / f"{n}.mp4", 60 + 10 * n, fps=25, size=(320 + 16 * n, 240)) for n in range(4)]
    batches = []
    monkeypatch.setattr("poseact.extract.batch_size", lambda device: 500)

    def detect(frames):
        batches.append({frame.image.shape for frame in frames})
        actors = [Actors((20, 100, (frame.image.shape[1] - 320) // 16 % 3 and 5, *ALWAYS)) for frame in frames]
        time.sleep(0.5)  # long enough for the other videos to be read
        return [one._of(frame) for one, frame in zip(actors, frames, strict=True)]

    found = list(chain(make_bundle(), detect).stream_all([str(v) for v in videos], at_once=4))
    labels = {video: {c.label for c in found if c.source == str(video)} for video in videos}
    assert list(labels.values()) == [{"head"}, {"left_shoulder"}, {"left_shoulder"}, {"head"}]
    assert [c.source for c in found] == sorted(c.source for c in found)
    assert max(map(len, batches)) > 1


def test_how_many_at_once_must_be_a_number_of_videos(video, make_bundle):
    with pytest.raises(UsageError, match="at least 1 video"):
        list(chain(make_bundle()).stream_all([str(video)], at_once=0))


def test_memory_stays_in_bounds_when_the_pictures_are_large_and_the_detector_slow():
    """4K at 60 frames a second: 25 MB each, which would fill the memory in seconds."""
    pictures, most = [], []

    def frames():
        for index in range(40):
            image = np.zeros((2160, 3840, 3), np.uint8)
            pictures.append(weakref.ref(image))
            most.append(sum(picture() is not None for picture in pictures))
            yield Frame(image, index, index / 60)

    def detect(images):
        time.sleep(0.02)
        nobody = np.zeros((0, 17), np.float32)
        return [Detections(nobody[:, :4], nobody[:, 0], np.zeros((0, 17, 2), np.float32), nobody, COCO17)] * len(images)

    stages = PoseStages(detect, Actors(), device="cpu")
    with Engine() as engine:
        read = engine.ahead("decoding", frames(), 32e6, lambda frame: frame.image.nbytes)
        assert len(list(stages.track(read, 60.0, engine))) == 40
    assert max(most) <= 14, "350 MB"
