"""Models by name: found, verified, downloaded from a server of our own, refused."""

import hashlib
import io
import shutil
import socketserver
import subprocess
import sys
import threading
import zipfile

import pytest
from file_server import FileServer, cut_after, stall_after, status

from poseact import download, zoo
from poseact.errors import ModelError, UsageError
from poseact.zoo import Model, registry, resolve

CONTENT = b"weights of a network"


def model(**changed):
    values = {
        "name": "fake",
        "parts": ("classifier",),
        "file": "fake.pt",
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "licence": "none",
        "about": "for tests",
    }
    return Model(**{**values, **changed})


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Make the registry hold one fake model, with nothing shipped and an empty cache; gives the cache folder."""
    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr(zoo, "models_folder", lambda: tmp_path / "shipped")
    monkeypatch.setenv("POSEACT_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("POSEACT_OFFLINE", raising=False)
    monkeypatch.setattr(download, "_BACKOFF", 0.001)

    def hold(**changed):
        fake = model(**changed)
        monkeypatch.setattr(zoo, "registry", lambda: {fake.name: fake})
        return tmp_path / "cache"

    return hold


@pytest.fixture
def serve():
    """serve(body, **options): a running `FileServer`."""
    servers = []

    def start(body=CONTENT, **options):
        servers.append(FileServer(body, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def zipped(content=CONTENT, name="20230831/rtmpose/end2end.onnx"):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr(name, content)
    return archive.getvalue()


def seen(folder):
    """What a user who lists the folder sees."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


CLASSIFIERS = zoo.DEFAULT_CLASSIFIER.split(",")


def test_several_between_commas_are_resolved_in_turn(tmp_path):
    odd = tmp_path / "a,b.pt"
    odd.write_bytes(b"anything")
    assert zoo.resolve_all(str(odd), "classifier") == [odd]
    assert [path.stem for path in zoo.resolve_all(zoo.DEFAULT_CLASSIFIER, "classifier")] == CLASSIFIERS
    with pytest.raises(UsageError, match="names one classifier too few for its commas"):
        zoo.resolve_all(f"{CLASSIFIERS[0]},", "classifier")


def test_the_registry_knows_the_default_models():
    models = registry()
    for name in (*CLASSIFIERS, zoo.FAST_CLASSIFIER):
        assert "classifier" in models[name].parts
    assert "detector" in models[zoo.DEFAULT_DETECTOR].parts
    assert "pose" in models[zoo.DEFAULT_POSE].parts
    for entry in models.values():
        assert entry.licence
        assert entry.about
        assert entry.size is None or entry.size > 0
        assert len(entry.sha256 or 64 * "0") == 64
        assert entry.sha256 or entry.file.endswith(".onnx")


def test_a_file_that_can_hold_code_needs_a_sha256():
    with pytest.raises(ValueError, match=r"fake has no SHA-256, and fake\.pt can hold code"):
        model(sha256=None)


def test_rtmlibs_modes_and_models_are_rtmlibs():
    rtmlib = pytest.importorskip("rtmlib", exc_type=ImportError)
    for mode, theirs in rtmlib.Body.MODE.items():
        for part, key in (("detector", "det"), ("pose", "pose")):
            ours = zoo.model_named(mode, part)
            assert ours.url == theirs[key]
            assert ours.input_size == theirs[f"{key}_input_size"][::-1]
    for entry in registry().values():
        for mirror in entry.mirrors:
            assert mirror == rtmlib.tools.file.get_mirror_url(entry.url)
    assert sorted(rtmlib.Body.MODE) == sorted(zoo.modes())


def test_a_mode_means_a_detector_and_a_pose_model_and_nothing_else():
    assert zoo.model_named("balanced", "detector").name == "yolox-m"
    assert zoo.model_named("balanced", "pose").name == "rtmpose-m"
    assert zoo.model_named("balanced", "classifier") is None
    assert zoo.model_named("rtmpose-m", "detector") is None
    with pytest.raises(
        ModelError, match=r"known by name: yolo11n-pose, yolox-nano.*yolox-x, lightweight, balanced, perf"
    ):
        resolve("yolox-huge", "detector")
    with pytest.raises(ModelError, match="no classifier named 'balanced'"):
        resolve("balanced", "classifier")


