"""The training loop: the paper's recipe (SGD with momentum, cosine schedule), resumable after a kill."""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import ModelError, OutputError, UsageError
from ..files import written_aside
from ..heatmaps import VolumeRule, crop_boxes, draw_volume, to_volume_pixels
from ..memory import keep_all_freed_memory
from ..nets.conv import Conv, Recogniser, suit_gpu
from ..nets.freeze import has_bfloat16
from .augment import Augmentation, Augmenter
from .averaging import WeightAverage
from .dataset import PoseBatch, PoseDataset
from .evaluation import accuracy, predict_probabilities


@dataclass(frozen=True)
class TrainOptions:
    """epochs: passes over the data. learning_rate: at the start, for this batch size; it falls as a cosine.
    balance: 0 draws each sequence once an epoch, 1 each class as often as any other. averaging: decay of the
    moving average of the weights, which is what is kept. seed: of everything random. limbs: draw these pairs of
    keypoints instead of the keypoints. freeze: train only the head. amp: bfloat16 where it is exact
    enough and the device is quicker at it. compile: by torch.compile, which takes a minute and then is 1.6 times as
    fast on a GPU."""

    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip_gradient: float = 40.0
    warmup_steps: int = 100
    label_smoothing: float = 0.05
    balance: float = 0.5
    averaging: float = 0.998
    seed: int = 0
    clip_len: int = 48
    rule: VolumeRule = field(default_factory=VolumeRule)
    limbs: tuple[tuple[int, int], ...] = ()
    freeze: bool = False
    amp: bool = True
    compile: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise UsageError("training needs at least 1 epoch and a batch of at least 2")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"the learning rate must be above 0, got {self.learning_rate:g}")


@dataclass(frozen=True)
class EpochReport:
    """epoch: from 1. loss: mean over the epoch. learning_rate: at its end. top1: on the validation data, each plane
    of a 3D sequence by itself, None without any. seconds: that it took."""

    epoch: int
    loss: float
    learning_rate: float
    top1: float | None
    seconds: float


