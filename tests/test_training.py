"""Training: data set, augmentation, labels and loop, each on poses of a few numbers."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from poseact.errors import InputError, ModelError, OutputError, UsageError
from poseact.heatmaps import VolumeRule
from poseact.nets.slowonly import SlowOnly
from poseact.poses import Annotation, PoseSequence
from poseact.sampling import uniform_indices
from poseact.skeleton import BODY13, COCO17
from poseact.training.augment import Augmentation, Augmenter, normalise
from poseact.training.dataset import build_dataset, training_poses
from poseact.training.evaluation import accuracy, predict_probabilities, uniform_frames
from poseact.training.labels import label_indices, labels_beside, read_labels, unite
from poseact.training.loop import Trainer, TrainOptions

# Somebody who stands: (x, y) of the 13 keypoints in pixels.
STANDING = np.array(
    [
        *((50, 10), (60, 25), (40, 25), (65, 45), (35, 45), (66, 62), (34, 62)),
        *((57, 65), (43, 65), (57, 90), (43, 90), (57, 115), (43, 115)),
    ],
    np.float32,
)
WRIST = BODY13.keypoints.index("right_wrist")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """So small a network gains nothing from threads, and beside other work they wait for each other: 1 s or 28."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def poses(keypoints, scores=None, layout=BODY13, fps=30):
    keypoints = np.asarray(keypoints, np.float32)
    m, t, k, _ = keypoints.shape
    return PoseSequence(
        keypoints=keypoints,
        scores=np.full((m, t, k), 0.9, np.float32) if scores is None else np.asarray(scores, np.float32),
        times=np.arange(t) / fps,
        image_size=(200, 300),
        layout=layout,
        track_ids=np.arange(m),
        boxes=np.zeros((m, t, 4), np.float32),
    )


def person(n_frames=10, waves=False, x=0.0):
    """One person (1, T, 13, 2) at x, who may wave the right wrist up and down."""
    keypoints = np.tile(STANDING + np.array([x, 0]), (1, n_frames, 1, 1)).astype(np.float32)
    if waves:
        keypoints[0, :, WRIST, 1] -= np.where(np.arange(n_frames) % 4 < 2, 0, 50)
    return keypoints


def example(index, n_frames=10):
    """The index-th sequence of two classes: even ones stand (0), odd ones wave (1)."""
    waves = bool(index % 2)
    return Annotation(f"seq{index}", int(waves), poses(person(n_frames, waves, x=3.0 * index)))


def dataset_of(*annotations):
    return build_dataset(annotations, [a.label for a in annotations], BODY13)


# Data set


def test_sequences_of_different_lengths_and_people_lie_one_after_another():
    alone = poses(person(3))
    pair = poses(np.concatenate([person(5), person(5, x=100)]))
    dataset = build_dataset([Annotation("a", 0, alone), Annotation("b", 1, pair)], [0, 1], BODY13)
    assert len(dataset) == 2
    assert dataset.keypoints.shape == (8, 2, 13, 2)
    assert dataset.first.tolist() == [0, 3]
    assert dataset.lengths.tolist() == [3, 5]
    assert dataset.image_size.tolist() == [[200, 300]] * 2
    # The second person of the first sequence is missing: score 0.
    assert dataset.scores[:3, 1].sum() == 0
    assert (dataset.scores[3:] == 0.9).all()


def test_a_batch_takes_frames_counted_from_the_start_of_each_sequence():
    dataset = dataset_of(example(0), example(1))
    batch = dataset.batch(torch.tensor([1, 0]), torch.tensor([[0, 2], [9, 9]]))
    assert batch.keypoints.shape == (2, 1, 2, 13, 2)
    assert batch.scores.shape == (2, 1, 2, 13)
    assert batch.labels.tolist() == [1, 0]
    # x is 34 + 3 for the second sequence; its wrist is lifted by 50 in frame 2.
    assert batch.keypoints[0, 0, :, WRIST].tolist() == [[37, 62], [37, 12]]
    assert batch.keypoints[1, 0, :, WRIST].tolist() == [[34, 62], [34, 62]]