@pytest.mark.parametrize(
    ("name", "part", "place"),
    [*((name, "classifier", "shipped") for name in CLASSIFIERS), (zoo.DEFAULT_POSE, "pose", "installed")],
)
def test_the_default_models_are_here_and_are_the_registrys(name, part, place):
    where, path = registry()[name].find()
    assert where == place
    assert path.stat().st_size == registry()[name].size
    assert zoo.sha256(path) == registry()[name].sha256
    assert resolve(name, part) == path


def test_a_broken_registry_is_a_model_error(monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "models_folder", lambda: tmp_path)
    for text in (None, "no json", '[{"name": "a"}]', '{"name": 1}'):
        if text is not None:
            (tmp_path / "registry.json").write_text(text)
        with pytest.raises(ModelError, match=r"the model registry .* cannot be read .* install poseact again"):
            registry.__wrapped__()


def test_a_path_is_taken_as_the_user_gives_it(tmp_path):
    mine = tmp_path / "mine.pt"
    mine.write_bytes(b"anything")
    assert resolve(str(mine), "classifier") == mine


def test_a_path_may_begin_with_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.pt").write_bytes(b"anything")
    assert resolve("~/mine.pt", "classifier") == tmp_path / "mine.pt"


def test_an_unknown_name_lists_the_known_ones_of_its_part():
    with pytest.raises(ModelError) as error:
        resolve("actions99", "classifier")
    assert "there is no classifier named 'actions99' and no such file" in str(error.value)
    assert all(name in str(error.value) for name in CLASSIFIERS)
    assert zoo.DEFAULT_POSE not in str(error.value)


def test_a_name_serves_only_its_part():
    with pytest.raises(ModelError, match=f"there is no classifier named '{zoo.DEFAULT_POSE}'"):
        resolve(zoo.DEFAULT_POSE, "classifier")


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="is a folder; give the classifier's file"):
        resolve(str(tmp_path), "classifier")


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("POSEACT_HOME", raising=False)
    assert zoo.cache_folder() == tmp_path / "xdg" / "poseact"
    monkeypatch.setenv("POSEACT_HOME", str(tmp_path / "own"))
    assert zoo.cache_folder() == tmp_path / "own"


def test_places_in_order_of_preference(known, monkeypatch, tmp_path):
    cache = known(package="fake_package", url="http://127.0.0.1/fake.pt")
    fake = zoo.registry()["fake"]
    assert fake.find() == ("to be downloaded", None)
    assert model().find() == ("missing", None)
    cache.mkdir()
    (cache / "fake.pt").write_bytes(CONTENT)
    assert fake.find() == ("cached", cache / "fake.pt")
    package = tmp_path / "site" / "fake_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('finding a package must not import it')")
    (package / "fake.pt").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(package.parent)
    assert fake.find() == ("installed", package / "fake.pt")
    shipped = tmp_path / "shipped" / "fake.pt"
    shipped.write_bytes(CONTENT)
    assert fake.find() == ("shipped", shipped)


@pytest.mark.parametrize(("place", "cure"), [("shipped", "install poseact again"), ("cache", "delete it")])
def test_a_file_with_another_hash_is_refused(known, tmp_path, place, cure):
    known()
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "fake.pt").write_bytes(CONTENT + b"!")
    with pytest.raises(ModelError, match=f"is not the fake that the registry knows .*SHA-256 differs.*; {cure}"):
        resolve("fake", "classifier")


def test_a_verified_file_is_used_without_a_download(known):
    cache = known(url="http://127.0.0.1:9/fake.pt")
    cache.mkdir()
    (cache / "fake.pt").write_bytes(CONTENT)
    announced = []
    assert resolve("fake", "classifier", announced.append) == cache / "fake.pt"
    assert announced == []


def test_a_model_that_can_be_had_nowhere_names_the_cure(known):
    known(requirement="fake-package==1.0")
    with pytest.raises(ModelError, match=r"fake is not on this machine; pip install fake-package==1\.0"):
        resolve("fake", "classifier")


