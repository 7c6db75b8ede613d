"""Splits by a hash of the name: shares, stability, and small classes."""

import pytest

from poseact.errors import UsageError
from poseact.splits import assign_splits, parse_shares

SHARES = {"train": 0.8, "val": 0.2}


def members(splits):
    return {name: split for split, names in splits.items() for name in names}


def test_shares_are_read():
    assert parse_shares("train:0.8,val:0.2") == SHARES
    assert parse_shares(" a:b:0.5 , c:0.5") == {"a:b": 0.5, "c": 0.5}
    assert parse_shares("train:1") == {"train": 1.0}


@pytest.mark.parametrize(
    "text", ["", "train", "train:x", "train:0.8", "a:0.5,a:0.5", "a:1.2", "a:0,b:1", ":1", "a:nan"]
)
def test_shares_that_make_no_sense_are_refused(text):
    with pytest.raises(UsageError, match=r"a split is NAME:SHARE|must add up to 1"):
        parse_shares(text)


def test_each_class_has_about_its_share_in_the_order_given():
    labels = {f"{label}/{i}.mp4": label for label in (-1, 0, 1) for i in range(1000)}
    splits = assign_splits(labels, SHARES)
    assert sorted(splits["train"] + splits["val"]) == sorted(labels)
    for label in (-1, 0, 1):
        held_out = sum(labels[name] == label for name in splits["val"])
        assert 160 <= held_out <= 240
    order = list(labels)
    assert splits["val"] == sorted(splits["val"], key=order.index)


def test_one_more_video_moves_no_other():
    labels = {f"{i}.mp4": i % 3 for i in range(120)}
    before = members(assign_splits(labels, SHARES))
    for new in range(50):
        after = members(assign_splits({f"new{new}.mp4": new % 3, **labels}, SHARES))
        assert {name: after[name] for name in labels} == before


def test_another_label_of_another_class_changes_nothing():
    labels = {f"{i}.mp4": 0 for i in range(40)}
    assert assign_splits(labels, SHARES) == assign_splits(dict.fromkeys(labels, 7), SHARES)


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_no_split_of_a_small_class_stays_empty(count):
    shares = {"train": 0.8, "val": 0.1, "test": 0.1}
    for series in range(20):
        splits = assign_splits({f"{series}-{i}": 0 for i in range(count)}, shares)
        assert all(splits.values())
        assert sum(map(len, splits.values())) == count


def test_fewer_videos_than_splits_and_none():
    assert sum(map(len, assign_splits({"a": 0}, SHARES).values())) == 1
    assert assign_splits({}, SHARES) == {"train": [], "val": []}


def test_the_hash_is_the_same_everywhere():
    # The first byte of SHA-256 of "g" is 0xcd and of "i" 0xde, the only two of these from 0.8 · 256 on.
    assert assign_splits(dict.fromkeys("abcdefghij", 0), SHARES)["val"] == ["g", "i"]
