"""`poseact evaluate`: how good a classifier is on labelled poses."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import InputError, OutputError, UsageError
from ..files import check_output, written_aside
from .console import counting_bar, say, show_warnings
from .options import Debug, Device, Precision, PrecisionName, Quiet, Weights, parse_weights

if TYPE_CHECKING:
    from ..classifier import Classifier, Ensemble
    from ..training.evaluation import Evaluation, EvaluationOptions
    from ..training.rejection import Rejection


def _option(help: str, panel: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


_VIEWS, _DATA, _OUTPUT = "What the network sees", "Poses and classes", "Results"

Bundles = Annotated[
    str,
    typer.Argument(
        metavar="BUNDLE[,BUNDLE...]", help="Names or paths; of several the geometric mean (J+L).", show_default=False
    ),
]
Poses = Annotated[
    Path, typer.Argument(metavar="POSES.pkl", help="Labelled poses in PYSKL's format.", show_default=False)
]
Split = Annotated[str, _option("The split to evaluate on.", _DATA, metavar="NAME")]
Labels = Annotated[
    Path | None,
    _option("Class names, one a line. Default: POSES_labels.txt beside the poses.", _DATA, metavar="FILE"),
]
VisibilityAsScore = Annotated[
    bool, _option("Take annotators' visibility flags as scores.", _DATA, "--visibility-as-score")
]
Planes = Annotated[
    str, _option("Onto which 3D poses are projected; their scores are averaged.", _DATA, metavar="xy,yz,xz")
]
Ood = Annotated[
    list[str] | None,
    _option(
        "Actions outside the labels: how well confidence tells them apart. Repeatable.",
        _DATA,
        metavar="POSES.pkl[:SPLIT[:CLASS+CLASS]]",
    ),
]
Clips = Annotated[int, _option("Of each sequence. 1: uniform; more: as PYSKL's test pipeline samples.", _VIEWS, min=1)]
Flip = Annotated[bool, _option("Average with each clip's mirror image.", _VIEWS, "--flip")]
DropKeypoint = Annotated[
    float,
    _option(
        "Probability that, in each frame, one elbow, wrist, knee or ankle is lost (table 4).",
        _VIEWS,
        metavar="P",
        min=0,
        max=1,
    ),
]
Hide = Annotated[
    str | None,
    _option(
        "Hide a part of everybody: feet, legs, below-waist, left or right.",
        _VIEWS,
        metavar="PART",
    ),
]
Seed = Annotated[int, _option("Of the lost keypoints.", _VIEWS, min=0)]
BatchSize = Annotated[
    int | None, _option("Clips at a time. Default: 8, on a GPU 32.", "Models", min=1, show_default=False)
]
AsJson = Annotated[bool, _option("Print one JSON object instead of the report.", _OUTPUT, "--json")]
Scores = Annotated[
    Path | None, _option("Write each sequence's probabilities here, as JSON.", _OUTPUT, metavar="FILE.json")
]
Figure = Annotated[
    Path | None, _option("Draw the confusion matrix here, as PNG, SVG or PDF.", _OUTPUT, metavar="FILE.png")
]
Record = Annotated[
    str | None, _option("Write top-1 into the bundle's own description, under this name.", _OUTPUT, metavar="NAME")
]


def evaluate(
    bundles: Bundles,
    poses: Poses,
    split: Split = "test",
    labels: Labels = None,
    visibility_as_score: VisibilityAsScore = False,
    planes: Planes = "xy,yz,xz",
    ood: Ood = None,
    clips: Clips = 1,
    flip: Flip = False,
    drop_keypoint: DropKeypoint = 0.0,
    hide: Hide = None,
    seed: Seed = 0,
    precision: PrecisionName = Precision.auto,
    weights: Weights = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    as_json: AsJson = False,
    scores: Scores = None,
    figure: Figure = None,
    record: Record = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure a classifier on labelled poses: accuracy, confusions, calibration, and what it makes of other actions."""
    show_warnings(quiet)
    shares = parse_weights(weights)
    paths = _check_outputs(bundles, [poses, labels, *(_sources(ood) if ood else [])], scores, figure, record, quiet)
    from ..classifier import load_classifier
    from ..device import choose_device
    from ..training.evaluation import EvaluationOptions

    options = EvaluationOptions(
        clips=clips,
        mirror=flip,
        batch_size=batch_size,
        drop_keypoint=drop_keypoint,
        hide=hide,
        seed=seed,
        visibility_as_score=visibility_as_score,
        planes=tuple(planes.split(",")),
    )
    if drop_keypoint and not quiet:
        say(f"one limb keypoint of each person is lost in a frame with probability {drop_keypoint:g}, seed {seed}")
    if hide and not quiet:
        say(f"{hide}: hidden of everybody")
    classifier = load_classifier(paths, choose_device(device), precision.value, shares)
    found = _evaluate(classifier, poses, split, labels, options, quiet)
    rejections = _rejections(classifier, found, ood or [], options)
    _write(found, paths[0], scores, figure, record)
    if as_json:
        typer.echo(json.dumps(_to_dict(found, rejections)))
    else:
        _print_report(found, rejections)


