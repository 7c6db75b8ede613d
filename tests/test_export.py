"""`poseact export` and `poseact models --nets` as a user meets them; ONNX against the bundle it was made of."""

import sys

import numpy as np
import pytest
import torch
from test_checkpoints import LABELS, trained
from typer.testing import CliRunner

import poseact.onnx
from poseact.bundle import BundleInfo, load_bundle, save_bundle
from poseact.cli import app
from poseact.errors import ModelError, UsageError
from poseact.heatmaps import VolumeRule
from poseact.nets import NETS
from poseact.nets.c3d import c3d
from poseact.nets.slowonly import slowonly
from poseact.nets.x3d import x3d
from poseact.onnx import export_onnx
from poseact.skeleton import BODY13

TINY = {
    "slowonly": lambda: slowonly(13, 3, width=8, blocks=(1, 1, 1)),
    "c3d": lambda: c3d(13, 3, width=8),
    "x3d": lambda: x3d(13, 3, width=8, blocks=(1, 1, 1)),
}


@pytest.fixture
def with_onnx():
    pytest.importorskip("onnx", reason="needs the packages of poseact[onnx]")
    pytest.importorskip("onnxruntime", reason="needs the packages of poseact[onnx]")


def run(*arguments):
    """(exit code, stdout, stderr)"""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path):
    """epoch_24.pth, a small SlowOnly of limbs, and labels.txt."""
    torch.save({"state_dict": trained(limbs=True).state_dict()}, tmp_path / "epoch_24.pth")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    return tmp_path


@pytest.fixture(params=TINY)
def bundle(tmp_path, request):
    """A tiny bundle of each kind of network, for volumes of 13 joints."""
    torch.manual_seed(0)
    net = TINY[request.param]()
    torch.nn.init.normal_(net.cls_head.fc_cls.weight)
    info = BundleInfo("tiny", "1", LABELS, "body13", 2.0, 1.0, clip_len=6, volume=VolumeRule(size=(20, 16)))
    save_bundle(net, info, tmp_path / "tiny.pt")
    return tmp_path / "tiny.pt"


# The command


def test_a_checkpoint_becomes_a_bundle(folder):
    code, out, err = run(
        *("export", folder / "epoch_24.pth", "--labels", folder / "labels.txt", "-o", folder / "mine.pt"),
        *("--subjects", "all", "--window", "2.5", "--licence", "CC0", "--name", "gym"),
    )
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        "slowonly (width 8, 1-1-1), limb, coco17, 3 classes (read off the weights)",
        f"wrote {folder / 'mine.pt'}",
    ]
    info = load_bundle(folder / "mine.pt", torch.device("cpu"))[1]
    assert (info.name, info.subjects, info.window, info.licence) == ("gym", "all", 2.5, "CC0")


def test_quiet_is_quiet(folder):
    options = ("--labels", folder / "labels.txt", "-o", folder / "mine.pt", "-q")
    assert run("export", folder / "epoch_24.pth", *options) == (0, "", "")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("-o", "mine.pt"), 2, "needs --labels FILE and -o OUT.pt"),
        (("--labels", "labels.txt"), 2, "needs --labels FILE and -o OUT.pt"),
        (("--labels", "labels.txt", "-o", "mine.pt", "--subjects", "both"), 2, "--subjects takes a count or 'all'"),
        (("--labels", "labels.txt", "-o", "mine.pt", "--net", "resnet"), 2, "no network 'resnet'"),
        (("--labels", "labels.txt", "-o", "mine.pt", "--net", "x3d"), 4, "is no x3d checkpoint"),
        (("--labels", "other.txt", "-o", "mine.pt"), 3, "other.txt cannot be read"),
        (("--labels", "labels.txt", "-o", "no/mine.pt"), 5, "the folder of no/mine.pt does not exist"),
        (("--labels", "labels.txt", "-o", "mine.pt", "--onnx", "no/mine.onnx"), 5, "the folder of no/mine.onnx"),
        (("--labels", "labels.txt", "-o", "mine.pt", "--onnx", "labels.txt"), 2, "labels.txt would overwrite"),
        (("--labels", "labels.txt", "-o", "mine.pt", "--onnx", "mine.pt"), 2, "mine.pt would overwrite"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(folder, monkeypatch, options, code, words):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    found, out, err = run("export", "epoch_24.pth", *options)
    assert (found, out) == (code, "")
    assert words in err
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("bundle", ["x3d"], indirect=True)
@pytest.mark.parametrize(
    ("options", "words"),
    [((), "give --onnx"), (("-o", "new.pt"), "--output is not for"), (("--window", "2"), "--window is not for")],
)
def test_a_bundle_is_a_bundle_already(bundle, options, words):
    code, _, err = run("export", bundle, *options)
    assert code == 2
    assert words in err


# ONNX


def test_onnx_computes_what_the_bundle_does(with_onnx, bundle):
    import onnx
    import onnxruntime

    path = bundle.with_suffix(".onnx")
    assert export_onnx(bundle, path) < 1e-4
    script, info = load_bundle(bundle, torch.device("cpu"))
    volume = torch.rand(5, len(BODY13), 6, 20, 16)  # not as many as the check takes
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"volume": volume.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(found, script.float()(volume).numpy(), rtol=1e-3, atol=1e-4)
    metadata = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    assert BundleInfo.from_json(metadata["poseact.json"]) == info


def test_onnx_of_a_checkpoint_and_its_limbs(with_onnx, folder):
    onnx, pt = folder / "mine.onnx", folder / "mine.pt"
    code, _, err = run("export", folder / "epoch_24.pth", "--labels", folder / "labels.txt", "-o", pt, "--onnx", onnx)
    assert code == 0
    assert f"wrote {onnx}; its logits differ from the bundle's by" in err
    assert onnx.is_file()


@pytest.mark.parametrize("bundle", ["x3d"], indirect=True)
def test_onnx_that_computes_something_else_is_not_kept(with_onnx, bundle, monkeypatch):
    path = bundle.with_suffix(".onnx")
    path.write_text("precious")
    monkeypatch.setattr(poseact.onnx, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(ModelError, match=r"tiny\.onnx is not written"):
        export_onnx(bundle, path)
    assert path.read_text() == "precious"
    assert not list(path.parent.glob("*.part"))


@pytest.mark.parametrize("bundle", ["x3d"], indirect=True)
@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(bundle, package, monkeypatch):
    for name in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None if name == package else sys)
    with pytest.raises(UsageError, match=rf"{package} is missing.*pip install 'poseact\[onnx\]'"):
        export_onnx(bundle, bundle.with_suffix(".onnx"))
    code, _, err = run("export", bundle, "--onnx", bundle.with_suffix(".onnx"))
    assert code == 2
    assert package in err
    assert not bundle.with_suffix(".onnx").exists()


def test_what_is_no_bundle_gives_no_onnx(with_onnx, folder):
    with pytest.raises(ModelError, match="not a classifier bundle"):
        export_onnx(folder / "epoch_24.pth", folder / "mine.onnx")
    assert not (folder / "mine.onnx").exists()


# The networks


def test_the_networks_are_listed_with_what_they_cost():
    code, out, _ = run("models", "--nets")
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert list(rows)[1:] == list(NETS)
    assert "2.0 M   2.0 M         15.8 G  15.9 G  stem pools" in rows["slowonly"]
    assert "17×48×112×112" in rows["slowonly-hr"]
    assert "counts 1.25 G, not the paper's 1.60 G" in rows["slowonly-group"]
    assert "counts" not in rows["x3d-s"]
