"""The training loop: a tiny network on two classes, its loss and average, and what it resumes from."""

import math
from dataclasses import replace

import pytest
import torch
from small import dataset_of, example, one_thread  # noqa: F401  (the fixture is used by being here)
from torch import nn

from poseact.errors import ModelError, OutputError, UsageError
from poseact.heatmaps import VolumeRule
from poseact.nets.conv import suit_gpu
from poseact.nets.slowonly import slowonly
from poseact.nets.x3d import x3d
from poseact.sampling import uniform_indices
from poseact.skeleton import BODY13
from poseact.training import loop
from poseact.training.augment import Augmentation
from poseact.training.averaging import WeightAverage
from poseact.training.evaluation import accuracy, predict_probabilities, uniform_frames
from poseact.training.loop import Trainer, TrainOptions, out_of_memory, soft_cross_entropy, training_dtype

OPTIONS = TrainOptions(
    epochs=24,
    batch_size=8,
    learning_rate=0.05,
    warmup_steps=4,
    clip_len=8,
    rule=VolumeRule(size=(16, 16)),
    augmentation=replace(Augmentation().scaled(0.2), crop=1.0),
)


def trainer(options=OPTIONS, checkpoint=None, n_sequences=24, validation=None):
    torch.manual_seed(0)
    net = slowonly(13, 2, width=8, blocks=(1, 1, 1))
    return Trainer(net, dataset_of(*(example(i) for i in range(n_sequences))), validation, options, checkpoint)


def weights(trained):
    return {name: value.clone() for name, value in trained.result.state_dict().items()}


def test_a_tiny_network_learns_who_waves():
    trained = trainer(validation=dataset_of(example(30), example(31)))
    before = predict_probabilities(trained.result, trained.train_set, OPTIONS.rule, OPTIONS.clip_len)
    assert accuracy(before, trained.train_set.labels).top1 < 0.9
    reports = list(trained.epochs())
    after = predict_probabilities(trained.result, trained.train_set, OPTIONS.rule, OPTIONS.clip_len)
    assert accuracy(after, trained.train_set.labels).top1 > 0.9
    assert [report.epoch for report in reports] == list(range(1, 25))
    assert reports[-1].loss < reports[0].loss
    assert reports[-1].top1 == 1


@pytest.mark.parametrize(
    ("device", "bfloat16", "net", "expected"),
    [
        ("cpu", True, slowonly, torch.bfloat16),
        ("cpu", False, slowonly, torch.float32),
        ("cpu", True, x3d, torch.float32),
        ("cuda", False, x3d, torch.bfloat16),
        ("mps", True, slowonly, torch.float32),
    ],
)
def test_a_step_multiplies_in_what_is_quicker(monkeypatch, device, bfloat16, net, expected):
    monkeypatch.setattr(loop, "has_bfloat16", lambda: bfloat16)
    assert training_dtype(net(13, 2, width=8, blocks=(1, 1, 1)), torch.device(device)) == expected


def test_bfloat16_on_a_cpu_trains_as_float32_does_but_for_rounding(monkeypatch):
    monkeypatch.setattr(loop, "has_bfloat16", lambda: True)
    rounded, exact = trainer(), trainer(replace(OPTIONS, amp=False))
    assert (rounded.dtype, exact.dtype) == (torch.bfloat16, torch.float32)
    gradients = []
    for each in (rounded, exact):
        torch.manual_seed(0)  # of dropout
        each._step(each.train_set.batch(torch.arange(8), torch.arange(8).expand(8, 8)))
        gradients.append(torch.cat([weight.grad.flatten() for weight in each.net.parameters()]))
    assert gradients[0].dtype == torch.float32
    assert not torch.equal(*gradients)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95


def test_a_processor_that_would_compute_otherwise_does_not_go_on(monkeypatch, tmp_path):
    checkpoint = tmp_path / "a.checkpoint"
    monkeypatch.setattr(loop, "has_bfloat16", lambda: True)
    next(trainer(checkpoint=checkpoint).epochs())
    monkeypatch.setattr(loop, "has_bfloat16", lambda: False)
    with pytest.raises(UsageError, match="other data or settings"):
        trainer(checkpoint=checkpoint)


def test_without_validation_data_there_is_no_accuracy():
    assert next(trainer().epochs()).top1 is None


NEGATIVES = replace(OPTIONS.augmentation, still=0.2, spliced=0.3)


