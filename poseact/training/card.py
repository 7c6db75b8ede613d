"""What lies beside a trained bundle: the log of its training, and the card that tells what it is worth."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..bundle import BundleInfo
from ..errors import OutputError
from ..files import written_aside
from .data import validation_share
from .evaluation import Evaluation
from .figures import draw_confusion_matrix
from .loop import EpochReport

if TYPE_CHECKING:
    from .job import TrainingJob

_COLUMNS = ("epoch", "loss", "learning_rate", "validation_top1", "seconds")


class TrainingLog:
    """A CSV with a row for each epoch. A training that goes on keeps the rows of the epochs it has done."""

    def __init__(self, path: Path, done: int):
        self.path = path
        self._rows: list[list[str]] = []
        if done and path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self._rows = list(csv.reader(file))[1 : 1 + done]

    def add(self, report: EpochReport) -> None:
        """Write the file anew with one row more. Raises OutputError."""
        top1 = "" if report.top1 is None else f"{report.top1:.4f}"
        values = (f"{report.epoch}", f"{report.loss:.5f}", f"{report.learning_rate:.6f}", top1, f"{report.seconds:.2f}")
        self._rows.append(list(values))
        try:
            with written_aside(self.path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([_COLUMNS, *self._rows])
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error


def write_card(info: BundleInfo, job: TrainingJob, sequences: int, evaluation: Evaluation | None) -> None:
    """Write the model card beside the bundle, with a picture of the confusion matrix. Raises OutputError."""
    path = job.card
    lines = [*_about(info, job, sequences), ""]
    if evaluation:
        draw_confusion_matrix(evaluation.matrix, info.labels, job.picture)
        lines += _accuracy(evaluation, job)
    else:
        lines += ["Nothing was held out to validate on, so its accuracy is not known.", ""]
    try:
        with written_aside(path) as aside:
            aside.write_text("\n".join(lines), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _about(info: BundleInfo, job: TrainingJob, sequences: int) -> list[str]:
    begun = f", begun from {job.init}" + (", only the head trained" if job.freeze else "") if job.init else ""
    epochs = "epoch" if job.epochs == 1 else "epochs"
    refused = {"not learnt but refused": ", ".join(job.unknown)} if job.unknown else {}
    rows = {
        "network": f"{info.net} on {info.modality} heatmap volumes of {info.layout}",
        "labels": ", ".join(info.labels),
        **refused,
        "trained on": f"{sequences} sequences of {info.training_data}{begun}",
        "training": f"{job.epochs} {epochs}, batch {job.batch_size}, learning rate {job.learning_rate:g}, augment "
        f"{job.augment:g}, negatives {job.negatives:g}, balance {job.balance:g}, seed {job.seed}",
        "window": f"{info.window:g} s every {info.stride:g} s",
        "temperature, rejection threshold": f"{info.temperature:g}, {info.rejection_threshold:g}",
        "licence": info.licence or "not stated",
    }
    return [
        f"# {info.name}",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {key} | {_plain(value)} |" for key, value in rows.items()),
    ]


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, also in a table."""
    return re.sub(r"([\\`*|<>\[\]])", r"\\\1", text)


def _accuracy(evaluation: Evaluation, job: TrainingJob) -> list[str]:
    share = validation_share(job.validation)
    of = f"the split {job.validation}" if share is None else f"a share of {share:g}, held out"
    fitted = "the temperature was" if job.calibrate_like else "temperature and threshold were"
    counts = evaluation.matrix.sum(axis=1)
    per_class = [
        f"| {_plain(label)} | {counts[evaluation.labels.index(label)]} | {share:.1%} |"
        for label, share in evaluation.per_class.items()
    ]
    return [
        "## Accuracy on the validation sequences",
        "",
        f"Top-1 {evaluation.top1:.1%}, top-5 {evaluation.top5:.1%}, mean class accuracy "
        f"{evaluation.mean_class_accuracy:.1%}, expected calibration error {evaluation.ece:.1%} "
        f"({len(evaluation.names)} sequences, {_plain(of)}; {fitted} fitted on them too).",
        "",
        "| class | sequences | right |",
        "| --- | --- | --- |",
        *per_class,
        "",
        f"![What is taken for what]({quote(job.picture.name)})",
        "",
    ]