class Trainer:
    """Trains a network on a data set, an epoch at a time.

    After each epoch the whole state is in `checkpoint` (written aside, then renamed); a trainer made with the
    same data and options goes on from there and ends with the same weights as one that was never interrupted.
    """

    def __init__(
        self,
        net: Recogniser,
        train: PoseDataset,
        validation: PoseDataset | None,
        options: TrainOptions,
        checkpoint: Path | None = None,
        device: str = "cpu",
    ):
        self.options = options
        self.device = torch.device(device)
        if self.device.type == "cuda":
            # All batches have one shape, so the fastest kernels are worth finding.
            torch.backends.cudnn.benchmark = True
            suit_gpu(net)
        self.net = net.to(self.device)
        self.dtype = training_dtype(net, self.device) if options.amp else torch.float32
        self.train_set = train.to(self.device)
        self.validation_set = validation.to(self.device) if validation else None
        self.averaged = WeightAverage(self.net, options.averaging)
        if options.freeze:
            self.net.backbone.requires_grad_(False)
        self.optimizer = torch.optim.SGD(
            [weight for weight in self.net.parameters() if weight.requires_grad],
            lr=options.learning_rate,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
            nesterov=True,
            fused=self.device.type == "cuda",
        )
        self._forward = compiled_for_training(self.net, self.device.type) if options.compile else self.net
        self.generator = torch.Generator(self.device).manual_seed(options.seed)
        self.augmenter = Augmenter(options.augmentation, train.layout, self.generator, options.rule.least_score)
        self.epoch = 0
        self.checkpoint = checkpoint
        self.fingerprint = self._fingerprint()
        if checkpoint and checkpoint.exists():
            self._resume(checkpoint)

    @property
    def result(self) -> nn.Module:
        """The network to keep: the moving average of the weights."""
        return self.averaged.module

    def epochs(self) -> Iterator[EpochReport]:
        """Train the epochs that are left, one for each step of the iterator."""
        while self.epoch < self.options.epochs:
            started = time.perf_counter()
            try:
                loss = self._train_epoch()
            except torch.cuda.OutOfMemoryError as error:
                raise UsageError(out_of_memory(self.options.batch_size)) from error
            if self.device.type == "cpu":
                keep_all_freed_memory()  # for the epochs to come, now that it is known how much one takes
            if not math.isfinite(loss):
                raise UsageError(
                    f"in epoch {self.epoch + 1} the loss is no number any more; lower --learning-rate "
                    f"({self.options.learning_rate:g}), with --restart"
                )
            self.epoch += 1
            top1 = None
            if self.validation_set:
                found = predict_probabilities(
                    self.result,
                    self.validation_set,
                    self.options.rule,
                    self.options.clip_len,
                    limbs=self.options.limbs or None,
                )
                top1 = accuracy(found, self.validation_set.labels).top1
            if self.checkpoint:
                self._save(self.checkpoint)
            learning_rate = self.optimizer.param_groups[0]["lr"]
            yield EpochReport(self.epoch, loss, learning_rate, top1, time.perf_counter() - started)

    @property
    def steps_per_epoch(self) -> int:
        return max(1, len(self.train_set) // self.options.batch_size)

    def _train_epoch(self) -> float:
        self.net.train()
        if self.options.freeze:
            self.net.backbone.eval()
        order = self._draw_order()
        total = torch.zeros((), device=self.device)
        for step in range(self.steps_per_epoch):
            sequences = order[step * self.options.batch_size :][: self.options.batch_size]
            batch = self.augmenter.batch(self.train_set, sequences, self.options.clip_len)
            self._set_learning_rate(self.epoch * self.steps_per_epoch + step)
            total += self._step(batch)
        return (total / self.steps_per_epoch).item()

    def _step(self, batch: PoseBatch) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            logits = self._forward(self._volume(batch))
        loss = soft_cross_entropy(logits.float(), batch.labels, self.options.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.options.clip_gradient)
        self.optimizer.step()
        self.averaged.update()
        return loss.detach()

    def _volume(self, batch: PoseBatch) -> Tensor:
        rule = self.options.rule
        boxes = crop_boxes(batch.keypoints, batch.scores, batch.image_size, rule)
        boxes = self.augmenter.crop(boxes)
        points = to_volume_pixels(batch.keypoints, boxes, rule.size)
        channels = self.net.inputs + self.net.extra_inputs
        return draw_volume(points, batch.scores, rule, self.options.limbs or None, self.dtype, channels)

    def _draw_order(self) -> Tensor:
        labels = self.train_set.labels
        if self.options.balance == 0:
            return torch.randperm(len(labels), generator=self.generator, device=self.device)
        weights = torch.bincount(labels)[labels].float() ** -self.options.balance
        count = max(len(labels), self.options.batch_size)
        return torch.multinomial(weights, count, replacement=True, generator=self.generator)

    def _set_learning_rate(self, step: int) -> None:
        steps = self.options.epochs * self.steps_per_epoch
        share = 0.5 * (1 + math.cos(math.pi * step / steps))
        warmup = min(1.0, (step + 1) / self.options.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * share * warmup

    def _fingerprint(self) -> str:
        """What a checkpoint must have been made with to be resumed."""
        digest = hashlib.sha256(repr(sorted(asdict(self.options).items())).encode())
        digest.update(self.device.type.encode())  # the states of their random generators do not fit each other
        digest.update(str(self.dtype).encode())  # of which a CPU may have less than another
        for tensor in (self.train_set.keypoints, self.train_set.scores, self.train_set.labels, self.train_set.first):
            digest.update(tensor.cpu().numpy().tobytes())
        for name, weight in self.net.named_parameters():  # as they are at first: of the seed, or of a bundle
            digest.update(name.encode() + weight.detach().cpu().numpy().tobytes())
        return digest.hexdigest()

    def _save(self, path: Path) -> None:
        state = {
            "fingerprint": self.fingerprint,
            "epoch": self.epoch,
            "net": self.net.state_dict(),
            "averaged": self.averaged.module.state_dict(),
            "steps": self.averaged.steps,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_generator"] = torch.cuda.get_rng_state(self.device)
        try:
            # By way of memory, as torch's own writer tells a full disk by its internals, if it does not abort.
            buffer = io.BytesIO()
            torch.save(state, buffer)
            with written_aside(path) as aside:
                aside.write_bytes(buffer.getbuffer())
        except OSError as error:
            raise OutputError(f"the checkpoint {path} cannot be written: {error.strerror or error}") from error

    def _resume(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a broken file
            raise ModelError(f"{path} is not a training checkpoint; delete it or use --restart") from error
        if not isinstance(state, dict):
            raise ModelError(f"{path} is not a training checkpoint; delete it or use --restart")
        if state.get("fingerprint") != self.fingerprint:
            raise UsageError(
                f"{path} is of a training with other data or settings; use --restart to begin anew, or another output"
            )
        self.net.load_state_dict(state["net"])
        self.averaged.module.load_state_dict(state["averaged"])
        self.averaged.steps = state["steps"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_generator"])
        if "cuda_generator" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_generator"], self.device)
        self.epoch = state["epoch"]


def training_dtype(net: nn.Module, device: torch.device) -> torch.dtype:
    """What a training step multiplies in: bfloat16 where that is quicker, which it is on a CPU that has instructions
    for it, but for the gradients of depthwise convolutions, which take oneDNN twice as long as in float32."""
    if device.type == "cpu":
        depthwise = any(isinstance(module, Conv) and module.groups > 1 for module in net.modules())
        return torch.bfloat16 if has_bfloat16() and not depthwise else torch.float32
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def compiled_for_training(net: nn.Module, device: str) -> Callable[[Tensor], Tensor]:
    """The same network by torch.compile; on CUDA its kernels, forwards and backwards, are launched as graphs."""
    return torch.compile(net, mode="reduce-overhead" if device == "cuda" else None)


def soft_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross entropy with label smoothing; a label of -1 is no action, for which all labels should be as likely.

    logits: (N, n_labels), labels: (N,) int64. Returns the mean, a scalar.
    """
    share = torch.where(labels < 0, 1.0, smoothing)
    log_probabilities = logits.log_softmax(dim=1)
    likelihood = log_probabilities.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    return -((1 - share) * likelihood + share * log_probabilities.mean(dim=1)).mean()


def out_of_memory(batch_size: int) -> str:
    """What to tell when a batch did not fit into a GPU's memory."""
    smaller = 1 << max(0, (batch_size // 2).bit_length() - 1)
    if smaller < 2:  # batch norm needs two clips
        return f"the GPU's memory does not hold a batch of {batch_size}; free it, or use --device cpu"
    return f"the GPU's memory does not hold a batch of {batch_size}; try --batch-size {smaller}"
