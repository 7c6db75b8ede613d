"""`poseact evaluate` as a user meets it: what it prints and writes, and what it says of bad input."""

import json
import pickle

import numpy as np
import pytest
import torch
from test_cli import one_sentence, run
from test_evaluation import NAMES, pose_file, row

from poseact.bundle import load_bundle
from poseact.training.labels import labels_beside

ROWS = [row("a", 0), row("b", 0, bright=1), row("c", 1, people=2), row("d", 2, frames=3)]
ACCURACIES = {"head": 0.5, "left_shoulder": 1.0, "right_shoulder": 1.0}


@pytest.fixture
def poses(tmp_path):
    return pose_file(tmp_path, ROWS)


def json_of(*arguments):
    code, out, err = run("evaluate", *arguments, "--json", "--device", "cpu")
    assert code == 0, err
    (line,) = out.splitlines()
    return json.loads(line)


def test_json_is_one_object_of_fractions(make_bundle, poses):
    found = json_of(make_bundle(), poses, "--split", "test")
    assert list(found) == [
        *("top1", "top5", "mean_class_accuracy", "ece", "ece_by_chance"),
        *("per_class", "sequences", "confusions"),
    ]
    assert (found["top1"], found["top5"], found["sequences"]) == (0.75, 1, 4)
    assert found["mean_class_accuracy"] == pytest.approx(2.5 / 3)
    assert 0.1 < found["ece"] < 0.5
    assert found["per_class"] == ACCURACIES
    assert found["confusions"] == [{"classes": ["head", "left_shoulder"], "score": 1}]


def test_the_report_is_for_people(make_bundle, poses):
    code, out, err = run("evaluate", make_bundle(), poses, "--device", "cpu")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    for line in (
        ["top-1", "75.00%"],
        ["top-5", "100.00%"],
        ["mean", "class", "accuracy", "83.33%"],
        ["head", "2", "50.0%", "left_shoulder", "(1)"],
        ["right_shoulder", "1", "100.0%"],
        ["head", "–", "left_shoulder", "1"],
    ):
        assert line in lines, out


def test_scores_and_figure_are_written_whole(make_bundle, poses, tmp_path):
    scores, figure = tmp_path / "s.json", tmp_path / "f.png"
    before = {path.name for path in tmp_path.iterdir()}
    json_of(make_bundle(), poses, "--scores", scores, "--figure", figure)
    written = json.loads(scores.read_text())
    assert list(written) == ["a", "b", "c", "d"]
    assert [int(np.argmax(p)) for p in written.values()] == [0, 1, 1, 2]
    assert all(sum(p) == pytest.approx(1, abs=1e-5) for p in written.values())
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} - before == {"s.json", "f.png", "namer.pt"}


def test_clips_and_mirror_images_are_averaged(make_bundle, poses, tmp_path):
    """A still person looks the same in each clip; mirrored, the right shoulder becomes the left one."""
    shown = {}
    for name, options in (("one", []), ("ten", ["--clips", 10]), ("flip", ["--flip"])):
        json_of(make_bundle(), poses, *options, "--scores", tmp_path / name, "--precision", "float32")
        shown[name] = json.loads((tmp_path / name).read_text())["d"]
    assert shown["one"][2] > 0.9
    assert shown["ten"] == pytest.approx(shown["one"], abs=1e-5)
    assert shown["flip"] == pytest.approx([0, 0.5, 0.5], abs=0.05)


def test_bundles_are_averaged_with_weights(make_bundle, poses, tmp_path):
    one, other = make_bundle(tmp_path / "1.pt"), make_bundle(tmp_path / "2.pt", temperature=50.0)
    scores = {}
    for bundles, options in (
        (one, []),
        (other, []),
        (f"{one},{other}", []),
        (f"{one},{other}", ["--weights", "3,1"]),
    ):
        json_of(bundles, poses, "--scores", tmp_path / "s.json", "--precision", "float32", *options)
        scores[str(bundles), bool(options)] = np.array(json.loads((tmp_path / "s.json").read_text())["a"])
    first, second, mean, weighted = scores.values()
    assert abs(first - second).max() > 0.1
    for found, share in ((mean, 0.5), (weighted, 0.75)):
        products = first**share * second ** (1 - share)
        np.testing.assert_allclose(found, products / products.sum(), atol=1e-6)