def _sources(ood: list[str]) -> list[Path]:
    """The pose files of `--ood`, which must be there before the work."""
    from ..training.rejection import Strangers

    paths = [Strangers.parse(text).poses for text in ood]
    for path in paths:
        if not path.is_file():
            raise InputError(f"--ood {path} is no file; check the path")
    return paths


def _check_outputs(
    bundles: str,
    sources: list[Path | None],
    scores: Path | None,
    figure: Path | None,
    record: str | None,
    quiet: bool,
) -> list[Path]:
    """The bundles' files. What cannot be written is told before the work, not after it."""
    from ..training.figures import check_figure
    from ..training.labels import labels_beside
    from ..zoo import registry, resolve_all

    paths = resolve_all(bundles, "classifier", None if quiet else say)
    read = [*paths, *(path for source in sources if source for path in (source, labels_beside(source)))]
    if scores:
        check_output(scores, read)
    if figure:
        check_output(figure, [*read, scores] if scores else read)
        check_figure(figure)
    if record is not None and (len(paths) > 1 or bundles in registry()):
        raise UsageError("--record writes into one bundle of yours: give the path of one")
    if record is not None and (record.startswith("--") or not record.strip()):  # the next option, taken for the name
        raise UsageError(
            f"--record {record!r} is no name for a figure; say which one it is, as in 'poses.pkl:test top-1'"
        )
    return paths


def _evaluate(
    classifier: Classifier | Ensemble,
    poses: Path,
    split: str,
    labels: Path | None,
    options: EvaluationOptions,
    quiet: bool,
) -> Evaluation:
    from ..training.evaluation import evaluate

    with counting_bar(quiet) as progress:
        task = progress.add_task(f"{poses.name}:{split} on {classifier.device}", total=None)
        return evaluate(
            classifier,
            poses,
            split,
            labels,
            options,
            lambda done, total: progress.update(task, completed=done, total=total),
        )


def _rejections(
    classifier: Classifier | Ensemble, known: Evaluation, sources: list[str], options: EvaluationOptions
) -> list[Rejection]:
    from ..training.rejection import Strangers, measure_rejection

    return measure_rejection(classifier, known, [Strangers.parse(text) for text in sources], options)


def _write(found: Evaluation, bundle: Path, scores: Path | None, figure: Path | None, record: str | None) -> None:
    from ..training.evaluation import record_accuracy
    from ..training.figures import draw_confusion_matrix

    if scores:
        try:
            with written_aside(scores) as aside:
                aside.write_text(json.dumps(found.scores()), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{scores} cannot be written: {error.strerror or error}") from error
    if figure:
        draw_confusion_matrix(found.matrix, found.labels, figure)
    if record is not None:
        record_accuracy(bundle, record, found.top1)


def _to_dict(found: Evaluation, rejections: list[Rejection]) -> dict[str, Any]:
    ood = {"ood": [asdict(rejection) for rejection in rejections]} if rejections else {}
    return {**found.to_dict(), **ood}


def _print_report(found: Evaluation, rejections: list[Rejection]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    tables = [_summary(found), _classes(found)]
    if found.confusions:
        tables.append(_confusions(found))
    if rejections:
        tables.append(_rejected(rejections))
    for index, table in enumerate(tables):
        if index:
            console.print()
        console.print(table)


def _table(*titles: str) -> Table:
    """Columns of text at the left, then of numbers: titles that start with a blank."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title.strip(), justify="right" if title.startswith(" ") else "left", overflow="fold")
    return table


def _summary(found: Evaluation) -> Table:
    table = _table("measure", " value")
    table.add_row("sequences", str(len(found.names)))
    table.add_row("top-1", f"{found.top1:.2%}")
    table.add_row("top-5", f"{found.top5:.2%}")
    table.add_row("mean class accuracy", f"{found.mean_class_accuracy:.2%}")
    table.add_row("expected calibration error", f"{found.ece:.2%}")
    table.add_row("of a perfectly calibrated model", f"{found.ece_by_chance:.2%}")
    return table


def _classes(found: Evaluation) -> Table:
    table = _table("class", " n", " accuracy", "mostly confused with")
    for index, label in enumerate(found.labels):
        if label in found.per_class:
            row = found.matrix[index].copy()
            n, row[index] = row.sum(), 0
            other = f"{escape(found.labels[row.argmax()])} ({row.max()})" if row.any() else ""
            table.add_row(escape(label), str(n), f"{found.per_class[label]:.1%}", other)
    return table


def _confusions(found: Evaluation) -> Table:
    table = _table("confused pair", " S")
    for one, other, score in found.confusions:
        table.add_row(escape(f"{one} – {other}"), str(score))
    return table


def _rejected(rejections: list[Rejection]) -> Table:
    table = _table("other actions", " n", " AUROC", " threshold", " rejected", " known ones rejected")
    for found in rejections:
        numbers = (
            f"{found.auroc:.3f}",
            f"{found.threshold:.3f}",
            f"{found.rejected:.1%}",
            f"{found.known_rejected:.1%}",
        )
        table.add_row(escape(found.source), str(found.sequences), *numbers)
    return table
