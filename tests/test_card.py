"""The CSV log beside a bundle. The card and its picture are seen in test_training_job.py."""

import csv

import pytest

from poseact.errors import OutputError
from poseact.training.card import TrainingLog
from poseact.training.loop import EpochReport


def csv_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_log_forgets_the_epochs_that_are_trained_again(tmp_path):
    log = TrainingLog(tmp_path / "log.csv", 0)
    for epoch in (1, 2, 3):
        log.add(EpochReport(epoch, 1.0, 0.1, None, 2.0))
    TrainingLog(tmp_path / "log.csv", 2).add(EpochReport(3, 0.5, 0.1, None, 2.0))
    rows = csv_rows(tmp_path / "log.csv")
    assert [(row["epoch"], row["loss"]) for row in rows] == [("1", "1.00000"), ("2", "1.00000"), ("3", "0.50000")]
    TrainingLog(tmp_path / "log.csv", 0).add(EpochReport(1, 0.2, 0.1, 0.5, 2.0))
    assert [row["validation_top1"] for row in csv_rows(tmp_path / "log.csv")] == ["0.5000"]
    with pytest.raises(OutputError, match=r"log\.csv cannot be written"):
        TrainingLog(tmp_path / "absent" / "log.csv", 0).add(EpochReport(1, 0.2, 0.1, 0.5, 2.0))
