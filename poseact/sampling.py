"""Where clips lie in a video, and which frames of a clip the network sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import UsageError

# A video that is only a little longer than a window is one clip, not two that overlap almost fully.
LONGEST_SINGLE_CLIP = 1.5
# People can be followed from one frame to the next if no more seconds than this lie between.
FOLLOWING_INTERVAL = 0.125
# Browsers' recordings tell no duration and a nominal 1000 frames per second.
FASTEST_UNKNOWN = 60.0


@dataclass(frozen=True)
class Window:
    """The rule that cuts clips: length and stride in seconds; length None: the whole video is one."""

    length: float | None
    stride: float | None = None

    def __post_init__(self) -> None:
        if self.length is not None and not 0 < self.length < float("inf"):
            raise ValueError(f"a window must be longer than 0 s, got {self.length}")
        if self.stride is not None and not 0 < self.stride < float("inf"):
            raise ValueError(f"a stride must be longer than 0 s, got {self.stride}")

    def clips(self, start: float, end: float) -> list[tuple[float, float]]:
        """Clips [start, end) in seconds that cover a video from `start` to `end`.

        window 2, stride 1, video of 4.5 s: [0, 2) [1, 3) [2, 4) [2.5, 4.5): the last is aligned to the end.
        """
        if self.length is None or end - start <= LONGEST_SINGLE_CLIP * self.length + 1e-6:
            return [(start, end)]
        clips = self._regular(start, end)
        # What is left is shorter than a stride. A hundredth of the window is not worth a clip.
        if end - clips[-1][1] > 0.01 * self.length:
            clips.append((end - self.length, end))
        return clips

    def settled(self, start: float, now: float, first: int = 0) -> list[tuple[float, float]]:
        """The clips, from number `first` on, that are certain once a frame at `now` was seen, whatever follows."""
        if self.length is None or now - start <= LONGEST_SINGLE_CLIP * self.length + 1e-6:
            return []
        return self._regular(start, now, first)

    def _regular(self, start: float, end: float, first: int = 0) -> list[tuple[float, float]]:
        """Clips a stride apart that end by `end`, from number `first` on."""
        assert self.length is not None
        stride = self.stride or self.length / 2
        count = int((end - start - self.length) / stride + 1e-6) + 1
        return [(start + i * stride, start + i * stride + self.length) for i in range(first, count)]


def uniform_indices(n_frames: int, clip_len: int) -> np.ndarray:
    """The middle frame of each of `clip_len` equal segments (section 3.2 of the paper, made deterministic).

    Returns (clip_len,) int64 in [0, n_frames), never decreasing. 6 frames, 3 segments: .x.x.x -> 1, 3, 5;
    2 frames, 4 segments: 0, 0, 1, 1.
    """
    if n_frames < 1:
        raise ValueError("an empty sequence has no frames to sample")
    middles = (2 * np.arange(clip_len) + 1) * n_frames // (2 * clip_len)
    return middles.astype(np.int64)


def sample_times(start: float, end: float, clip_len: int) -> np.ndarray:
    """The middles of `clip_len` equal segments of [start, end), (clip_len,) float64 seconds."""
    return start + (np.arange(clip_len) + 0.5) * (end - start) / clip_len


def nearest_frames(frame_times: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Index of the frame nearest to each time. frame_times: (T,) seconds, increasing; times: (N,) seconds.

    Returns (N,) int64; of two frames equally near, the earlier one.
    """
    between = (frame_times[1:] + frame_times[:-1]) / 2
    nearest = np.searchsorted(between, times - 1e-6, side="left")
    # Broken timestamps can put two frames at the same time, of which `FramePlan` wants the first.
    return np.searchsorted(frame_times, frame_times[nearest] - 1e-6, side="left").astype(np.int64)


