"""Models by name: found, verified, downloaded from a server of our own, refused."""

import hashlib
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from poseact import zoo
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

    def hold(**changed):
        fake = model(**changed)
        monkeypatch.setattr(zoo, "registry", lambda: {fake.name: fake})
        return tmp_path / "cache"

    return hold


@pytest.fixture
def serve():
    """Serve a body under any path; gives the URL of a file. Stopped after the test."""
    servers = []

    def start(body=CONTENT, status=200):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return run(HTTPServer(("127.0.0.1", 0), Handler))

    def run(server):
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/fake.pt"

    start.run = run
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


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
        assert len(entry.sha256) == 64
        assert entry.licence
        assert entry.about
        assert entry.size > 0


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
    url = serve()
    cache = known(url=url)
    announced = []
    path = resolve("fake", "classifier", announced.append)
    assert path == cache / "fake.pt"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in cache.iterdir()] == ["fake.pt"]
    assert announced == [f"downloading fake (0.0 MB) from {url}"]
    assert resolve("fake", "classifier", announced.append) == path
    assert len(announced) == 1


@pytest.mark.parametrize("body", [b"something else", CONTENT + b"more", CONTENT[:-1], b""])
def test_a_download_with_another_hash_is_refused_and_not_kept(known, serve, body):
    url = serve(body)
    cache = known(url=url, requirement="fake-package==1.0")
    with pytest.raises(ModelError, match=f"{url} gave another file than the registry's fake; or: pip install fake"):
        resolve("fake", "classifier")
    assert list(cache.iterdir()) == []


def test_an_answer_that_is_no_file_is_a_model_error_with_advice(known, serve):
    cache = known(url=serve(status=404), requirement="fake-package==1.0")
    with pytest.raises(ModelError, match=r"cannot be downloaded from .*Not Found.*; or: pip install fake-package==1"):
        resolve("fake", "classifier")
    assert list(cache.iterdir()) == []


def test_a_refused_connection_is_a_model_error_with_advice(known):
    with socketserver.TCPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_address[1]  # closed again: nobody listens there
    known(url=f"http://127.0.0.1:{port}/fake.pt", requirement="fake-package==1.0")
    with pytest.raises(ModelError, match=r"cannot be downloaded from .*refused.*; or: pip install fake-package==1"):
        resolve("fake", "classifier")


def test_a_server_that_speaks_no_http_is_a_model_error(known, serve):
    class Mumble(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(1000)
            self.request.sendall(b"220 mail server ready\r\n\r\n")

    known(url=serve.run(socketserver.TCPServer(("127.0.0.1", 0), Mumble)))
    with pytest.raises(ModelError, match="cannot be downloaded"):
        resolve("fake", "classifier")


def test_a_cache_that_cannot_be_made_is_a_model_error(known, serve, tmp_path):
    known(url=serve())
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ModelError, match="cannot be downloaded"):
        resolve("fake", "classifier")


def test_a_hash_by_hand(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert zoo.sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        zoo.sha256(tmp_path / "absent")