def test_a_download_is_announced_verified_and_kept(known, serve):
    server = serve(kind="application/x-pickle")
    cache = known(url=server.url)
    announced, progress = [], []
    path = resolve("fake", "classifier", announced.append, lambda *now: progress.append(now))
    assert path == cache / "fake.pt"
    assert path.read_bytes() == CONTENT
    assert seen(cache) == ["fake.pt"]
    assert announced == [f"downloading fake (size 0.0 MB, licence none) from {server.url}"]
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert resolve("fake", "classifier", announced.append) == path
    assert len(announced) == len(server.ranges_asked) == 1


@pytest.mark.parametrize("body", [b"something else", CONTENT[::-1], CONTENT + b"more", CONTENT[:-1], b""])
def test_a_download_with_another_hash_is_refused_and_not_kept(known, serve, body):
    server = serve(body)
    cache = known(url=server.url, requirement="fake-package==1.0")
    with pytest.raises(ModelError, match=f"fake: {server.url} gave another file: .*; or: pip install fake-package==1"):
        resolve("fake", "classifier")
    assert seen(cache) == []


def test_an_answer_that_is_no_file_is_a_model_error_with_advice(known, serve):
    cache = known(url=serve(faults=[status(404)]).url, requirement="fake-package==1.0")
    with pytest.raises(ModelError, match=r"cannot be downloaded: .*Not Found; .*; or: pip install fake-package==1"):
        resolve("fake", "classifier")
    assert seen(cache) == []


