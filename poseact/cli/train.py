"""`poseact train`: from labelled poses to a classifier bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .report import epochs_bar, say, show_warnings


def train(
    poses: Annotated[
        list[Path],
        typer.Argument(metavar="POSES.pkl...", help="Labelled poses in PYSKL's format.", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.pt", help="The bundle to write.", show_default=False)
    ],
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Class names, one a line, for each pickle in turn. Default: POSES_labels.txt beside each.",
        ),
    ] = None,
    train_split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Split to train on, for each pickle in turn.", show_default="train"),
    ] = None,
    val_split: Annotated[
        str,
        typer.Option(
            metavar="NAME|FRACTION", help="Split to validate on, or the share that is cut from training for it."
        ),
    ] = "0.1",
    alias: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=LABEL", help="A class name that means the same as another."),
    ] = None,
    layout: Annotated[str, typer.Option(metavar="body13|coco17", help="Keypoints that the network sees.")] = "body13",
    window: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="What a clip should span in video. Default: the median of training."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 60,
    batch_size: Annotated[int, typer.Option(min=2)] = 32,
    learning_rate: Annotated[float, typer.Option(help="At the start; falls as a cosine.")] = 0.05,
    balance: Annotated[
        float, typer.Option(min=0, max=1, help="0: each sequence as often; 1: each class as often.")
    ] = 0.5,
    augment: Annotated[
        float, typer.Option(min=0, max=2, help="How strongly estimated poses are imitated; 0: only the paper's.")
    ] = 1.0,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]|mps")] = "auto",
    name: Annotated[str | None, typer.Option(help="The bundle's name. Default: OUT's.")] = None,
    licence: Annotated[str, typer.Option(help="What the bundle says of its licence.")] = "",
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew although a checkpoint is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="On an error, show the traceback.")] = False,
) -> None:
    """Train a classifier on labelled poses; a training that was killed goes on where it was."""
    show_warnings(quiet)
    from ..training.job import TrainingJob, train_bundle

    job = TrainingJob(
        poses=poses,
        output=output,
        labels=labels or [],
        train_splits=train_split or ["train"],
        validation=val_split,
        aliases=dict(_pair(text) for text in alias or []),
        layout=layout,
        window=window,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        balance=balance,
        augment=augment,
        seed=seed,
        device=device,
        name=name or output.stem,
        licence=licence,
        restart=restart,
    )
    with epochs_bar(quiet) as progress:
        task = progress.add_task("training", total=epochs)
        for report in train_bundle(job, log=lambda text: None if quiet else say(text)):
            top1 = "" if report.top1 is None else f", validation top-1 {report.top1:.1%}"
            progress.update(task, completed=report.epoch, description=f"loss {report.loss:.3f}{top1}")


def _pair(text: str) -> tuple[str, str]:
    from ..errors import UsageError

    name, equals, label = text.partition("=")
    if not (name and equals and label):
        raise UsageError(f"--alias takes NAME=LABEL, not {text!r}")
    return name.strip(), label.strip()