@pytest.mark.parametrize(
    "changed",
    [{}, {"augmentation": NEGATIVES}, {"limbs": BODY13.limbs, "balance": 0.0}, {"freeze": True}],
    ids=["", "negatives", "limbs", "freeze"],
)
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path, changed):
    options = replace(OPTIONS, epochs=3, **changed)
    straight = trainer(options)
    list(straight.epochs())
    checkpoint = tmp_path / "training.checkpoint"
    next(trainer(options, checkpoint).epochs())
    torch.manual_seed(99)  # whatever else happens in between
    resumed = trainer(options, checkpoint)
    assert resumed.epoch == 1
    assert [report.epoch for report in resumed.epochs()] == [2, 3]
    expected, found = weights(straight), weights(resumed)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_same_seed_trains_the_same_weights_and_another_seed_others():
    options = replace(OPTIONS, epochs=1)

    def trained(seed):
        each = trainer(replace(options, seed=seed))
        list(each.epochs())
        return weights(each)["cls_head.fc_cls.weight"]

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


def test_a_finished_training_has_nothing_left_to_do(tmp_path):
    options = replace(OPTIONS, epochs=1)
    list(trainer(options, tmp_path / "c").epochs())
    assert list(trainer(options, tmp_path / "c").epochs()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_checkpoint_of_other_settings_or_data_is_a_usage_error(tmp_path):
    checkpoint = tmp_path / "c"
    next(trainer(checkpoint=checkpoint).epochs())
    for other in ({"options": replace(OPTIONS, learning_rate=0.01)}, {"n_sequences": 22}):
        with pytest.raises(UsageError, match="other data or settings; use --restart"):
            trainer(checkpoint=checkpoint, **other)


def save_text(path):
    path.write_text("no checkpoint")


def save_tensor(path):
    torch.save(torch.zeros(3), path)


def save_half(path):
    next(trainer(replace(OPTIONS, epochs=1), path).epochs())
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("save", [save_text, save_tensor, save_half])
def test_a_broken_checkpoint_is_a_model_error(tmp_path, save):
    checkpoint = tmp_path / "c"
    save(checkpoint)
    with pytest.raises(ModelError, match="is not a training checkpoint; delete it or use --restart"):
        trainer(replace(OPTIONS, epochs=1), checkpoint)


def test_a_checkpoint_that_cannot_be_written_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"the checkpoint .* cannot be written"):
        next(trainer(checkpoint=tmp_path / "absent" / "c").epochs())


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 1}])
def test_options_that_cannot_train_are_usage_errors(wrong):
    with pytest.raises(UsageError, match="at least 1 epoch and a batch of at least 2"):
        TrainOptions(**wrong)


def test_frozen_only_the_head_learns():
    trained = trainer(replace(OPTIONS, epochs=1, freeze=True))
    before = {name: value.clone() for name, value in trained.net.state_dict().items()}
    list(trained.epochs())
    for found in (trained.net.state_dict(), weights(trained)):
        for name, value in found.items():
            assert torch.equal(value, before[name]) != name.startswith("cls_head."), name


def test_what_is_thawed_learns_all_over():
    trained = trainer(replace(OPTIONS, epochs=1))
    before = weights(trained)
    list(trained.epochs())
    same = [name for name, value in weights(trained).items() if torch.equal(value, before[name])]
    assert all(name.endswith("num_batches_tracked") for name in same)  # a count is not averaged


def test_limbs_are_what_is_drawn():
    joints, limbs = trainer(), trainer(replace(OPTIONS, limbs=BODY13.limbs))
    batch = limbs.train_set.batch(torch.tensor([0, 1]), torch.arange(8).expand(2, 8))
    one, two = joints._volume(batch), limbs._volume(batch)
    assert one.shape == two.shape == (2, 13, 8, 16, 16)
    assert two.sum() > 1.5 * one.sum()


def test_what_a_gpu_trains_on_is_drawn_with_the_zeros_that_its_network_is_shown():
    """Which a CPU computes too, if slower."""
    plain, suited = (trainer(replace(OPTIONS, amp=False)) for _ in range(2))
    suit_gpu(suited.net)
    batch = plain.train_set.batch(torch.arange(8), torch.arange(8).expand(8, 8))
    one, two = plain._volume(batch), suited._volume(batch)
    assert two.shape == (8, 16, 8, 16, 16)
    assert torch.equal(two[:, :13], one)
    assert not two[:, 13:].any()
    losses = []
    for each in (plain, suited):
        each.net.cls_head.dropout.p = 0.0
        losses.append(each._step(batch))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(suited.net.state_dict(), plain.net.state_dict(), rtol=1e-3, atol=1e-5)


