"""People who come back from behind others get the id that they had, by what they wear and how far they can have got."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Cosine between the appearances of the same person.
_LEAST_LIKENESS = 0.7
# How far somebody gets, in heights of their body: at once, since boxes jump as people come into view, and a second.
_JUMP, _SPEED = 0.5, 1.5
# Of two who may be meant, one may be this much less alike for each height of the body that they are nearer.
_LIKENESS_OF_A_HEIGHT = 0.2
# How much of what somebody wears is learnt from each frame.
_LEARNT = 0.1


@dataclass
class _Known:
    """Where and as what somebody was last seen. box: xyxy; appearance: see `track.appearances`."""

    frame: int
    box: np.ndarray
    appearance: np.ndarray


class Reunion:
    """Finds out which new ids of a tracker are people who had another one. patience: frames that they may be away."""

    def __init__(self, rate: float, patience: float):
        self._rate, self._patience = rate, patience
        self._frame = 0
        self._known: dict[int, _Known] = {}
        self._names: dict[int, int] = {}

    def rename(self, ids: np.ndarray, boxes: np.ndarray, appearances: np.ndarray) -> np.ndarray:
        """ids: (P,) int64 of the people of the next frame; boxes: (P, 4); appearances: (P, D).
        Returns (P,) int64, the id that each of them had at first."""
        self._frame += 1
        self._forget()
        present = {self._names[i] for i in ids.tolist() if i in self._names}
        for track_id, box, appearance in zip(ids.tolist(), boxes, appearances, strict=True):
            if track_id not in self._names:
                self._names[track_id] = self._who_was(box, appearance, present, track_id)
            name = self._names[track_id]
            present.add(name)
            before = self._known.get(name)
            if before is not None:
                appearance = before.appearance + _LEARNT * (appearance - before.appearance)
            self._known[name] = _Known(self._frame, box, appearance)
        return np.array([self._names[i] for i in ids.tolist()], dtype=np.int64)

    def _who_was(self, box: np.ndarray, appearance: np.ndarray, present: set[int], nobody: int) -> int:
        """The id of who best fits among those who are away; `nobody` if none does."""
        best, name = -np.inf, nobody
        for known_id, known in self._known.items():
            distance = _distance(known.box, box)
            reach = _JUMP + _SPEED * (self._frame - known.frame) / self._rate
            likeness = _cosine(known.appearance, appearance)
            fit = likeness - _LIKENESS_OF_A_HEIGHT * distance
            if known_id not in present and distance <= reach and likeness >= _LEAST_LIKENESS and fit > best:
                best, name = fit, known_id
        return name

    def _forget(self) -> None:
        """Drop who has been away for too long."""
        away = [name for name, known in self._known.items() if self._frame - known.frame > self._patience]
        for name in away:
            del self._known[name]
        if away:
            self._names = {track_id: name for track_id, name in self._names.items() if name in self._known}


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Between the middles of two boxes, in heights of the taller one."""
    middles = (one[:2] + one[2:] - other[:2] - other[2:]) / 2
    return float(np.hypot(*middles) / max(one[3] - one[1], other[3] - other[1], 1e-6))


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9))