def test_a_server_that_speaks_no_http_is_a_model_error(known):
    class Mumble(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(1000)
            self.request.sendall(b"220 mail server ready\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Mumble) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        known(url=f"http://127.0.0.1:{server.server_address[1]}/fake.pt")
        with pytest.raises(ModelError, match=r"cannot be downloaded: .*220 mail server ready"):
            resolve("fake", "classifier")
        server.shutdown()


def test_offline_names_where_the_file_can_be_put(known, monkeypatch):
    cache = known(url="http://127.0.0.1:9/fake.pt", requirement="fake-package==1.0")
    monkeypatch.setenv("POSEACT_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"POSEACT_OFFLINE is set; put .*; or: pip install fake") as caught:
        resolve("fake", "classifier")
    assert f"put http://127.0.0.1:9/fake.pt at {cache / 'fake.pt'}, or" in str(caught.value)
    (cache / "fake.pt").write_bytes(CONTENT)
    assert resolve("fake", "classifier") == cache / "fake.pt"


UNKNOWN = {"file": "fake.onnx", "size": None, "sha256": None, "member": "end2end.onnx"}
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_the_first_sha256_of_an_onnx_file_is_kept(known, serve):
    server = serve(zipped())
    cache = known(url=server.url, **UNKNOWN)
    announced = []
    path = resolve("fake", "classifier", announced.append)
    assert path.read_bytes() == CONTENT
    assert seen(cache) == ["fake.onnx", "fake.onnx.sha256"]
    assert (cache / "fake.onnx.sha256").read_text() == f"{DIGEST}  fake.onnx\n"
    assert "nobody publishes its SHA-256, so the one it has now is kept" in announced[0]
    assert announced[1] == "fake: 0.0 MB to be had, 0.0 MB of them here already"
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", "fake.onnx.sha256"], cwd=cache, check=True)
    assert resolve("fake", "classifier") == path
    assert len(server.ranges_asked) == 1


def test_an_onnx_file_that_changed_since_its_first_use_is_refused(known, serve):
    server = serve(zipped())
    cache = known(url=server.url, **UNKNOWN)
    path = resolve("fake", "classifier")
    path.write_bytes(b"forged")
    with pytest.raises(ModelError, match=r"not the fake of its first use .*; delete it, and fake\.onnx\.sha256 beside"):
        resolve("fake", "classifier")
    path.unlink()
    server.body = zipped(b"forged at the source")
    with pytest.raises(ModelError, match=f"SHA-256 .* instead of {DIGEST}"):
        resolve("fake", "classifier")
    (cache / "fake.onnx.sha256").unlink()
    assert resolve("fake", "classifier").read_bytes() == b"forged at the source"


def test_an_onnx_file_put_there_by_hand_is_kept_to(known):
    cache = known(url="http://127.0.0.1:9/fake.zip", **UNKNOWN)
    cache.mkdir()
    (cache / "fake.onnx").write_bytes(CONTENT)
    resolve("fake", "classifier")
    assert (cache / "fake.onnx.sha256").read_text().startswith(DIGEST)


def test_a_kept_sha256_that_is_none_is_told(known):
    cache = known(url="http://127.0.0.1:9/fake.zip", **UNKNOWN)
    cache.mkdir()
    (cache / "fake.onnx").write_bytes(CONTENT)
    (cache / "fake.onnx.sha256").write_text("<html>")
    with pytest.raises(ModelError, match=r"fake\.onnx\.sha256 holds no SHA-256; delete it if you trust fake\.onnx"):
        resolve("fake", "classifier")


def test_a_cache_that_is_closed_can_be_used_with_a_warning(known, monkeypatch, caplog):
    cache = known(url="http://127.0.0.1:9/fake.zip", **UNKNOWN)
    cache.mkdir()
    (cache / "fake.onnx").write_bytes(CONTENT)

    def closed(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(zoo, "written_aside", closed)
    assert resolve("fake", "classifier") == cache / "fake.onnx"
    assert "a change of the model will not be noticed" in caplog.text


def test_a_registered_sha256_is_of_the_unpacked_file_and_a_mirror_helps(known, serve):
    mirror = serve(zipped(), faults=[cut_after(50)])
    down = serve(faults=[status(404)])
    cache = known(url=down.url, mirrors=(mirror.url,), file="fake.onnx", member="end2end.onnx")
    assert resolve("fake", "classifier").read_bytes() == CONTENT
    assert seen(cache) == ["fake.onnx"]


def test_the_command_line_tells_of_downloads_and_shows_a_bar(known, serve, monkeypatch, capsys):
    from rich.console import Console

    from poseact.cli import console
    from poseact.cli.fetch import fetch_models

    known(url=serve().url)
    fetch_models(False, {"classifier": "fake"})
    assert capsys.readouterr() == (
        "",
        f"downloading fake (size 0.0 MB, licence none) from {zoo.registry()['fake'].url}\n",
    )
    screen = io.StringIO()
    monkeypatch.setattr(download, "_TIMEOUT", (2.0, 0.3))
    monkeypatch.setattr(console, "stderr", lambda: Console(file=screen, force_terminal=True, width=100))
    known(url=serve(faults=[stall_after(10)]).url)
    (zoo.cache_folder() / "fake.pt").unlink()
    fetch_models(False, {"classifier": "fake"})
    assert "/20 bytes" in screen.getvalue()
    (zoo.cache_folder() / "fake.pt").unlink()
    capsys.readouterr()
    fetch_models(True, {"classifier": "fake"})
    assert capsys.readouterr() == ("", "")


def test_a_mode_given_once_is_fetched_whole(monkeypatch):
    from poseact.cli import fetch

    asked = []
    monkeypatch.setattr(fetch, "resolve_all", lambda named, part, *told: asked.append((part, named)))
    pytest.importorskip("rtmlib")
    fetch.fetch_models(True, {"detector": zoo.DEFAULT_DETECTOR, "pose": "balanced"})
    fetch.fetch_models(True, {"detector": "balanced", "pose": zoo.DEFAULT_POSE})
    assert asked == [("detector", "balanced"), ("pose", "balanced")] * 2
    assert zoo.complete_mode("yolox-s", "balanced") == ("yolox-s", "balanced")


def test_without_rtmlib_nothing_is_downloaded_for_it(monkeypatch):
    from poseact.cli import fetch

    monkeypatch.setitem(sys.modules, "rtmlib", None)
    monkeypatch.setattr(fetch, "resolve_all", lambda *told: pytest.fail("downloads"))
    with pytest.raises(ModelError, match=r"rtmlib cannot be imported .*; run: pip install"):
        fetch.fetch_models(True, {"detector": zoo.DEFAULT_DETECTOR, "pose": "rtmpose-m"})


def test_a_hash_by_hand(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert zoo.sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        zoo.sha256(tmp_path / "absent")