def test_lost_keypoints_are_told_with_their_seed(make_bundle, poses):
    code, _, err = run("evaluate", make_bundle(), poses, "--drop-keypoint", 1, "--seed", 7, "--device", "cpu")
    assert code == 0
    assert "probability 1, seed 7" in err
    assert run("evaluate", make_bundle(), poses, "--drop-keypoint", 1, "-q", "--device", "cpu")[2] == ""


def test_visibility_as_score(make_bundle, tmp_path):
    flags = pose_file(tmp_path, [row(name, label, high=1, low=0) for label, name in enumerate("abc")])
    assert json_of(make_bundle(), flags, "--visibility-as-score")["top1"] == 1
    assert json_of(make_bundle(), flags)["top1"] == pytest.approx(1 / 3)


def test_names_are_given_or_found_or_guessed(make_bundle, tmp_path):
    poses = pose_file(tmp_path, [row("a", 0, bright=1), row("b", 1, bright=0)], names=None)
    code, out, err = run("evaluate", make_bundle(), poses, "--json", "--device", "cpu")
    assert (code, json.loads(out)["top1"]) == (0, 0)
    assert err.count("warning:") == 1
    assert "the classifier's own 3 classes in order" in err
    names = tmp_path / "names.txt"
    names.write_text("left_shoulder\nhead\n")
    assert json_of(make_bundle(), poses, "--labels", names)["top1"] == 1


def test_a_measured_figure_is_recorded(make_bundle, poses):
    bundle = make_bundle(accuracy={"other": 0.5})
    json_of(bundle, poses, "--record", "poses:test top-1")
    assert load_bundle(bundle, torch.device("cpu"))[1].accuracy == {"other": 0.5, "poses:test top-1": 0.75}
    assert json_of(bundle, poses)["top1"] == 0.75


def test_other_actions_are_rejected(make_bundle, poses, tmp_path):
    vague = [row(f"v{i}", 0, low=0.9) for i in range(3)]
    other = pose_file(tmp_path, vague, ("hammer",), name="other.pkl")
    bundle = make_bundle(rejection_threshold=0.9)
    arguments = (bundle, poses, "--ood", f"{other}:test:hammer")
    (found,) = json_of(*arguments)["ood"]
    assert found["source"] == "other.pkl:test:hammer"
    assert (found["sequences"], found["auroc"], found["threshold"]) == (3, 1, 0.9)
    assert (found["rejected"], found["known_rejected"]) == (1, 0)
    code, out, _ = run("evaluate", *arguments, "--ood", f"{other}:test", "--device", "cpu")
    assert code == 0
    assert "other.pkl:test:hammer 3 1.000 0.900 100.0% 0.0%" in " ".join(out.split())
    assert "all 6 1.000" in " ".join(out.split())


# Bad input


def bad(code, *arguments):
    """The one sentence that evaluate ends with; nothing on stdout."""
    found, out, err = run("evaluate", *arguments, "--device", "cpu")
    assert (found, out) == (code, ""), err
    return err


def test_poses_that_are_none(make_bundle, tmp_path):
    bundle = make_bundle()
    one_sentence(bad(3, bundle, tmp_path / "no.pkl"), "no.pkl cannot be read")
    text = tmp_path / "text.pkl"
    text.write_text("no pickle")
    one_sentence(bad(3, bundle, text), "text.pkl is not a pickle of poses", "PYSKL's format")
    other = tmp_path / "other.pkl"
    other.write_bytes(pickle.dumps({"a": 1}))
    one_sentence(bad(3, bundle, other), "other.pkl has no list of annotations")


def test_a_split_that_is_none(make_bundle, tmp_path):
    poses = pose_file(tmp_path, ROWS, split={"train": ["a"], "empty": []})
    one_sentence(bad(3, make_bundle(), poses), "no split 'test'", "train, empty")
    one_sentence(bad(3, make_bundle(), poses, "--split", "empty"), "the split 'empty' is empty")


