"""The picture of a confusion matrix."""

import matplotlib.image
import numpy as np
import pytest

from poseact.errors import OutputError, UsageError
from poseact.training.figures import draw_confusion_matrix

MATRIX = np.array([[8, 2, 0], [0, 10, 0], [0, 0, 0]])


def picture(path, matrix=MATRIX, labels=("walk", "run_$fast$", "jump")):
    draw_confusion_matrix(matrix, labels, path)
    return matplotlib.image.imread(path)


def test_the_picture_shows_the_counts_and_leaves_out_what_never_occurs(tmp_path):
    shown = picture(tmp_path / "a.png")
    assert shown.shape == picture(tmp_path / "b.png", MATRIX[:2, :2]).shape
    other = picture(tmp_path / "c.png", MATRIX[[1, 0, 2]])
    assert other.shape == shown.shape
    assert (other != shown).any()
    large = picture(tmp_path / "d.png", np.eye(27, dtype=int), [f"class_{i}" for i in range(27)])
    assert min(large.shape[:2]) > 1000, "27 classes need room"


@pytest.mark.parametrize(("ending", "starts"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")])
def test_formats(tmp_path, ending, starts):
    draw_confusion_matrix(MATRIX, ("a", "b", "c"), tmp_path / f"f.{ending}")
    assert (tmp_path / f"f.{ending}").read_bytes().startswith(starts)


def test_what_cannot_be_written_is_told_and_nothing_is_left(tmp_path):
    with pytest.raises(UsageError, match=r"ends with \.png"):
        draw_confusion_matrix(MATRIX, ("a", "b", "c"), tmp_path / "f.docx")
    (tmp_path / "f.png").mkdir()
    with pytest.raises(OutputError, match=r"f\.png cannot be written"):
        draw_confusion_matrix(MATRIX, ("a", "b", "c"), tmp_path / "f.png")
    with pytest.raises(OutputError, match="cannot be written"):
        draw_confusion_matrix(MATRIX, ("a", "b", "c"), tmp_path / "no" / "f.png")
    assert [path.name for path in tmp_path.iterdir()] == ["f.png"]
