"""Which videos are trained on and which are kept to test: by a hash of their names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from .errors import UsageError


def parse_shares(text: str) -> dict[str, float]:
    """`train:0.8,val:0.2` as the share of each split. Raises UsageError unless they add up to 1."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.strip().rpartition(":")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not name or name in shares or not 0 < share <= 1:
            raise UsageError(f"a split is NAME:SHARE with a share in (0, 1] and a name of its own, not {part!r}")
        shares[name] = share
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UsageError(f"the shares of {text} add up to {sum(shares.values()):g}; they must add up to 1")
    return shares


def assign_splits(labels: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, list[str]]:
    """The names in each split, about so large a share of each class, in the order of `labels`.

    labels: class index of each name. Where a name goes depends on itself alone, so that adding or removing others
    moves none; but where a class has as many names as there are splits, or more, none of its splits stays empty, and
    to see to that the name that is nearest by is moved.
    """
    classes: dict[int, list[str]] = {}
    for name, label in labels.items():
        classes.setdefault(label, []).append(name)
    split_of: dict[str, str] = {}
    for names in classes.values():
        split_of |= _assign_class(names, shares)
    return {split: [name for name in labels if split_of[name] == split] for split in shares}


def _assign_class(names: Sequence[str], shares: Mapping[str, float]) -> dict[str, str]:
    """The split of each name of one class."""
    place = {name: _hash(name) for name in names}
    spans: dict[str, tuple[float, float]] = {}
    low = 0.0
    for split, share in shares.items():
        spans[split] = (low, low + share)
        low += share
    last = list(shares)[-1]
    split_of = {name: next((s for s, (_, high) in spans.items() if place[name] < high), last) for name in names}
    for split, (low, high) in spans.items():
        if len(names) >= len(shares) and split not in split_of.values():
            members = list(split_of.values())
            spare = [name for name in names if members.count(split_of[name]) > 1]
            split_of[min(spare, key=lambda name: max(low - place[name], place[name] - high))] = split
    return split_of


def _hash(name: str) -> float:
    """A number in [0, 1) that looks random and is the same everywhere and always."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
