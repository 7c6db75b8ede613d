"""`poseact train`: from labelled poses to a classifier bundle."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import counting_bar, say, show_warnings
from .options import Debug, Device, Quiet, parse_subjects

if TYPE_CHECKING:
    from ..training.job import TrainingJob

Poses = Annotated[
    list[Path],
    typer.Argument(
        metavar="POSES.pkl|FOLDER|CLIPS.csv...",
        help="Labelled poses in PYSKL's format; a folder CLASS_NAME/VIDEO, or a table with the columns video,start,end,"
        "label (seconds; without them the whole video), whose poses are extracted once.",
        show_default=False,
    ),
]
Output = Annotated[
    Path, typer.Option("-o", "--output", metavar="OUT.pt", help="The bundle to write.", show_default=False)
]
Labels = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE|auto",
        help="Class names, one a line, for each pickle in turn. auto, the default: POSES_labels.txt beside each.",
        rich_help_panel="Data",
    ),
]
TrainSplit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Split to train on, for each pickle in turn.", show_default="train", rich_help_panel="Data"
    ),
]
ValSplit = Annotated[
    str,
    typer.Option(
        metavar="NAME|FRACTION",
        help="Split to validate on, or the share that is cut from training for it, by whole videos.",
        rich_help_panel="Data",
    ),
]
Alias = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=LABEL", help="A class name that means the same as another.", rich_help_panel="Data"),
]
Unknown = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLASS",
        help="Do not learn this class; fit on it what the bundle should refuse.",
        rich_help_panel="Data",
    ),
]
Planes = Annotated[
    str, typer.Option(metavar="PLANE,...", help="Onto which planes 3D poses are projected.", rich_help_panel="Data")
]


class Modality(str, Enum):
    joint = "joint"
    limb = "limb"


NetName = Annotated[
    str, typer.Option("--net", metavar="NAME", help="`poseact models --nets` lists them.", rich_help_panel="Network")
]
ModalityName = Annotated[
    Modality, typer.Option(help="Draw the keypoints, or the limbs between them.", rich_help_panel="Network")
]
Init = Annotated[
    Path | None,
    typer.Option(
        metavar="BUNDLE",
        help="Train on from this bundle (fine-tuning).",
        show_default="anew",
        rich_help_panel="Network",
    ),
]
Freeze = Annotated[
    bool, typer.Option("--freeze", help="With --init, train only the head (linear probing).", rich_help_panel="Network")
]
Subjects = Annotated[
    str | None,
    typer.Option(
        metavar="N|all",
        help="People in one volume. Default: the most of any training sequence, but 1 of videos.",
        rich_help_panel="Data",
    ),
]
Layout = Annotated[
    str, typer.Option(metavar="body13|coco17", help="Keypoints that the network sees.", rich_help_panel="Network")
]
Window = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="What a clip should span in video. Default: the median of training.",
        rich_help_panel="What the bundle says",
    ),
]
Epochs = Annotated[int, typer.Option(min=1, rich_help_panel="Recipe")]
BatchSize = Annotated[int, typer.Option(min=2, rich_help_panel="Recipe")]
LearningRate = Annotated[float, typer.Option(help="At the start; falls as a cosine.", rich_help_panel="Recipe")]
Balance = Annotated[
    float,
    typer.Option(min=0, max=1, help="0: each sequence as often; 1: each class as often.", rich_help_panel="Recipe"),
]
Augment = Annotated[
    float,
    typer.Option(
        min=0, max=2, help="How strongly estimated poses are imitated; 0: only the paper's.", rich_help_panel="Recipe"
    ),
]
Negatives = Annotated[
    float,
    typer.Option(
        min=0,
        max=0.9,
        help="Share of sequences made into no action (held still, or two bodies in one), to learn what to refuse.",
        rich_help_panel="Recipe",
    ),
]
CalibrateLike = Annotated[
    Path | None,
    typer.Option(
        metavar="BUNDLE",
        help="Take the rejection threshold of this one, trained alike with --unknown; without validation its "
        "temperature too.",
        rich_help_panel="What the bundle says",
    ),
]
Amp = Annotated[
    bool,
    typer.Option(
        "--amp/--no-amp",
        help="Compute in bfloat16 where that is exact enough and the device is quicker at it.",
        rich_help_panel="Recipe",
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile", help="Compile the network: a minute, then on a GPU 1.6 times as fast.", rich_help_panel="Recipe"
    ),
]
Seed = Annotated[int, typer.Option(help="Of everything random but what is held out.", rich_help_panel="Recipe")]
Name = Annotated[
    str | None, typer.Option(help="The bundle's name. Default: OUT's.", rich_help_panel="What the bundle says")
]
Licence = Annotated[
    str, typer.Option(help="What the bundle says of its licence.", rich_help_panel="What the bundle says")
]
Restart = Annotated[bool, typer.Option("--restart", help="Begin anew although a checkpoint is there.")]


def train(
    poses: Poses,
    output: Output,
    labels: Labels = None,
    train_split: TrainSplit = None,
    val_split: ValSplit = "0.1",
    alias: Alias = None,
    unknown: Unknown = None,
    planes: Planes = "xy,yz,xz",
    net: NetName = "slowonly",
    modality: ModalityName = Modality.joint,
    layout: Layout = "body13",
    window: Window = None,
    subjects: Subjects = None,
    init: Init = None,
    freeze: Freeze = False,
    epochs: Epochs = 60,
    batch_size: BatchSize = 32,
    learning_rate: LearningRate = 0.05,
    balance: Balance = 0.5,
    augment: Augment = 1.0,
    negatives: Negatives = 0.0,
    calibrate_like: CalibrateLike = None,
    seed: Seed = 0,
    device: Device = "auto",
    amp: Amp = True,
    compile: Compile = False,
    name: Name = None,
    licence: Licence = "",
    restart: Restart = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a classifier on labelled poses; a training that was killed goes on where it was."""
    show_warnings(quiet)
    from ..training.job import TrainingJob

    job = TrainingJob(
        poses=poses,
        output=output,
        labels=[None if path == Path("auto") else path for path in labels or []],
        train_splits=train_split or ["train"],
        validation=val_split,
        aliases=dict(_pair(text) for text in alias or []),
        unknown=unknown or [],
        planes=planes.split(","),
        net=net,
        modality=modality.value,
        layout=layout,
        window=window,
        subjects=parse_subjects(subjects),
        init=init,
        freeze=freeze,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        balance=balance,
        augment=augment,
        negatives=negatives,
        calibrate_like=calibrate_like,
        seed=seed,
        device=device,
        amp=amp,
        compile=compile,
        name=name or output.stem,
        licence=licence,
        restart=restart,
    )
    try:
        _train(job, quiet)
    except KeyboardInterrupt:
        kept = "; the same command goes on after the last whole epoch" if job.checkpoint.exists() else ""
        raise KeyboardInterrupt(f"interrupted{kept}") from None


def _train(job: TrainingJob, quiet: bool) -> None:
    from ..training.job import train_bundle

    with counting_bar(quiet) as progress:
        task = progress.add_task("training", total=job.epochs)

        def extracting(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=f"poses of {name}" if name else "training")
            if progress.disable and not quiet and name:
                say(f"poses of video {done + 1} of {total}: {name}")

        for report in train_bundle(job, None if quiet else say, extracting):
            top1 = "" if report.top1 is None else f", validation top-1 {report.top1:.1%}"
            found = f"loss {report.loss:.3f}{top1}"
            progress.update(task, completed=report.epoch, total=job.epochs, description=found)
            if progress.disable and not quiet:  # a log file rather than a terminal
                say(f"epoch {report.epoch} of {job.epochs}: {found}")


def _pair(text: str) -> tuple[str, str]:
    from ..errors import UsageError

    name, equals, label = text.partition("=")
    if not (name and equals and label):
        raise UsageError(f"--alias takes NAME=LABEL, not {text!r}")
    return name.strip(), label.strip()
