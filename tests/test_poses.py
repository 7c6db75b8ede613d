"""`PoseSequence` at the door, and pose files: PYSKL's format, its faults, and pickles that mean harm."""

import builtins
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from poseact.errors import InputError, OutputError
from poseact.poses import Annotation, PoseSequence, is_pose_file, load_pickle, load_poses, save_poses
from poseact.skeleton import BODY13, COCO17


def sequence(**changed):
    """Two people, three frames, 13 keypoints."""
    values = {
        "keypoints": np.zeros((2, 3, 13, 2), np.float32),
        "scores": np.ones((2, 3, 13), np.float32),
        "times": np.arange(3.0),
        "image_size": (480, 640),
        "layout": BODY13,
        "track_ids": np.array([4, 7]),
        "boxes": np.zeros((2, 3, 4), np.float32),
    }
    return PoseSequence(**{**values, **changed})


def annotation(name="a", n_people=1, n_frames=4, n_keypoints=13, **changed):
    """A row as PYSKL writes it; x of a keypoint is its index, y its frame."""
    keypoint = np.zeros((n_people, n_frames, n_keypoints, 2), np.float16)
    keypoint[..., 0] = np.arange(n_keypoints)
    keypoint[..., 1] = np.arange(n_frames)[:, None]
    row = {
        "frame_dir": name,
        "label": 1,
        "img_shape": (480, 640),
        "original_shape": (480, 640),
        "total_frames": n_frames,
        "keypoint": keypoint,
        "keypoint_score": np.full(keypoint.shape[:3], 0.5, np.float16),
    }
    row.update(changed)
    return {key: value for key, value in row.items() if value is not None}


def written(tmp_path, content):
    path = tmp_path / "poses.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"keypoints": np.zeros((2, 3, 13, 3))}, r"keypoints must have shape \(2, 3, 13, 2\), got \(2, 3, 13, 3\)"),
        ({"keypoints": np.zeros((1, 3, 13, 2))}, r"keypoints must have shape \(2, 3, 13, 2\)"),
        ({"layout": COCO17}, r"scores must have shape \(2, 3, 17\), got \(2, 3, 13\)"),
        ({"times": np.arange(4.0)}, r"times must have shape \(3,\), got \(4,\)"),
        ({"track_ids": np.array([1])}, r"track_ids must have shape \(2,\), got \(1,\)"),
        ({"boxes": np.zeros((2, 4))}, r"boxes must have shape \(2, 3, 4\), got \(2, 4\)"),
        ({"keypoints": np.full((2, 3, 13, 2), np.nan)}, "must be finite; an absent keypoint has score 0"),
        ({"scores": np.full((2, 3, 13), np.inf)}, "must be finite"),
    ],
)
def test_a_sequence_checks_itself_and_tells_the_shapes(changed, message):
    with pytest.raises(ValueError, match=message):
        sequence(**changed)


def test_a_sequence_shows_shapes_instead_of_arrays():
    assert repr(sequence()) == "PoseSequence(persons=2, frames=3, keypoints=13 (body13), 0.000 to 2.000 s)"


def test_a_sequence_may_be_of_nobody_or_without_frames():
    nobody = sequence(
        keypoints=np.zeros((0, 0, 13, 2)),
        scores=np.zeros((0, 0, 13)),
        times=np.zeros(0),
        track_ids=np.zeros(0),
        boxes=np.zeros((0, 0, 4)),
    )
    assert repr(nobody) == "PoseSequence(persons=0, frames=0, keypoints=13 (body13))"


def test_somebody_is_present_who_has_a_single_keypoint():
    scores = np.zeros((2, 3, 13), np.float32)
    scores[0, 1, 5] = 0.1
    assert sequence(scores=scores).present.tolist() == [[False, True, False], [False, False, False]]