class FrameThinner:
    """Lets at most `rate` frames a second pass, evenly; None: all of them.

    4 frames a second of which 3 are wanted: times 0, .25, .5, .75, 1 -> x.xxx, the first of each third.
    """

    def __init__(self, fps: float, rate: float | None):
        if rate is not None and not 0 < rate < float("inf"):
            raise UsageError(f"the rate must be above 0 frames a second, got {rate:g}")
        self._limit = rate
        self._passed = -1
        self.rate = min(fps, rate or FASTEST_UNKNOWN)

    def wants(self, time: float) -> bool:
        """Whether the frame at `time` seconds passes. Times must increase."""
        if self._limit is None:
            return True
        slot = int(time * self._limit + 0.1)  # containers round times to milliseconds or so
        if slot <= self._passed:
            return False
        self._passed = slot
        return True


class FramePlan:
    """Which frames of a video any clip will sample, so that no others need be looked at for poses.

    Frames must be offered in order. Where clips are so long that their samples lie far apart, frames in
    between are wanted too, since people must be followed from one to the next. rate: of each 1/rate seconds, only the
    first of these frames; None: all of them.
    """

    def __init__(
        self,
        window: Window,
        clip_len: int,
        start: float,
        end: float | None,
        fps: float,
        rate: float | None = None,
    ):
        self.window, self.clip_len, self.start = window, clip_len, start
        self._thinner = FrameThinner(fps, rate)
        self._half_frame = 0.5 / fps
        self._fps = fps
        self._end = end
        self._times = self._times_until(end) if end is not None else None
        self._next = 0

    @property
    def rate(self) -> float:
        """Frames per second that are wanted, about."""
        if self._times is None:
            return self._thinner.rate
        span = max(self._times[-1] - self._times[0], 1 / self._fps)
        return min(self._thinner.rate, len(self._times) / span)

    def wants(self, time: float) -> bool:
        """Whether the frame at `time` seconds is the nearest to a sample of some clip, and its turn at the rate."""
        return self._is_sampled(time) and self._thinner.wants(time)

    def _is_sampled(self, time: float) -> bool:
        if self._times is None:
            return True
        passed = int(np.searchsorted(self._times, time + self._half_frame + 1e-6, side="right"))
        past_announced_end = self._end is not None and time >= self._end
        wanted = passed > self._next or past_announced_end
        self._next = max(self._next, passed)
        return wanted

    def _times_until(self, end: float) -> np.ndarray:
        clips = self.window.clips(self.start, max(end, self.start + 1 / self._fps))
        times = [sample_times(first, last, self.clip_len) for first, last in clips]
        if any((last - first) / self.clip_len > FOLLOWING_INTERVAL for first, last in clips):
            times.append(np.arange(self.start, end, FOLLOWING_INTERVAL))
        return np.unique(np.concatenate(times).round(6))


def pyskl_test_indices(n_frames: int, clip_len: int, n_clips: int = 10, seed: int = 255) -> np.ndarray:
    """The frames that PYSKL's test pipeline samples, (n_clips, clip_len) int64 in [0, n_frames).

    PYSKL draws from numpy's legacy generator and spends one number before each clip (on a random
    interval that is always the whole sequence); both are kept so that its volumes can be had exactly.
    """
    rng = np.random.RandomState(seed)
    clips = []
    for i in range(n_clips):
        rng.rand()
        if n_frames < clip_len:
            first = i if n_frames < n_clips else i * n_frames // n_clips
            indices = np.arange(first, first + clip_len)
        elif n_frames < 2 * clip_len:
            skipped = rng.choice(clip_len + 1, n_frames - clip_len, replace=False)
            offset = np.zeros(clip_len + 1, dtype=np.int64)
            offset[skipped] = 1
            indices = np.arange(clip_len) + np.cumsum(offset)[:-1]
        else:
            edges = np.arange(clip_len + 1) * n_frames // clip_len
            indices = edges[:-1] + rng.randint(np.diff(edges))
        clips.append(indices % n_frames)
    return np.stack(clips).astype(np.int64)
