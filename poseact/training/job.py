"""From pose files, a folder of videos or a table of clips to a bundle: what `poseact train` does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from .. import __version__
from ..bundle import BundleInfo, load_bundle, load_weights, save_bundle
from ..device import choose_device
from ..errors import InputError, ModelError, UsageError
from ..files import check_output
from ..heatmaps import VolumeRule
from ..nets import find_net
from ..nets.conv import Recogniser
from ..planes import PLANES
from ..poses import Annotation
from ..skeleton import LAYOUTS
from ..video_labels import TABLE_ENDINGS
from .augment import Augmentation
from .calibrate import calibrate, calibrated
from .card import TrainingLog, write_card
from .data import Item, LabelledPoses, TrainingData, count_sequences, find_names, read_training_data
from .dataset import PoseDataset, build_dataset
from .evaluation import Evaluation, mean_by_name, predict_probabilities
from .labels import labels_beside
from .loop import EpochReport, Trainer, TrainOptions

Log = Callable[[str], None]
# Told how many videos are done, of how many, and the name of the one that is next.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class TrainingJob:
    """poses, labels, train_splits: for each pose file in turn; a label file of None is the one beside it; one split
    serves all files; instead of a file, a folder class_name/video, see `folder`, or a table of clips, see
    `labelled_clips`. validation: the name of a split, or the share of the training sequences that is held out, by whole
    videos. aliases: other names of classes. unknown: classes that are
    not learnt but refused. window: seconds; None: the median length of the training sequences. init: a bundle to train
    on from; freeze: train only the head. augment: how strongly estimated poses are imitated, 1 as shipped. negatives:
    share of sequences that are made into no action. calibrate_like: a bundle, trained
    alike, whose rejection threshold is taken, and without validation its temperature. seed: of everything random but
    which sequences a share holds out, so that trainings from several seeds can be compared and averaged."""

    poses: Sequence[Path]
    output: Path
    labels: Sequence[Path | None] = ()
    train_splits: Sequence[str] = ("train",)
    validation: str = "0.1"
    aliases: dict[str, str] = field(default_factory=dict)
    unknown: Sequence[str] = ()
    planes: Sequence[str] = PLANES
    net: str = "slowonly"
    modality: Literal["joint", "limb"] = "joint"
    layout: str = "body13"
    window: float | None = None
    subjects: int | Literal["all"] | None = None
    init: Path | None = None
    freeze: bool = False
    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 0.05
    balance: float = 0.5
    augment: float = 1.0
    negatives: float = 0.0
    calibrate_like: Path | None = None
    seed: int = 0
    device: str = "auto"
    amp: bool = True
    compile: bool = False
    name: str = "my-actions"
    licence: str = ""
    restart: bool = False

    def __post_init__(self) -> None:
        find_net(self.net)
        if self.layout not in LAYOUTS:
            raise UsageError(f"there is no layout {self.layout!r}; choose one of {', '.join(LAYOUTS)}")
        if self.modality not in ("joint", "limb"):
            raise UsageError(f"there is no modality {self.modality!r}; choose joint or limb")
        if self.labels and len(self.labels) != len(self.poses):
            raise UsageError(f"{len(self.poses)} pose files need as many --labels files, got {len(self.labels)}")
        if len(self.train_splits) not in (1, len(self.poses)):
            raise UsageError(f"give one --train-split, or one for each of the {len(self.poses)} pose files")
        if self.window is not None and not 0 < self.window < float("inf"):
            raise UsageError(f"the window must be longer than 0 s, got {self.window:g}")
        if self.subjects not in (None, "all") and not (isinstance(self.subjects, int) and self.subjects > 0):
            raise UsageError(f"subjects must be 'all' or a count, got {self.subjects!r}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"the seed must be in [0, 2^63), got {self.seed}")
        if not 0 <= self.negatives < 1:
            raise UsageError(f"the share of negatives must be in [0, 1), got {self.negatives:g}")
        if self.freeze and self.init is None:
            raise UsageError("--freeze trains only the head, which needs --init BUNDLE for the rest")
        self._check_output()

    def _check_output(self) -> None:
        read = [*self.poses, *map(labels_beside, self.poses), *self.labels, self.init, self.calibrate_like]
        sources = [path for path in read if path]
        check_output(self.output, sources)
        beside = (self.log_file, self.card, self.picture)
        if self.output in beside:
            raise UsageError(f"-o {self.output} is what its log, card or picture is called; let it end with .pt")
        for path in beside:
            check_output(path, sources)

    @property
    def splits(self) -> list[str]:
        """The training split of each pose file."""
        return list(self.train_splits) * (len(self.poses) if len(self.train_splits) == 1 else 1)

    @property
    def checkpoint(self) -> Path:
        return self.output.with_name(self.output.name + ".checkpoint")

    @property
    def log_file(self) -> Path:
        return self.output.with_suffix(".csv")

    @property
    def card(self) -> Path:
        return self.output.with_suffix(".md")

    @property
    def picture(self) -> Path:
        """Of the confusion matrix, for the card."""
        return self.output.with_name(self.output.stem + "-confusion.png")

    def options(self, n_sequences: int) -> TrainOptions:
        """How to train on that many sequences."""
        net, layout = find_net(self.net), LAYOUTS[self.layout]
        augmentation = replace(
            Augmentation().scaled(self.augment), still=self.negatives / 2, spliced=self.negatives / 2
        )
        return TrainOptions(
            epochs=self.epochs,
            batch_size=min(self.batch_size, max(2, n_sequences)),
            learning_rate=self.learning_rate,
            balance=self.balance,
            seed=self.seed,
            clip_len=net.clip_len,
            rule=VolumeRule(size=net.size),
            limbs=layout.limbs if self.modality == "limb" else (),
            freeze=self.freeze,
            amp=self.amp,
            compile=self.compile,
            augmentation=augmentation,
        )


def train_bundle(
    job: TrainingJob, log: Log | None = None, on_extraction: Progress | None = None
) -> Iterator[EpochReport]:
    """Train, telling of each epoch, and write the bundle, its card and its log at the end.

    on_extraction: told of each video of a folder or a table whose poses are extracted. Raises InputError, UsageError,
    OutputError, ModelError.
    """
    log = log or (lambda text: None)
    device = choose_device(job.device)
    alike = load_bundle(job.calibrate_like, torch.device("cpu"))[1] if job.calibrate_like else None
    if job.init is not None:
        _read_init(job, job.init)  # hours of extraction may come before it is needed
    sources = [_source(job, index, on_extraction) for index in range(len(job.poses))]
    data = read_training_data(sources, job.validation, job.aliases, job.unknown, job.planes)
    layout = LAYOUTS[job.layout]
    train_set = build_dataset(*_columns(data.train, job.subjects), layout)
    validation_set = build_dataset(*_columns(data.validation, job.subjects), layout) if data.validation else None
    log(
        f"{count_sequences(data.train)} sequences to train on, {count_sequences(data.validation)} to validate on, "
        f"{len(data.labels)} labels, {job.net} on {job.modality}s, {device}"
    )
    if data.left_out:
        log(f"{data.left_out} sequences without a single keypoint are left out")
    options = job.options(len(data.train))
    info = _describe(job, data, options)
    if job.restart:
        job.checkpoint.unlink(missing_ok=True)
    torch.manual_seed(job.seed)
    net = make_net(job, data.labels, log)
    trainer = Trainer(net, train_set, validation_set, options, job.checkpoint, device)
    if trainer.epoch:
        log(f"going on after epoch {trainer.epoch} of {job.epochs}, from {job.checkpoint}")
    history = TrainingLog(job.log_file, trainer.epoch)
    for report in trainer.epochs():
        history.add(report)
        yield report
    info, evaluation = _judge(trainer, data, info, alike)
    save_bundle(trainer.result, info, job.output)
    write_card(info, job, count_sequences(data.train), evaluation)
    job.checkpoint.unlink(missing_ok=True)
    log(f"wrote {job.output}" + (f"; validation top-1 {evaluation.top1:.1%}" if evaluation else ""))


def _source(job: TrainingJob, index: int, on_extraction: Progress | None) -> LabelledPoses:
    """The pose file at that place, extracted first if a folder of videos or a table of clips stands there."""
    path, split = job.poses[index], job.splits[index]
    labels = job.labels[index] if job.labels else None
    is_table = path.suffix.lower() in TABLE_ENDINGS
    if not (path.is_dir() or is_table):
        return LabelledPoses(path, find_names(path, labels), split)
    # Only these need the parts that read videos.
    from ..extract import PoseStages
    from .folder import SPLIT, poses_of_folder
    from .labelled_clips import clips_of_table

    if labels or split != SPLIT:
        what = "table of clips: its classes are in it" if is_table else "folder of videos: its classes are its folders"
        raise UsageError(f"{path} is a {what}, and all of it is trained on; leave out --labels and --train-split")
    stages, subjects = PoseStages(device=job.device), job.subjects or 1
    if is_table:
        clips = clips_of_table(path, stages, subjects=subjects, on_progress=on_extraction)
        return LabelledPoses(path, clips.names, SPLIT, clips.file)
    cache = job.output.with_name(f"{path.resolve().name}-poses.pkl")
    poses_of_folder(path, cache, stages, subjects=subjects, on_progress=on_extraction)
    return LabelledPoses(cache, find_names(cache, None), SPLIT)


def make_net(job: TrainingJob, labels: Sequence[str], log: Log) -> Recogniser:
    """A new network, or one with the weights of `job.init`; its head too if that knows the same labels.

    Raises ModelError if init is no bundle or holds NaN, UsageError if it holds another network.
    """
    layout = LAYOUTS[job.layout]
    net = find_net(job.net).build(len(layout.limbs) if job.modality == "limb" else len(layout), len(labels))
    if job.init is None:
        return net
    weights, info = _read_init(job, job.init)
    if list(info.labels) != list(labels):
        weights = {name: value for name, value in weights.items() if not name.startswith("cls_head.")}
        log(f"the head of {job.init} knows other labels, so it is trained anew")
    own = net.state_dict()
    differing = [name for name in own if name in weights and weights[name].shape != own[name].shape]
    differing += [name for name in own if name not in weights and not name.startswith("cls_head.")]
    if differing:
        raise UsageError(f"--init {job.init} is another network: {', '.join(differing[:3])} differ; check --layout")
    net.load_state_dict(weights, strict=False)
    return net


def _read_init(job: TrainingJob, init: Path) -> tuple[dict[str, torch.Tensor], BundleInfo]:
    weights, info = load_weights(init)
    for what, theirs, ours in (("net", info.net, job.net), ("modality", info.modality, job.modality)):
        if theirs and theirs != ours:
            raise UsageError(f"--init {init} is a {theirs}, but the training's {what} is {ours}; add --{what} {theirs}")
    if not all(value.isfinite().all() for value in weights.values()):
        raise ModelError(f"--init {init} holds NaN or infinite weights; begin from another bundle")
    return weights, info


def _columns(items: Sequence[Item], subjects: int | Literal["all"] | None) -> tuple[list[Annotation], list[int]]:
    """Sequences and labels apart; of more people than `subjects` the first ones, who are the most prominent."""
    annotations = [annotation for annotation, _ in items]
    if isinstance(subjects, int):
        annotations = [
            replace(a, poses=a.poses.select(list(range(min(subjects, len(a.poses.scores)))))) for a in annotations
        ]
    return annotations, [label for _, label in items]


def _judge(
    trainer: Trainer, data: TrainingData, info: BundleInfo, alike: BundleInfo | None
) -> tuple[BundleInfo, Evaluation | None]:
    """Calibrate and evaluate on the validation sequences, if there are any; `alike` gives what they do not."""
    if alike:
        info = replace(info, temperature=alike.temperature, rejection_threshold=alike.rejection_threshold)
    if not trainer.validation_set:
        return info, None
    # The planes of a 3D sequence are averaged, as `evaluate` does.
    found = _probabilities(trainer, trainer.validation_set, [annotation for annotation, _ in data.validation])
    labels = {annotation.sequence: label for annotation, label in data.validation}
    probabilities, truth = np.stack(list(found.values())), np.array([labels[name] for name in found])
    unknown = None
    if data.unknown:
        strangers = build_dataset(data.unknown, [0] * len(data.unknown), trainer.train_set.layout)
        unknown = np.stack(list(_probabilities(trainer, strangers.to(trainer.device), data.unknown).values()))
    temperature, threshold = calibrate(probabilities, truth, unknown)
    info = replace(info, temperature=round(temperature, 4))
    if not alike:
        threshold = math.floor(threshold * 1e4) / 1e4  # rounded up it would refuse what it was to keep
        info = replace(info, rejection_threshold=threshold)
    evaluation = Evaluation(
        labels=info.labels,
        names=tuple(found),
        probabilities=calibrated(probabilities, info.temperature),
        truth=truth,
    )
    return replace(info, accuracy={"validation top-1": round(evaluation.top1, 4)}), evaluation


def _probabilities(trainer: Trainer, dataset: PoseDataset, annotations: Sequence[Annotation]) -> dict[str, np.ndarray]:
    """The probabilities (n_labels,) of each sequence by its name."""
    options = trainer.options
    found = predict_probabilities(trainer.result, dataset, options.rule, options.clip_len, limbs=options.limbs or None)
    return mean_by_name([annotation.sequence for annotation in annotations], found.cpu().numpy())


def _describe(job: TrainingJob, data: TrainingData, options: TrainOptions) -> BundleInfo:
    trained_on = ", ".join(f"{path.stem}:{split}" for path, split in zip(job.poses, job.splits, strict=True))
    window = job.window or _median_seconds(data.train)
    most_people = max(1, *(annotation.poses.scores.shape[0] for annotation, _ in data.train))
    return BundleInfo(
        name=job.name,
        version=__version__,
        labels=tuple(data.labels),
        layout=job.layout,
        window=window,
        stride=window / 2,
        clip_len=options.clip_len,
        net=job.net,
        modality=job.modality,
        limbs=options.limbs,
        volume=options.rule,
        subjects=job.subjects or most_people,
        aliases={name: label for name, label in job.aliases.items() if label in data.labels},
        training_data=trained_on,
        licence=job.licence,
    )


def _median_seconds(items: list[Item]) -> float:
    spans = [
        len(a.poses.times) * (a.poses.times[-1] - a.poses.times[0]) / max(1, len(a.poses.times) - 1) for a, _ in items
    ]
    median = float(np.median(spans))
    if median <= 0:
        raise InputError("the training sequences have one frame each; give --window SECONDS")
    return round(median, 2) or median
