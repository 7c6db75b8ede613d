"""Index and interval arithmetic: clips of a video, frames of a clip."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseact.sampling import FramePlan, Window, nearest_frames, pyskl_test_indices, sample_times, uniform_indices

COUNTS = st.integers(1, 400)


@pytest.mark.parametrize(
    ("n_frames", "clip_len", "expected"),
    [
        (6, 3, [1, 3, 5]),  # .x.x.x
        (2, 4, [0, 0, 1, 1]),
        (9, 3, [1, 4, 7]),  # .x..x..x.
        (5, 2, [1, 3]),
        (1, 3, [0, 0, 0]),
        (4, 1, [2]),
    ],
)
def test_uniform_indices_are_the_middles_of_equal_segments(n_frames, clip_len, expected):
    assert uniform_indices(n_frames, clip_len).tolist() == expected


@given(n_frames=COUNTS, clip_len=COUNTS)
def test_uniform_indices_take_one_frame_of_each_segment(n_frames, clip_len):
    indices = uniform_indices(n_frames, clip_len)
    edges = np.arange(clip_len + 1) * n_frames / clip_len
    assert indices.shape == (clip_len,)
    assert indices[0] >= 0
    assert indices[-1] < n_frames
    assert (np.diff(indices) >= 0).all()
    assert (indices >= np.floor(edges[:-1])).all()
    assert (indices < np.ceil(edges[1:])).all()


@given(n=COUNTS)
def test_uniform_indices_of_just_enough_frames_are_all_of_them(n):
    assert uniform_indices(n, n).tolist() == list(range(n))


def test_nothing_can_be_sampled_from_an_empty_sequence():
    with pytest.raises(ValueError, match="empty sequence"):
        uniform_indices(0, 4)


def test_sample_times_are_the_middles_of_equal_parts():
    assert sample_times(10, 12, 4) == pytest.approx([10.25, 10.75, 11.25, 11.75])


@pytest.mark.parametrize(
    ("length", "stride", "start", "end", "expected"),
    [
        (2, 1, 0, 4.5, [(0, 2), (1, 3), (2, 4), (2.5, 4.5)]),  # the last is aligned to the end
        (2, 1, 0, 4, [(0, 2), (1, 3), (2, 4)]),
        (2, None, 0, 4, [(0, 2), (1, 3), (2, 4)]),  # half a window is the usual stride
        (2, 2, 0, 7, [(0, 2), (2, 4), (4, 6), (5, 7)]),
        (2, 1, 10, 13.5, [(10, 12), (11, 13), (11.5, 13.5)]),
        (2, 1, 0, 1, [(0, 1)]),
        (2, 1, 0, 3, [(0, 3)]),  # 1.5 windows are one clip
        (2, 1, 0, 3.25, [(0, 2), (1, 3), (1.25, 3.25)]),
        (2, 1, 0, 4.01, [(0, 2), (1, 3), (2, 4)]),  # a hundredth of the window is not worth a clip
        (2, 3, 0, 8, [(0, 2), (3, 5), (6, 8)]),  # a stride may leave gaps
        (None, None, 5, 600, [(5, 600)]),
    ],
)
def test_clips_of_a_window(length, stride, start, end, expected):
    clips = Window(length, stride).clips(start, end)
    assert [pytest.approx(clip) for clip in expected] == clips


WINDOWS = st.builds(Window, st.floats(0.2, 10), st.none() | st.floats(0.1, 12))


@given(window=WINDOWS, start=st.floats(-5, 100), duration=st.floats(0.05, 60))
def test_clips_cover_the_video_and_are_a_window_long(window, start, duration):
    end = start + duration
    clips = window.clips(start, end)
    assert clips[0][0] == start
    # What is left at the end is at most the hundredth of a window that is not worth a clip.
    assert end - 0.0101 * window.length <= clips[-1][1] <= end + 1e-4
    if len(clips) > 1:
        assert all(last - first == pytest.approx(window.length) for first, last in clips)
        assert all(a[0] < b[0] for a, b in pairwise(clips))
    else:
        assert clips == [(start, end)]


@given(window=WINDOWS, start=st.floats(-5, 100), now=st.floats(0, 60), rest=st.floats(0.001, 30))
def test_a_settled_clip_stays_whatever_follows(window, start, now, rest):
    now = start + now
    settled = window.settled(start, now)
    assert settled == window.clips(start, now + rest)[: len(settled)]
    assert all(end <= now + 1e-4 for _, end in settled)


@pytest.mark.parametrize(("now", "count"), [(0, 0), (2.5, 0), (3, 0), (3.25, 2), (3.96, 2), (4, 3)])
def test_clips_settle_once_the_video_is_longer_than_a_single_clip(now, count):
    assert Window(2, 1).settled(0, now) == [(0, 2), (1, 3), (2, 4)][:count]


def test_a_whole_video_never_settles_before_its_end():
    assert Window(None).settled(0, 1e6) == []


@pytest.mark.parametrize("wrong", [(0, None), (-1, None), (float("inf"), None), (float("nan"), 1), (2, 0), (2, -1)])
def test_a_window_must_have_a_length_and_a_stride(wrong):
    with pytest.raises(ValueError, match="must be longer than 0 s"):
        Window(*wrong)


def test_nearest_frames_by_time():
    frames = np.array([0.0, 0.1, 0.2, 0.6])
    times = np.array([-1, 0.04, 0.06, 0.39, 0.41, 9])
    assert nearest_frames(frames, times).tolist() == [0, 0, 1, 2, 3, 3]


def test_of_two_frames_equally_near_the_earlier_is_taken():
    assert nearest_frames(np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.5])).tolist() == [0, 1]


def test_a_single_frame_is_nearest_to_everything():
    assert nearest_frames(np.array([3.0]), np.array([0.0, 3.0, 9.0])).tolist() == [0, 0, 0]


def wanted_frames(plan: FramePlan, fps: float, seconds: float) -> list[int]:
    return [i for i in range(round(seconds * fps)) if plan.wants(i / fps)]


def sampled_frames(window: Window, clip_len: int, fps: float, seconds: float) -> list[int]:
    frames = np.arange(round(seconds * fps)) / fps
    samples = [sample_times(*clip, clip_len) for clip in window.clips(0, seconds)]
    return sorted(set(nearest_frames(frames, np.concatenate(samples)).tolist()))


@pytest.mark.parametrize(
    ("window", "clip_len", "fps", "seconds"),
    [
        (Window(2, 2), 48, 60, 8),
        (Window(2, 1), 48, 50, 5),
        (Window(2, 1), 20, 25, 4.4),
        (Window(1, 1), 16, 60, 4),  # the last sample lies well before the end
        (Window(2, 2), 48, 24, 4),  # each sample lies in the middle between two frames
        (Window(3, 3), 48, 10, 6),  # fewer frames than samples: all of them
    ],
)
def test_a_plan_wants_exactly_the_frames_that_clips_sample(window, clip_len, fps, seconds):
    plan = FramePlan(window, clip_len, 0, seconds, fps)
    assert wanted_frames(plan, fps, seconds) == sampled_frames(window, clip_len, fps, seconds)


def test_a_plan_spares_most_frames_of_a_fast_video():
    plan = FramePlan(Window(2, 2), 10, 0, 4, 60)
    # Each clip has 10 samples, and people are followed every 0.125 s in between: 32 frames.
    wanted = wanted_frames(plan, 60, 3.9)
    assert len(wanted) < 60
    assert plan.rate < 15


def test_a_long_clip_has_its_people_followed_between_samples():
    plan = FramePlan(Window(None), 4, 0, 40, 16)
    wanted = wanted_frames(plan, 16, 40)
    assert max(np.diff(wanted)) / 16 <= 0.125
    assert set(sampled_frames(Window(None), 4, 16, 40)) <= set(wanted)


def test_without_a_known_end_all_frames_are_wanted():
    plan = FramePlan(Window(2), 4, 0, None, 60)
    assert wanted_frames(plan, 60, 3) == list(range(180))
    assert plan.rate == 60


def test_past_its_announced_end_a_video_goes_on_unplanned():
    plan = FramePlan(Window(2), 16, 0, 2, 60)
    wanted = wanted_frames(plan, 60, 4)
    assert [i for i in wanted if i > 120] == list(range(121, 240))


@pytest.mark.parametrize(
    ("fps", "rate", "expected"),
    [
        (30, 10, range(0, 240, 3)),
        (30, 15, range(0, 240, 2)),
        (60, 12, range(0, 480, 5)),
        (30, 30, range(240)),
        (25, 100, range(200)),
        (30000 / 1001, 10, range(0, 240, 3)),
    ],
)
def test_a_plan_at_a_rate_takes_every_so_many_frames(fps, rate, expected):
    assert wanted_frames(FramePlan(Window(1), 60, 0, 8, fps, rate), fps, 240 / 30) == list(expected)
    assert wanted_frames(FramePlan(Window(1), 60, 0, None, fps, rate), fps, 240 / 30) == list(expected)


def test_a_plan_tells_the_lesser_of_its_rates():
    assert FramePlan(Window(2), 48, 0, 60, 30, 10).rate == 10
    assert FramePlan(Window(2), 48, 0, None, 30, 10).rate == 10
    assert FramePlan(Window(10, 10), 48, 0, 60, 30, 25).rate == pytest.approx(12.8, abs=0.1)  # 4.8 samples, 8 between


TIMES = st.lists(st.integers(1, 300), min_size=1, max_size=300).map(lambda gaps: np.cumsum(gaps) / 1000)


@given(TIMES, st.sampled_from([1.0, 1.5, 10.0, None]), st.sampled_from([5.0, 10.0, 15.0, 29.97]), st.booleans())
def test_a_plan_at_a_rate_takes_the_first_sampled_frame_of_each_part_of_time(times, length, rate, end_known):
    end = float(times[-1]) if end_known else None
    sampled, limited = (FramePlan(Window(length), 48, 0, end, 30, limit) for limit in (None, rate))
    by_part = {}
    for time in times:
        if sampled.wants(time):
            by_part.setdefault(int(time * rate + 0.1), time)
    assert [time for time in times if limited.wants(time)] == list(by_part.values())


@pytest.mark.parametrize("n_frames", [5, 30, 48, 70, 95, 96, 130])
def test_pyskl_indices_lie_in_the_sequence(n_frames):
    indices = pyskl_test_indices(n_frames, 48)
    assert indices.shape == (10, 48)
    assert indices.min() >= 0
    assert indices.max() < n_frames


@pytest.mark.parametrize(
    ("n_frames", "first_clip", "last_clip"),
    [
        (4, [0, 1, 2, 3, 0, 1], [1, 2, 3, 0, 1, 2]),  # clip 9 of 10 starts at frame 9 mod 4
        (5, [0, 1, 2, 3, 4, 0], [4, 0, 1, 2, 3, 4]),
    ],
)
def test_pyskl_wraps_a_short_sequence_round(n_frames, first_clip, last_clip):
    clips = pyskl_test_indices(n_frames, 6)
    assert clips[0].tolist() == first_clip
    assert clips[9].tolist() == last_clip


def test_pyskl_spreads_the_starts_of_a_sequence_that_has_a_frame_for_each_clip():
    assert pyskl_test_indices(30, 48)[:, 0].tolist() == [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]


def test_pyskl_skips_frames_of_a_middling_sequence_but_never_two_at_once():
    clips = pyskl_test_indices(70, 48)
    assert set(np.diff(clips, axis=1).ravel()) == {1, 2}


def test_pyskl_takes_one_frame_of_each_segment_of_a_long_sequence():
    assert (pyskl_test_indices(480, 48) // 10 == np.arange(48)).all()


def test_pyskl_indices_are_the_same_each_time_and_differ_with_the_seed():
    assert (pyskl_test_indices(130, 48) == pyskl_test_indices(130, 48)).all()
    assert (pyskl_test_indices(130, 48) != pyskl_test_indices(130, 48, seed=1)).any()