def test_labels_that_do_not_fit(make_bundle, tmp_path):
    poses = pose_file(tmp_path, [row("a", 3, bright=0)])
    one_sentence(bad(3, make_bundle(), poses), "annotation a has label 3", "3 class names")
    unlabelled = pose_file(tmp_path, [row("a", -1, bright=0)])
    one_sentence(bad(3, make_bundle(), unlabelled), "annotation a has label -1")
    strange = pose_file(tmp_path, [row("a", 1)], ("head", "knitting"))
    one_sentence(bad(3, make_bundle(), strange), "class 'knitting' is none of the classifier's labels")


def test_bundles_that_are_none(poses, tmp_path, make_bundle):
    text = tmp_path / "model.pt"
    text.write_text("no model")
    one_sentence(bad(4, text, poses), "not a classifier bundle")
    one_sentence(bad(4, tmp_path / "no.pt", poses), "no classifier named", "no.pt")
    one_sentence(bad(4, f"{make_bundle()},nope", poses), "no classifier named 'nope'")
    one_sentence(bad(2, f"{make_bundle()},", poses), "names one classifier too few")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--weights", "a"], "--weights takes numbers"),
        (["--weights", "1,2"], "weights"),
        (["--weights", "-1"], "weights"),
        (["--device", "gpu"], "is no device"),
        (["--figure", "f.docx"], "ends with .png"),
        (["--planes", "xw"], "plane"),
        (["--ood", "POSES:test:sawing"], "no class 'sawing'"),
    ],
)
def test_options_that_make_no_sense(make_bundle, poses, options, says):
    options = [option.replace("POSES", str(poses)) for option in options]
    code, out, err = run("evaluate", make_bundle(), poses, *options)
    assert (code, out) == (2, "")
    one_sentence(err, says)


@pytest.mark.parametrize(
    "options", [["--clips", 0], ["--drop-keypoint", 2], ["--precision", "int8"], ["--seed", -1], ["--hide", "tail"]]
)
def test_values_out_of_range(make_bundle, poses, options):
    assert run("evaluate", make_bundle(), poses, *options)[0] == 2


def test_nothing_is_overwritten(make_bundle, poses, tmp_path):
    bundle = make_bundle()
    before = poses.read_bytes(), bundle.read_bytes()
    for output in (poses, bundle, labels_beside(poses)):
        one_sentence(bad(2, bundle, poses, "--scores", output), "would overwrite")
    both = tmp_path / "both.png"
    one_sentence(bad(2, bundle, poses, "--scores", both, "--figure", both), "would overwrite")
    one_sentence(bad(5, bundle, poses, "--scores", "/dev/null"), "a folder or a device")
    one_sentence(bad(3, bundle, poses, "--ood", tmp_path / "no.pkl"), "--ood", "is no file")
    one_sentence(bad(5, bundle, poses, "--scores", tmp_path / "no" / "s.json"), "make it first")
    one_sentence(bad(5, bundle, poses, "--scores", tmp_path), "is a folder")
    one_sentence(bad(2, f"{bundle},{bundle}", poses, "--record", "x"), "--record")
    one_sentence(bad(2, "actions27-slowonly-joint", poses, "--record", "x"), "--record")
    for name in ("--json", ""):
        one_sentence(bad(2, bundle, poses, "--record", name), "is no name for a figure")
    assert (poses.read_bytes(), bundle.read_bytes()) == before


def test_a_bundle_that_answers_with_nan_is_told_rather_than_measured(make_bundle, poses):
    """NaN sorts as the first class, which would be right of all sequences of that class."""
    bundle = make_bundle(temperature=1e-40)
    assert "NaN" in bad(4, bundle, poses)


def test_the_shipped_names_are_used(poses):
    """The classes here are none of the shipped bundle's, which shows that it was found by its name."""
    one_sentence(bad(3, "actions27-slowonly-joint", poses), f"class {NAMES[0]!r} is none")