def test_people_can_be_selected():
    keypoints = np.zeros((2, 3, 13, 2), np.float32)
    keypoints[1] = 9
    second = sequence(keypoints=keypoints).select([1])
    assert second.track_ids.tolist() == [7]
    assert (second.keypoints == 9).all()
    assert second.boxes.shape == (1, 3, 4)


def test_a_pose_file_as_pyskl_writes_it(tmp_path):
    rows = [annotation("a", n_keypoints=17, n_people=2), annotation("b", label=0)]
    file = load_poses(written(tmp_path, {"split": {"train": ["b"], "test": ["a", "b"]}, "annotations": rows}))
    assert [a.name for a in file.split("train")] == ["b"]
    assert [a.name for a in file.split("test")] == ["a", "b"]
    a, b = file.annotations["a"], file.annotations["b"]
    assert (a.label, b.label) == (1, 0)
    assert (a.poses.layout, b.poses.layout) == (COCO17, BODY13)
    assert a.poses.image_size == (480, 640)
    assert a.poses.keypoints.shape == (2, 4, 17, 2)
    assert a.poses.keypoints[1, 3, 16].tolist() == [16, 3]
    assert a.poses.keypoints.dtype == a.poses.scores.dtype == np.float32
    assert (a.poses.scores == 0.5).all()
    assert a.poses.track_ids.tolist() == [0, 1]


def test_a_bare_list_is_a_pose_file_without_splits(tmp_path):
    file = load_poses(written(tmp_path, [annotation("a"), annotation("b")]))
    assert list(file.annotations) == ["a", "b"]
    with pytest.raises(InputError, match="has no split 'train'; its splits: none"):
        file.split("train")


def test_scores_may_be_missing_and_the_label_too(tmp_path):
    found = load_poses(written(tmp_path, [annotation("a", keypoint_score=None, label=None)])).annotations["a"]
    assert (found.poses.scores == 1).all()
    assert found.label == -1


def test_times_come_from_the_frame_rate_or_are_given(tmp_path):
    rows = [
        annotation("default"),
        annotation("slow", fps=10),
        annotation("given", times=np.array([0.0, 0.5, 2.0, 2.5])),
    ]
    found = load_poses(written(tmp_path, rows)).annotations
    assert found["default"].poses.times == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30])
    assert found["slow"].poses.times == pytest.approx([0, 0.1, 0.2, 0.3])
    assert found["given"].poses.times.tolist() == [0, 0.5, 2, 2.5]


def test_a_keypoint_that_is_not_a_number_is_absent(tmp_path):
    row = annotation("a")
    row["keypoint"][0, 1, 3] = np.nan
    row["keypoint"][0, 2, 4, 1] = np.inf
    row["keypoint_score"][0, 3, 5] = np.nan
    poses = load_poses(written(tmp_path, [row])).annotations["a"].poses
    assert [poses.scores[0, frame, k] for frame, k in [(1, 3), (2, 4), (3, 5)]] == [0, 0, 0]
    assert (poses.scores == 0).sum() == 3
    assert poses.keypoints[0, 1, 3].tolist() == [0, 0]


def test_scores_beyond_one_are_cut(tmp_path):
    row = annotation("a", keypoint_score=np.full((1, 4, 13), 1.25, np.float32))
    assert (load_poses(written(tmp_path, [row])).annotations["a"].poses.scores == 1).all()


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    file = load_poses(written(tmp_path, {"split": {"xsub_train": [], "xsub_val": []}, "annotations": []}))
    with pytest.raises(InputError, match=r"poses\.pkl has no split 'train'; its splits: xsub_train, xsub_val"):
        file.split("train")