def test_a_report_tells_the_rate_and_the_time():
    reports = list(trainer(replace(OPTIONS, epochs=4, warmup_steps=1)).epochs())
    rates = [report.learning_rate for report in reports]
    # Three steps an epoch; the last step of each of the four.
    assert rates == pytest.approx([0.025 * (1 + math.cos(math.pi * step / 12)) for step in (2, 5, 8, 11)])
    assert all(report.seconds > 0 for report in reports)


def test_a_batch_that_does_not_fit_into_the_gpu_is_told(monkeypatch):
    trained = trainer()

    def too_much(batch):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(trained, "_step", too_much)
    with pytest.raises(UsageError, match="does not hold a batch of 8; try --batch-size 4"):
        next(trained.epochs())


@pytest.mark.parametrize(
    ("batch_size", "smaller"), [(4, 2), (5, 2), (32, 16), (33, 16), (100, 32), (127, 32), (128, 64)]
)
def test_the_batch_that_is_advised_is_at_most_half(batch_size, smaller):
    assert out_of_memory(batch_size).endswith(f"a batch of {batch_size}; try --batch-size {smaller}")


@pytest.mark.parametrize("batch_size", [2, 3])
def test_no_batch_of_one_is_advised(batch_size):
    assert out_of_memory(batch_size).endswith("free it, or use --device cpu")


# Loss and average


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.3])
def test_the_loss_of_ordinary_labels_is_torch_s(smoothing):
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    found = soft_cross_entropy(logits, labels, smoothing)
    torch.testing.assert_close(found, nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing))


def test_no_action_should_be_every_label_alike():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4), torch.tensor([-1, 2, -1])
    wanted = torch.stack([torch.full((4,), 0.25), torch.tensor([0, 0, 1.0, 0]), torch.full((4,), 0.25)])
    found = soft_cross_entropy(logits, labels, 0.0)
    torch.testing.assert_close(found, nn.functional.cross_entropy(logits, wanted))
    even = soft_cross_entropy(torch.zeros(3, 4), torch.full((3,), -1), 0.05)
    assert even.item() == pytest.approx(math.log(4))
    assert soft_cross_entropy(torch.tensor([[9.0, 0, 0, 0]]), torch.tensor([-1]), 0.05) > even


def test_the_average_by_hand():
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    weight, norm = net[0].weight.data, net[1]
    weight.fill_(0.0)
    average = WeightAverage(net, decay=0.15)
    seen = []
    for value in (1.0, 2.0, 3.0):
        weight.fill_(value)
        norm.running_mean.fill_(10 * value)
        norm.num_batches_tracked += 1
        average.update()
        seen.append(average.module[0].weight.item())
        assert average.module[1].running_mean.item() == pytest.approx(10 * seen[-1])
    # Decay 1/10, then 2/11 and 3/12, of which no more than 0.15.
    assert seen == pytest.approx([0.9, 0.15 * 0.9 + 0.85 * 2, 0.15 * (0.15 * 0.9 + 0.85 * 2) + 0.85 * 3])
    assert average.steps == 3
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
    assert net[0].weight.item() == 3


def test_balance_draws_rare_classes_more_often():
    dataset = dataset_of(*(example(0) for _ in range(38)), example(1), example(1))
    torch.manual_seed(0)
    net = slowonly(13, 2, width=8, blocks=(1, 1, 1))

    def drawn(balance):
        each = Trainer(net, dataset, None, replace(OPTIONS, balance=balance))
        return torch.cat([dataset.labels[each._draw_order()] for _ in range(50)])

    assert drawn(0.0).float().mean() == pytest.approx(0.05)  # each sequence once
    assert drawn(1.0).float().mean() == pytest.approx(0.5, abs=0.05)
    assert 0.1 < drawn(0.5).float().mean() < 0.3  # weights √38 to √2: 0.19


# Evaluation


def test_uniform_frames_are_those_of_sampling():
    lengths = [1, 7, 48, 130]
    frames = uniform_frames(torch.tensor(lengths), 48)
    assert frames.tolist() == [uniform_indices(n, 48).tolist() for n in lengths]


def test_accuracy_by_hand():
    probabilities = torch.tensor([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0.1, 0.9, 0]])
    found = accuracy(probabilities, torch.tensor([0, 1, 1, 1]))
    assert found.top1 == 0.75
    assert found.per_class == {0: 1.0, 1: pytest.approx(2 / 3)}
    assert found.sequences == 4