def test_an_empty_split_is_an_input_error():
    with pytest.raises(InputError, match="nothing to train on"):
        build_dataset([], [], BODY13)


def test_visibility_flags_are_no_scores():
    keypoints = person(3)
    flags = np.ones((1, 3, 13))
    flags[0, 0, WRIST] = 0  # hidden but placed
    flags[0, 0, 3] = flags[0, 0, 4] = 0  # parked by the annotator
    keypoints[0, 0, 3] = 1, 1
    keypoints[0, 0, 4] = 0, 50
    flags[0, 2] = 0  # nobody there
    _, scores = training_poses(poses(keypoints, flags), BODY13)
    assert scores[0, 0, [WRIST, 3, 4]].tolist() == [1, 0, 0]
    assert scores[0, 1].tolist() == [1] * 13
    assert scores[0, 2].tolist() == [0] * 13


def test_scores_of_an_estimator_are_kept():
    scores = np.full((1, 2, 13), 0.7, np.float32)
    scores[0, 0, WRIST] = 0
    _, kept = training_poses(poses(person(2), scores), BODY13)
    assert (kept == scores).all()


def test_training_poses_are_converted():
    keypoints = np.zeros((1, 1, 17, 2), np.float32)
    keypoints[..., 0] = np.arange(17)
    points, scores = training_poses(poses(keypoints, layout=COCO17), BODY13)
    assert points[0, 0, :, 0].tolist() == [0, *range(5, 17)]
    assert scores.shape == (1, 1, 13)


# Augmentation


def augmenter(options=Augmentation(), seed=0):
    return Augmenter(options, BODY13, torch.Generator().manual_seed(seed))


def test_the_same_seed_draws_the_same_batch_and_another_seed_another():
    dataset, sequences = dataset_of(example(0), example(1)), torch.tensor([0, 1])
    first, again, other = (augmenter(seed=seed).batch(dataset, sequences, 8) for seed in (1, 1, 2))
    assert torch.equal(first.keypoints, again.keypoints)
    assert torch.equal(first.scores, again.scores)
    assert not torch.equal(first.keypoints, other.keypoints)
    assert not torch.equal(first.scores, other.scores)


def test_a_batch_has_the_shape_of_its_clips_and_their_labels():
    batch = augmenter().batch(dataset_of(example(0), example(1)), torch.tensor([1, 1, 0]), 8)
    assert batch.keypoints.shape == (3, 1, 8, 13, 2)
    assert batch.labels.tolist() == [1, 1, 0]
    assert torch.isfinite(batch.keypoints).all()
    assert 0 <= batch.scores.min() <= batch.scores.max() <= 0.9


def test_mirroring_exchanges_left_and_right():
    keypoints = torch.zeros(1, 1, 1, 13, 2)
    keypoints[..., 0] = torch.arange(13)
    keypoints[..., 1] = 7
    scores = torch.arange(13.0).view(1, 1, 1, 13) / 13
    order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11]
    flipped, flipped_scores = augmenter(Augmentation(flip=1)).mirror(keypoints, scores)
    assert flipped[0, 0, 0, :, 0].tolist() == [-k for k in order]
    assert (flipped[..., 1] == 7).all()
    assert torch.equal(flipped_scores, scores[..., order])
    same, same_scores = augmenter(Augmentation(flip=0)).mirror(keypoints, scores)
    assert torch.equal(same, keypoints)
    assert torch.equal(same_scores, scores)


@pytest.mark.parametrize("hold", [0.0, 1.0])
def test_sampled_frames_lie_in_their_sequence_and_in_order(hold):
    lengths = torch.tensor([1, 3, 50, 200]).repeat(25)
    frames = augmenter(Augmentation(hold=hold)).sample_frames(lengths, 48)
    assert frames.shape == (100, 48)
    assert (frames >= 0).all()
    assert (frames < lengths[:, None]).all()
    assert (frames.diff(dim=1) >= 0).all()