def test_a_split_that_names_an_unknown_sequence_is_an_error(tmp_path):
    file = load_poses(written(tmp_path, {"split": {"train": ["a", "z"]}, "annotations": [annotation("a")]}))
    with pytest.raises(InputError, match="split 'train' names 'z', which has no annotation"):
        file.split("train")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"keypoint": None}, "annotation bad is malformed: it has no 'keypoint'"),
        ({"img_shape": None}, "annotation bad is malformed: it has no 'img_shape'"),
        ({"keypoint": np.zeros((4, 13, 2))}, r"annotation bad is malformed: keypoint must have shape \(M, T, K, 2\)"),
        ({"keypoint": np.zeros((1, 4, 13, 4))}, r"\(M, T, K, 3\) with T > 0, got \(1, 4, 13, 4\)"),
        ({"keypoint": np.zeros((1, 0, 13, 2))}, r"with T > 0, got \(1, 0, 13, 2\)"),
        ({"keypoint": "no array"}, "annotation bad is malformed"),
        ({"keypoint_score": np.ones((1, 4, 17))}, r"keypoint_score must have shape \(1, 4, 13\), got \(1, 4, 17\)"),
        ({"keypoint": np.zeros((1, 4, 15, 2)), "keypoint_score": None}, r"no layout has 15 keypoints; known: coco17"),
        ({"img_shape": 480}, "annotation bad is malformed"),
        ({"label": "wave"}, "annotation bad is malformed"),
        ({"frame_dir": None}, "annotation number 1 is malformed: it has no 'frame_dir'"),
    ],
)
def test_a_malformed_annotation_is_named(tmp_path, changed, message):
    path = written(tmp_path, [annotation("good"), annotation("bad", **changed)])
    with pytest.raises(InputError, match=message):
        load_poses(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"times": np.arange(3.0)}, r"times must be 4 seconds that increase, got shape \(3,\)"),
        ({"times": np.zeros(0)}, "times must be 4 seconds"),
        ({"times": np.array([0, 1, 1, 2.0])}, "times must be 4 seconds that increase"),
        ({"times": np.array([0, 1, np.nan, 3])}, "times must be 4 seconds that increase"),
        ({"end": 0.1}, "its end must come after its last frame, at 0.1 s, got 0.1"),
        ({"end": float("inf")}, "its end must come after"),
    ],
)
def test_our_own_keys_are_checked_too(tmp_path, changed, message):
    with pytest.raises(InputError, match=f"annotation bad is malformed: {message}"):
        load_poses(written(tmp_path, [annotation("bad", **changed)]))


def test_the_end_and_the_source_are_kept_or_told_by_the_rest(tmp_path):
    rows = [annotation("given", end=0.5, source="dir/v.mp4"), annotation("none", fps=10)]
    given, none = load_poses(written(tmp_path, rows)).annotations.values()
    assert (given.poses.end, given.source) == (0.5, "dir/v.mp4")
    assert (none.poses.end, none.source) == (pytest.approx(0.4), "none")
    save_poses([given, none], {}, tmp_path / "again.pkl")
    again = load_poses(tmp_path / "again.pkl").annotations
    assert [(a.poses.end, a.source) for a in again.values()] == [(0.5, "dir/v.mp4"), (none.poses.end, "none")]


def test_a_span_holds_its_frames_and_those_who_are_in_them_by_their_ids():
    scores = np.ones((3, 4, 13), np.float32)
    scores[1, :2] = 0
    scores[2, 2:] = 0
    whole = sequence(
        keypoints=np.zeros((3, 4, 13, 2), np.float32),
        scores=scores,
        times=np.arange(4.0),
        track_ids=np.array([9, 7, 4]),
        boxes=np.zeros((3, 4, 4), np.float32),
        end=4.0,
    )
    first = whole.between(0.0, 2.0)
    assert (first.times.tolist(), first.track_ids.tolist(), first.end) == ([0, 1], [4, 9], 2.0)
    assert whole.between(2.0, 9.0).track_ids.tolist() == [7, 9]
    assert whole.between(1.0, 3.0).scores[:, :, 0].tolist() == [[1, 0], [0, 1], [1, 1]]
    assert whole.between(7.0, 9.0).scores.shape == (0, 0, 13)


