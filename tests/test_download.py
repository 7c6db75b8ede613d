"""Downloads from a server of our own, which cuts, stalls, lies and changes its mind."""

import errno
import hashlib
import io
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from file_server import FileServer, cut_after, silence, stall_after, status, without_length

from poseact import download
from poseact.download import fetch
from poseact.errors import ModelError

BODY = hashlib.shake_128(b"weights").digest(1_000_000)
CUT = 20 * download._BLOCK  # bytes
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(download, "_BACKOFF", 0.001)
    monkeypatch.setattr(download, "_TIMEOUT", (2.0, 1.0))  # longer than a busy machine lets a server wait
    monkeypatch.delenv("POSEACT_OFFLINE", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve():
    """serve(body, **options): a running `FileServer`."""
    servers = []

    def start(body=BODY, **options):
        servers.append(FileServer(body, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "fake.onnx"


def seen(target):
    """What a user who lists the folder sees."""
    return sorted(path.name for path in target.parent.iterdir() if not path.name.startswith("."))


def zipped(**files):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in files.items():
            writer.writestr(name, content)
    return archive.getvalue()


def test_a_file_is_fetched_verified_and_nothing_else_is_left(serve, target):
    told = []
    result = fetch(serve().url, target, size=len(BODY), sha256=SHA256, on_progress=lambda *now: told.append(now))
    assert result == target
    assert target.read_bytes() == BODY
    assert seen(target) == ["fake.onnx"]
    assert told[0] == (0, len(BODY))
    assert told[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_file_that_is_there_costs_no_connection(target):
    target.parent.mkdir()
    target.write_bytes(BODY)
    assert fetch("http://127.0.0.1:9/fake.onnx", target, sha256=SHA256) == target
    with pytest.raises(ModelError, match=r"gave another file: SHA-256 .* instead of 000"):
        fetch("http://127.0.0.1:9/fake.onnx", target, sha256="0" * 64)


@pytest.mark.parametrize("fault", [cut_after(CUT), stall_after(CUT)])
@pytest.mark.parametrize("names", [{"etag": '"one"'}, {"etag": 'W/"weak"'}, {"etag": None, "modified": "Mon"}])
def test_a_cut_or_stalled_connection_goes_on_where_it_stopped(serve, target, fault, names):
    server = serve(faults=[fault], **names)
    fetch(server.url, target, sha256=SHA256)
    assert target.read_bytes() == BODY
    assert server.ranges_asked == [None, f"bytes={CUT}-"]


def test_more_cuts_than_tries_are_borne_as_long_as_bytes_come(serve, target):
    server = serve(faults=[cut_after(CUT // 4)] * 10)
    fetch(server.url, target, sha256=SHA256)
    assert target.read_bytes() == BODY
    assert server.ranges_asked[-1] == f"bytes={CUT // 4 * 10}-"


def test_a_server_that_always_cuts_at_the_same_byte_is_given_up(serve, target):
    server = serve(ranges=False, faults=[cut_after(CUT)] * 20)
    with pytest.raises(ModelError, match=f"{server.url} cannot be downloaded: .*; try again later, or put"):
        fetch(server.url, target, sha256=SHA256)
    assert 3 <= len(server.ranges_asked) <= 8
    assert not target.exists()


def test_the_next_call_goes_on_with_what_the_last_one_left(serve, target):
    server = serve(faults=[cut_after(CUT), *[status(404)] * 5])
    with pytest.raises(ModelError, match="404 Not Found"):
        fetch(server.url, target)
    assert seen(target) == ["fake.onnx.part", "fake.onnx.part.json"]
    server.faults.clear()
    told = []
    fetch(server.url, target, sha256=SHA256, on_progress=lambda *now: told.append(now))
    assert server.ranges_asked[-1] == f"bytes={CUT}-"
    assert told[0] == (CUT, len(BODY))
    assert target.read_bytes() == BODY
    assert seen(target) == ["fake.onnx"]


def leave_a_part(server, target):
    server.faults[:] = [cut_after(CUT), *[status(404)] * 5]
    with pytest.raises(ModelError):
        fetch(server.url, target)
    server.faults.clear()
    server.ranges_asked.clear()
    assert target.with_name("fake.onnx.part").stat().st_size == CUT


def test_a_file_that_changed_meanwhile_is_not_put_together_with_the_old_one(serve, target):
    server = serve()
    leave_a_part(server, target)
    server.body, server.etag = BODY[::-1], '"two"'
    fetch(server.url, target)
    assert target.read_bytes() == BODY[::-1]
    assert server.ranges_asked == [f"bytes={CUT}-", None]


def test_a_file_that_became_shorter_than_the_part_is_fetched_anew(serve, target):
    server = serve()
    leave_a_part(server, target)
    server.body = b"short"
    fetch(server.url, target)
    assert target.read_bytes() == b"short"


def test_the_part_of_another_url_is_not_gone_on_with(serve, target):
    server = serve()
    leave_a_part(server, target)
    fetch(server.address + "/other.onnx", target, sha256=SHA256)
    assert server.ranges_asked == [None]


def test_a_part_that_cannot_be_told_from_a_changed_file_is_not_gone_on_with(serve, target):
    server = serve(etag=None)
    leave_a_part(server, target)
    fetch(server.url, target, sha256=SHA256)
    assert server.ranges_asked == [None]


def test_a_server_without_ranges_begins_again(serve, target):
    server = serve(ranges=False, faults=[cut_after(CUT)])
    fetch(server.url, target, sha256=SHA256)
    assert target.read_bytes() == BODY
    assert server.ranges_asked == [None, f"bytes={CUT}-"]


def test_a_part_whose_bytes_are_damaged_costs_one_more_try(serve, target):
    server = serve()
    leave_a_part(server, target)
    target.with_name("fake.onnx.part").write_bytes(bytes(CUT))
    fetch(server.url, target, sha256=SHA256)
    assert target.read_bytes() == BODY
    assert server.ranges_asked == [f"bytes={CUT}-", None]


@pytest.mark.parametrize("note", ["", "{}", "[1]", '{"url": 1}', "\0"])
def test_a_damaged_note_means_to_begin_again(serve, target, note):
    server = serve()
    leave_a_part(server, target)
    target.with_name("fake.onnx.part.json").write_text(note)
    fetch(server.url, target, sha256=SHA256)
    assert server.ranges_asked == [None]


def test_a_whole_part_is_used_without_a_connection(serve, target):
    server = serve()
    leave_a_part(server, target)
    target.with_name("fake.onnx.part").write_bytes(BODY)
    fetch(server.url, target, sha256=SHA256)
    assert server.ranges_asked == []
    assert seen(target) == ["fake.onnx"]


def test_a_wrong_hash_is_refused_and_not_kept(serve, target):
    with pytest.raises(ModelError, match=f"gave another file: SHA-256 {SHA256} instead of 1234"):
        fetch(serve().url, target, sha256="1234" * 16)
    assert seen(target) == []


@pytest.mark.parametrize("size", [len(BODY) - 1, len(BODY) + 1])
def test_a_wrong_size_is_refused_before_its_bytes_come(serve, target, size):
    told = []
    with pytest.raises(ModelError, match=f"gave another file: 1000000 bytes instead of {size}"):
        fetch(serve().url, target, size=size, on_progress=lambda *now: told.append(now))
    assert told == []
    assert seen(target) == []


def test_an_endless_answer_ends_at_the_known_size(serve, target):
    with pytest.raises(ModelError, match="more than the 1000 bytes expected"):
        fetch(serve(faults=[without_length(900_000)]).url, target, size=1000)
    assert seen(target) == []


def test_an_answer_of_unknown_length_needs_something_to_check_it_by(serve, target):
    server = serve(faults=[without_length(len(BODY)), without_length(CUT), without_length(len(BODY))])
    with pytest.raises(ModelError, match="does not say how long it is"):
        fetch(server.url, target)
    fetch(server.url, target, size=len(BODY))
    assert target.read_bytes() == BODY
    assert len(server.ranges_asked) == 3


def test_a_missing_file_is_told_at_once(serve, target):
    server = serve(faults=[status(404)])
    with pytest.raises(ModelError, match=rf"404 Not Found; try again later, or put that file at {target}$"):
        fetch(server.url, target)
    assert len(server.ranges_asked) == 1


def test_a_busy_server_is_asked_again(serve, target):
    server = serve(faults=[status(500), status(503)])
    fetch(server.url, target, sha256=SHA256)
    assert len(server.ranges_asked) == 3


def test_a_server_that_stays_busy_is_given_up(serve, target):
    with pytest.raises(ModelError, match="500 Internal Server Error"):
        fetch(serve(faults=[status(500)] * 20).url, target)


def test_a_server_that_never_answers_is_given_up(serve, target):
    server = serve(faults=[silence] * 20)
    with pytest.raises(ModelError, match="timed out"):
        fetch(server.url, target)
    assert 2 <= len(server.ranges_asked) <= 5


def test_a_login_page_is_no_model(serve, target):
    with pytest.raises(ModelError, match="a web page comes instead"):
        fetch(serve(b"<html>Welcome to the hotel</html>", kind="text/html; charset=utf-8").url, target)
    assert seen(target) == []


def test_nobody_there_is_told_with_the_cause(target):
    with pytest.raises(ModelError, match="cannot be downloaded: Connection refused"):
        fetch("http://127.0.0.1:9/fake.onnx", target)
    with pytest.raises(ModelError, match="cannot be downloaded: "):
        fetch("nonsense://fake.onnx", target)


def test_a_mirror_is_tried_where_the_server_fails_and_each_is_announced(serve, target, caplog):
    down, mirror = serve(faults=[status(404)]), serve()
    announced = []
    fetch(down.url, target, mirrors=[mirror.url], sha256=SHA256, announce=announced.append)
    assert target.read_bytes() == BODY
    assert announced == [down.url, mirror.url]
    assert f"{down.url} cannot be downloaded: the server answers 404 Not Found; trying a mirror" in caplog.text
    fetch(down.url, target, announce=announced.append)
    assert len(announced) == 2


def test_a_wrong_file_is_not_sought_elsewhere(serve, target):
    mirror = serve()
    with pytest.raises(ModelError, match="another file"):
        fetch(serve(b"forged").url, target, mirrors=[mirror.url], sha256=SHA256)
    assert mirror.ranges_asked == []


def test_a_proxy_is_used_and_not_for_no_proxy(serve, target, monkeypatch):
    proxy = serve()
    monkeypatch.setenv("http_proxy", proxy.address)
    fetch("http://models.invalid/fake.onnx", target, sha256=SHA256)
    assert proxy.paths == ["http://models.invalid/fake.onnx"]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    target.unlink()
    fetch(serve().url, target, sha256=SHA256)
    assert len(proxy.paths) == 1


def test_a_proxy_that_refuses_is_named_without_its_password(serve, target, monkeypatch):
    proxy = serve(faults=[status(407)])
    where = proxy.address.removeprefix("http://")
    monkeypatch.setenv("http_proxy", f"http://me:secret@{where}")
    with pytest.raises(ModelError, match=f"by way of the proxy http://{where} .*407 Proxy Auth") as caught:
        fetch("http://models.invalid/fake.onnx", target)
    assert "secret" not in str(caught.value)


def test_a_proxy_that_is_not_there_is_named(target, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"by way of the proxy http://127\.0\.0\.1:9 .*Connection refused"):
        fetch("https://models.invalid/fake.onnx", target)


@pytest.mark.parametrize("value", ["1", "true", "Yes"])
def test_offline_refuses_and_says_where_to_put_the_file(target, monkeypatch, value):
    monkeypatch.setenv("POSEACT_OFFLINE", value)
    url = "http://127.0.0.1:9/folder/fake.zip?download=1"
    announced = []
    with pytest.raises(ModelError, match=r"POSEACT_OFFLINE is set; put .* at ") as caught:
        fetch(url, target, announce=announced.append)
    assert announced == []
    assert f"put {url} at {target}, or" in str(caught.value)
    with pytest.raises(ModelError) as caught:
        fetch(url, target, member="end2end.onnx")
    assert f"put {url} at {target.with_name('fake.zip')}, or" in str(caught.value)


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_offline_can_be_said_to_be_off(serve, target, monkeypatch, value):
    monkeypatch.setenv("POSEACT_OFFLINE", value)
    assert fetch(serve().url, target).is_file()


def test_a_full_disk_keeps_what_came_for_the_next_try(serve, target, monkeypatch):
    server = serve()
    path_open = Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def tell(self):
            return self.file.tell()

        def write(self, block):
            if self.file.tell() + len(block) > 600_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(block)

    monkeypatch.setattr(Path, "open", lambda path, mode="r", **more: Full(path_open(path, mode, **more)))
    with pytest.raises(ModelError, match=rf"{target} cannot be written \(No space left on device\).*POSEACT_HOME"):
        fetch(server.url, target)
    monkeypatch.undo()
    fetch(server.url, target, sha256=SHA256)
    assert server.ranges_asked == [None, "bytes=589824-"]


def test_a_folder_that_cannot_be_made_is_a_model_error(serve, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ModelError, match="cannot be written"):
        fetch(serve().url, tmp_path / "cache" / "fake.onnx")


def test_ctrl_c_keeps_what_came_for_the_next_try(serve, target):
    server = serve()

    def interrupt(done, total):
        if done > CUT:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"interrupted; 0\.3 MB of .* are kept for the next try"):
        fetch(server.url, target, on_progress=interrupt)
    fetch(server.url, target, sha256=SHA256)
    assert server.ranges_asked == [None, f"bytes={CUT + download._BLOCK}-"]
    assert target.read_bytes() == BODY


def test_the_only_member_comes_out_of_an_archive(serve, target):
    server = serve(zipped(**{"2023/a/end2end.onnx": BODY, "2023/a/deploy.json": "{}"}))
    fetch(server.url, target, member="end2end.onnx", size=len(BODY), sha256=SHA256)
    assert target.read_bytes() == BODY
    assert seen(target) == ["fake.onnx"]


def test_an_archive_put_there_by_hand_is_used_and_kept(target, monkeypatch):
    monkeypatch.setenv("POSEACT_OFFLINE", "1")
    target.parent.mkdir()
    target.with_name("fake.zip").write_bytes(zipped(**{"end2end.onnx": BODY}))
    fetch("http://127.0.0.1:9/folder/fake.zip", target, member="end2end.onnx", sha256=SHA256)
    assert target.read_bytes() == BODY
    assert seen(target) == ["fake.onnx", "fake.zip"]


def damaged():
    archive = bytearray(zipped(**{"end2end.onnx": BODY}))
    archive[5000] ^= 255
    return bytes(archive)


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (zipped(**{"other.onnx": BODY}), "holds no files named end2end.onnx"),
        (zipped(**{"a/end2end.onnx": BODY, "b/end2end.onnx": b"!"}), "holds 2 files named end2end.onnx"),
        (zipped(**{"../../end2end.onnx": BODY}), r"unsafe name \.\./\.\./end2end\.onnx"),
        (zipped(**{"/etc/end2end.onnx": BODY}), "unsafe name /etc/end2end"),
        (zipped(**{"end2end.onnx": b"another"}), "another file: SHA-256"),
        (b"no archive", "is not a zip archive"),
        (b"", "is not a zip archive"),
        (damaged(), "is not a zip archive that can be unpacked"),
    ],
)
def test_an_archive_that_is_not_as_it_should_be_is_refused_and_not_kept(serve, target, archive, says):
    with pytest.raises(ModelError, match=says):
        fetch(serve(archive).url, target, member="end2end.onnx", sha256=SHA256)
    assert seen(target) == []
    assert sorted(target.parent.parent.iterdir()) == [target.parent]


def test_many_at_once_download_once(serve, target):
    server = serve(faults=[stall_after(CUT)])
    results, errors = [], []

    def one():
        try:
            results.append(fetch(server.url, target, sha256=SHA256).read_bytes())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert results == [BODY] * 4
    assert server.ranges_asked == [None, f"bytes={CUT}-"]


def test_processes_at_once_download_once(serve, target):
    server = serve(zipped(**{"a/end2end.onnx": BODY}))
    code = (
        "import sys; from pathlib import Path; from poseact.download import fetch;"
        "fetch(sys.argv[1], Path(sys.argv[2]), member='end2end.onnx')"
    )
    command = [sys.executable, "-c", code, server.url, str(target)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert target.read_bytes() == BODY
    assert server.ranges_asked == [None]


def test_importing_asks_nobody_and_loads_no_web_library():
    code = "import sys, poseact.zoo, poseact.cli; print(*{'requests', 'urllib3', 'filelock'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