def test_held_frames_repeat():
    lengths = torch.full((100,), 48)
    options = Augmentation(whole=1.0)
    held = augmenter(replace(options, hold=1.0)).sample_frames(lengths, 48)
    free = augmenter(replace(options, hold=0.0)).sample_frames(lengths, 48)
    assert (free == torch.arange(48)).all()
    assert set(held.diff(dim=1).unique().tolist()) == {0, 2, 3}


def test_a_part_is_never_shorter_than_the_least_frames():
    options = Augmentation(whole=0.0, hold=0.0, least_frames=40, shortest_part=0.1)
    frames = augmenter(options).sample_frames(torch.full((200,), 100), 48)
    spans = frames[:, -1] - frames[:, 0]
    assert spans.min() >= 38  # of 40 frames, the first and last sampled ones lie inside
    assert spans.max() < 100
    assert spans.unique().numel() > 10


def test_strength_zero_only_flips():
    dataset = build_dataset([Annotation("a", 0, poses(person(8, waves=True), np.ones((1, 8, 13))))], [0], BODY13)
    clips = torch.zeros(32, dtype=torch.long)
    batch = augmenter(Augmentation().scaled(0)).batch(dataset, clips, 8)
    original = dataset.batch(torch.tensor([0]), torch.arange(8)[None]).keypoints[0]
    center = original[..., 0].mean()
    mirrored = original[:, :, list(BODY13.mirrored_order)].clone()
    mirrored[..., 0] = 2 * center - mirrored[..., 0]
    kept = [torch.allclose(clip, original, atol=1e-3) for clip in batch.keypoints]
    flipped = [torch.allclose(clip, mirrored, atol=1e-3) for clip in batch.keypoints]
    assert (batch.scores == 1).all()
    assert all(a != b for a, b in zip(kept, flipped, strict=True))
    assert any(kept)
    assert any(flipped)


def test_full_strength_is_what_is_shipped():
    assert asdict(Augmentation().scaled(1)) == pytest.approx(asdict(Augmentation()))


@pytest.mark.parametrize(
    "options",
    [
        {"drop_points": 1.0},
        {"drop_frames": 1.0},
        {"drop_limb": 1.0},
        {"drop_legs": 1.0},
    ],
)
def test_each_loss_loses_what_its_name_says(options):
    lost = augmenter(replace(Augmentation().scaled(0), **options)).lose_keypoints(torch.ones(20, 1, 12, 13)) == 0
    assert lost.any()
    assert not lost.all()
    legs = [i for i, name in enumerate(BODY13.keypoints) if name.endswith(("knee", "ankle"))]
    limbs = [i for i, name in enumerate(BODY13.keypoints) if name.endswith(("elbow", "wrist", "knee", "ankle"))]
    if "drop_frames" in options:
        assert torch.equal(lost.any(dim=3), lost.all(dim=3))
    if "drop_legs" in options:
        assert lost[..., legs].all()
        assert lost.sum() == lost[..., legs].sum()
    if "drop_limb" in options:
        assert lost.sum() == lost[..., limbs].sum()
        assert (lost.sum(dim=3) <= 2).all()


def test_a_lost_keypoint_stays_lost():
    scores = torch.ones(4, 1, 8, 13)
    scores[:, :, 3] = 0
    assert (augmenter().lose_keypoints(scores)[:, :, 3] == 0).all()


def test_a_crop_is_a_part_of_its_box():
    boxes = torch.tensor([[-10.0, 20, 90, 120]]).repeat(100, 1)
    crops = augmenter(Augmentation(crop=0.5)).crop(boxes)
    assert (crops[:, :2] >= boxes[:, :2] - 1e-3).all()
    assert (crops[:, 2:] <= boxes[:, 2:] + 1e-3).all()
    area = (crops[:, 2:] - crops[:, :2]).prod(dim=1) / 1e4
    assert 0.4 < area.min() < 0.6
    torch.testing.assert_close(augmenter(Augmentation(crop=1.0)).crop(boxes), boxes)