def test_a_pose_file_is_told_from_a_video_by_its_ending():
    names = ["a.pkl", "b.PICKLE", "c.mp4", "pkl", "d.pkl.mp4"]
    assert [is_pose_file(name) for name in names] == [True, True, False, False, False]


@pytest.mark.parametrize("content", [{"a": 1}, 42, [1, 2], {"annotations": {"a": 1}}, None])
def test_a_pickle_of_something_else_is_no_pose_file(tmp_path, content):
    with pytest.raises(InputError, match="no list of annotations"):
        load_poses(written(tmp_path, content))


@pytest.mark.parametrize("split", [["a"], "train", {"train": 5}])
def test_splits_of_another_form_are_an_input_error(tmp_path, split):
    with pytest.raises(InputError, match="split"):
        load_poses(written(tmp_path, {"split": split, "annotations": [annotation("a")]}))


class Calls:
    """Pickles into a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("nested", [False, True], ids=["bare", "nested"])
@pytest.mark.parametrize(
    ("function", "code", "asked_for"),
    [
        (os.system, "touch {marker}", f"{os.name}.system"),
        (builtins.eval, "open({marker!r}, 'w').close()", "builtins.eval"),
        (builtins.exec, "open({marker!r}, 'w').close()", "builtins.exec"),
    ],
)
def test_a_pickle_that_would_run_something_is_refused_and_nothing_runs(tmp_path, function, code, asked_for, nested):
    marker = tmp_path / "was-here"
    trap = Calls(function, code.format(marker=str(marker)))
    content = {"split": {}, "annotations": [annotation("a", note=[(trap,)])]} if nested else trap
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=f"refused: the pickle asks for {asked_for}"):
        load_poses(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the trap does work where nobody refuses it
    assert marker.exists()


def opcodes(*parts):
    """A pickle of protocol 4 written by hand: what no Pickler would write."""
    return b"\x80\x04" + b"".join(parts) + b"."


def text(value):
    return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


def memoised_names():
    """STACK_GLOBAL with module and name from the memo, where no text beside the opcode tells them."""
    module, name = (
        text(value) + pickle.BINPUT + place + pickle.POP for value, place in (("os", b"\x00"), ("system", b"\x01"))
    )
    both = pickle.BINGET + b"\x00" + pickle.BINGET + b"\x01"
    return opcodes(module, name, both, pickle.STACK_GLOBAL, text("true"), pickle.TUPLE1, pickle.REDUCE)


def attribute_of_something_allowed():
    """numpy is allowed, so perhaps an attribute path through it is too."""
    return opcodes(text("numpy"), text("ndarray.__class__"), pickle.STACK_GLOBAL)


def attribute_by_getattr():
    reach = opcodes(text("builtins"), text("getattr"), pickle.STACK_GLOBAL)
    return reach[:-1] + text("x") + text("y") + pickle.TUPLE2 + pickle.REDUCE + b"."


def by_extension_registry():
    """An extension code, which stands for a global that copyreg knows."""
    return opcodes(pickle.EXT1 + b"\x01")


def by_persistent_id():
    return opcodes(text("os.system"), pickle.BINPERSID)


def by_inst():
    """Protocol 0: module and name in the opcode, called at once."""
    return b"(S'true'\nios\nsystem\n."


def by_newobj():
    return opcodes(text("subprocess"), text("Popen"), pickle.STACK_GLOBAL, text("true"), pickle.TUPLE1, pickle.NEWOBJ)


def nested_in_a_reduce():
    """An allowed function is called with the result of one that is not."""
    inner = text("os") + text("getcwd") + pickle.STACK_GLOBAL + pickle.EMPTY_TUPLE + pickle.REDUCE
    return opcodes(text("builtins"), text("bytearray"), pickle.STACK_GLOBAL, inner, pickle.TUPLE1, pickle.REDUCE)


@pytest.mark.parametrize(
    ("make", "asked_for"),
    [
        (memoised_names, "os.system"),
        (attribute_of_something_allowed, "numpy.ndarray.__class__"),
        (attribute_by_getattr, "builtins.getattr"),
        (by_inst, "os.system"),
        (by_newobj, "subprocess.Popen"),
        (nested_in_a_reduce, "os.getcwd"),
    ],
)
def test_roundabout_ways_to_a_function_are_refused_by_its_name(tmp_path, make, asked_for):
    path = tmp_path / "poses.pkl"
    path.write_bytes(make())
    with pytest.raises(InputError, match=f"refused: the pickle asks for {asked_for},"):
        load_poses(path)


@pytest.mark.parametrize("make", [by_extension_registry, by_persistent_id])
def test_ways_without_a_name_lead_nowhere(tmp_path, make):
    path = tmp_path / "poses.pkl"
    path.write_bytes(make())
    with pytest.raises(InputError, match="is not a pickle of poses"):
        load_poses(path)


def test_an_extension_code_that_somebody_registered_is_refused_by_name(tmp_path):
    import copyreg

    path = tmp_path / "poses.pkl"
    path.write_bytes(by_extension_registry())
    copyreg.add_extension("os", "system", 1)
    try:
        with pytest.raises(InputError, match=r"refused: the pickle asks for os\.system"):
            load_poses(path)
    finally:
        copyreg.remove_extension("os", "system", 1)


def test_an_array_of_objects_hides_nothing(tmp_path):
    trap = np.array([1.5, Calls(os.system, "true")], dtype=object)
    with pytest.raises(InputError, match=f"refused: the pickle asks for {os.name}.system"):
        load_poses(written(tmp_path, [annotation("a", keypoint=trap)]))
    with pytest.raises(InputError, match="annotation a is malformed"):
        load_poses(written(tmp_path, [annotation("a", keypoint=np.array([[[["x", "y"]]]], dtype=object))]))


def test_a_matrix_or_a_record_of_numpy_is_refused_by_name(tmp_path):
    for other in (np.ma.array([1.0]), np.rec.array([(1,)], dtype=[("a", int)])):
        with pytest.raises(InputError, match=r"refused: the pickle asks for numpy\."):
            load_poses(written(tmp_path, [annotation("a", keypoint=other)]))


def test_a_class_of_numpy_that_is_no_array_is_refused(tmp_path):
    path = written(tmp_path, Calls(np.load, "x.npy"))
    with pytest.raises(InputError, match=r"refused: the pickle asks for numpy\.load"):
        load_pickle(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_of_any_protocol_are_read(tmp_path, protocol):
    path = tmp_path / "plain.pkl"
    content = {"a": np.arange(3, dtype=np.float16), "b": [np.float64(1.5), "text", None, (1, 2)], "c": {1, 2}}
    path.write_bytes(pickle.dumps(content, protocol))
    read = load_pickle(path)
    assert read["a"].tolist() == [0, 1, 2]
    assert read["b"] == [1.5, "text", None, (1, 2)]
    assert read["c"] == {1, 2}


def test_a_truncated_pickle_is_an_input_error(tmp_path):
    path = written(tmp_path, [annotation("a")])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"poses\.pkl is not a pickle of poses"):
        load_poses(path)


@pytest.mark.parametrize("content", [b"", b"name,label\nwave,1\n", b"\x00\x01\x02"], ids=["empty", "text", "binary"])
def test_another_file_is_an_input_error(tmp_path, content):
    path = tmp_path / "poses.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"poses\.pkl is not a pickle of poses .* expected PYSKL's format"):
        load_poses(path)


def test_a_missing_file_and_a_folder_are_input_errors(tmp_path):
    with pytest.raises(InputError, match=r"absent\.pkl cannot be read: No such file or directory; check the path"):
        load_poses(tmp_path / "absent.pkl")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_poses(tmp_path)


def estimated(label=2, times=(0.0, 0.04, 0.1)):
    """Two people, one of whom is absent from the second frame, at times that are not even."""
    rng = np.random.default_rng(label)
    scores = rng.uniform(0.1, 1, (2, len(times), 17)).astype(np.float32)
    scores[1, 1:2] = 0
    poses = PoseSequence(
        keypoints=rng.uniform(0, 1900, (2, len(times), 17, 2)).astype(np.float32),
        scores=scores,
        times=np.array(times),
        image_size=(1080, 1920),
        layout=COCO17,
        track_ids=np.array([4, 11]),
        boxes=rng.uniform(0, 1000, (2, len(times), 4)).astype(np.float32),
    )
    return Annotation(f"class/{label}.mp4", label, poses)


def test_what_is_saved_is_what_is_loaded(tmp_path):
    path = tmp_path / "out.pkl"
    kept = [estimated(2), estimated(0)]
    save_poses(kept, {"train": ["class/2.mp4"], "test": ("class/0.mp4",)}, path, {"made": "by a test"})
    file = load_poses(path)
    assert file.splits == {"train": ["class/2.mp4"], "test": ["class/0.mp4"]}
    assert file.notes == {"made": "by a test"}
    for annotation in kept:
        read = file.annotations[annotation.name]
        assert read.label == annotation.label
        assert (read.poses.image_size, read.poses.layout) == ((1080, 1920), COCO17)
        for name in ("keypoints", "scores", "times", "track_ids", "boxes"):
            before, after = getattr(annotation.poses, name), getattr(read.poses, name)
            assert before.dtype == after.dtype, name
            assert np.array_equal(before, after), name
    assert [p.name for p in tmp_path.iterdir()] == ["out.pkl"]


def test_a_saved_row_is_as_pyskl_expects_it(tmp_path):
    save_poses([estimated()], {"train": ["class/2.mp4"]}, tmp_path / "out.pkl")
    content = load_pickle(tmp_path / "out.pkl")
    (row,) = content["annotations"]
    assert content["split"] == {"train": ["class/2.mp4"]}
    assert (row["frame_dir"], row["label"], row["total_frames"]) == ("class/2.mp4", 2, 3)
    assert row["img_shape"] == row["original_shape"] == (1080, 1920)
    assert (row["keypoint"].shape, row["keypoint_score"].shape) == ((2, 3, 17, 2), (2, 3, 17))
    assert row["fps"] == pytest.approx(20)
    assert row["layout"] == "coco17"


def test_a_video_of_nobody_and_a_single_frame_can_be_kept(tmp_path):
    nobody = replace(estimated(1), poses=estimated(1).poses.select([]))
    single = estimated(3, times=(0.5,))
    single = replace(single, poses=single.poses.select([0]))
    save_poses([nobody, single], {}, tmp_path / "out.pkl")
    file = load_poses(tmp_path / "out.pkl")
    assert file.annotations[nobody.name].poses.scores.shape == (0, 3, 17)
    assert file.annotations[single.name].poses.times.tolist() == [0.5]


def test_a_save_that_fails_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "out.pkl"
    save_poses([estimated()], {}, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="share a name"):
        save_poses([estimated(), estimated()], {}, path)
    with pytest.raises(ValueError, match="split 'train' names 'z', which has no annotation"):
        save_poses([estimated()], {"train": ["z"]}, path)
    with pytest.raises(OutputError, match=r"absent/out\.pkl cannot be written: No such file or directory"):
        save_poses([estimated()], {}, tmp_path / "absent" / "out.pkl")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_layout_is_named(tmp_path):
    row = {"frame_dir": "a", "img_shape": (9, 9), "keypoint": np.ones((1, 2, 13, 2)), "layout": "foo13"}
    path = tmp_path / "odd.pkl"
    path.write_bytes(pickle.dumps([row]))
    with pytest.raises(InputError, match="layout 'foo13' is none of coco17, body13"):
        load_poses(path)
