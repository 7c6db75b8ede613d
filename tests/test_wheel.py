"""The wheel as a user gets it: built, installed into a fresh environment, used from another folder."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from draw_actions import Scene, act, render, write_video


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_carries_the_models_and_no_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    models = {f"poseact/models/{p.name}" for p in (ROOT / "models").iterdir()}
    assert models <= names
    others = {"poseact/zoo_rtmlib.json", "poseact/report/page.js", "poseact/report/template.html.j2"}
    assert {"poseact/models/actions27-slowonly-joint.pt", *others} <= names
    assert not [n for n in names if n.startswith(("tests", "examples"))]
    assert sum(info.file_size for info in zipfile.ZipFile(wheel).infolist()) < 30e6


def test_it_predicts_from_a_fresh_environment(wheel, tmp_path):
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # The dependencies, gigabytes of them, are borrowed; the package itself is the wheel's.
    site = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    video = tmp_path / "jacks.mp4"
    write_video(video, render(Scene((act("jumping_jacks"),)), 1.6, 15), 15)
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    where = subprocess.check_output([python, "-c", "import poseact; print(poseact.__file__)"], cwd=tmp_path, env=clean)
    assert str(site) in where.decode()
    command = [python, "-m", "poseact", "predict", "jacks.mp4"]
    result = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["label"] == "jumping_jacks"