def test_body_units_by_hand():
    # Two keypoints 40 × 80 apart; the third is absent and does not count.
    keypoints = torch.tensor([[10.0, 20], [50, 100], [900, 900]])[None, None, None]
    normalised, center, size = normalise(keypoints, torch.tensor([1.0, 1, 0])[None, None, None])
    assert center.flatten().tolist() == [30, 60]
    assert size.item() == 80
    assert normalised[0, 0, 0, :2].tolist() == [[-0.25, -0.5], [0.25, 0.5]]
    torch.testing.assert_close(normalised * size + center, keypoints)


# Labels


def test_classes_of_several_files_are_united_in_order_of_appearance():
    names = [["wave", "squat"], ["jump", "squats", "wave"]]
    assert unite(names, {}) == ["wave", "squat", "jump", "squats"]
    assert unite(names, {"squats": "squat"}) == ["wave", "squat", "jump"]


def labelled(*labels):
    return [Annotation(f"seq{i}", label, poses(person(1))) for i, label in enumerate(labels)]


def test_labels_of_a_file_become_those_of_the_union():
    indices = label_indices(
        labelled(1, 0, 2), ["jump", "squats", "wave"], ["wave", "squat", "jump"], {"squats": "squat"}, Path("a.pkl")
    )
    assert indices == [1, 2, 0]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (-1, r"a\.pkl: annotation seq0 has label -1, but there are 3 class names \(0 to 2\)"),
        (3, r"a\.pkl: annotation seq0 has label 3, but there are 3 class names"),
        (2, r"a\.pkl: class 'swim' is none of the classifier's labels"),
    ],
)
def test_a_label_without_a_name_is_an_input_error(label, message):
    with pytest.raises(InputError, match=message):
        label_indices(labelled(label), ["wave", "jump", "swim"], ["wave", "jump"], {}, Path("a.pkl"))


def test_class_names_are_lines_of_a_file(tmp_path):
    path = labels_beside(tmp_path / "my.pkl")
    assert path == tmp_path / "my_labels.txt"
    path.write_text("wave\n\n  jump rope \n", encoding="utf-8")
    assert read_labels(path) == ["wave", "jump rope"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file"), (b"\xff\xfe\x00", "it is not text"), (b"\n \n", "holds no class names")],
)
def test_class_names_that_cannot_be_read_are_an_input_error(tmp_path, content, message):
    path = tmp_path / "my_labels.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_labels(path)


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


# Loop


OPTIONS = TrainOptions(
    epochs=24,
    batch_size=8,
    learning_rate=0.05,
    warmup_steps=4,
    clip_len=8,
    rule=VolumeRule(size=(16, 16)),
    augmentation=replace(Augmentation().scaled(0.2), crop=1.0),
)


def trainer(options=OPTIONS, checkpoint=None, n_sequences=24, net_seed=0, validation=None):
    torch.manual_seed(net_seed)
    net = SlowOnly(13, 2, width=8, blocks=(1, 1, 1))
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


def test_without_validation_data_there_is_no_accuracy():
    assert next(trainer().epochs()).top1 is None


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path):
    options = replace(OPTIONS, epochs=3)
    straight = trainer(options)
    list(straight.epochs())
    checkpoint = tmp_path / "training.checkpoint"
    next(trainer(options, checkpoint).epochs())
    torch.manual_seed(99)  # whatever else happens in between
    resumed = trainer(options, checkpoint, net_seed=5)
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


def test_balance_draws_rare_classes_more_often():
    dataset = dataset_of(*(example(0) for _ in range(38)), example(1), example(1))
    torch.manual_seed(0)
    net = SlowOnly(13, 2, width=8, blocks=(1, 1, 1))

    def drawn(balance):
        each = Trainer(net, dataset, None, replace(OPTIONS, balance=balance))
        return torch.cat([dataset.labels[each._draw_order()] for _ in range(50)])

    assert drawn(0.0).float().mean() == pytest.approx(0.05)  # each sequence once
    assert drawn(1.0).float().mean() == pytest.approx(0.5, abs=0.05)
    assert 0.1 < drawn(0.5).float().mean() < 0.3  # weights √38 to √2: 0.19
