"""A web server for tests of downloads: it serves one file, and each request can be given a fault of its own."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Fault = Callable[[BaseHTTPRequestHandler, "FileServer"], None]


@dataclass
class FileServer:
    """Serves `body` under any path. faults: one for each of the next requests (None: none), instead of the answer.

    etag, modified: None leaves the header out. ranges: whether a Range is understood. ranges_asked: what the
    requests so far asked for.
    """

    body: bytes
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    kind: str = "application/octet-stream"
    faults: list[Fault | None] = field(default_factory=list)
    ranges_asked: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.released = threading.Event()
        files = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                files.ranges_asked.append(self.headers.get("Range"))
                files.paths.append(self.path)
                fault = files.faults.pop(0) if files.faults else None
                (fault or FileServer.answer)(*((self, files) if fault else (files, self)))

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # a client that hangs up is what is tested
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.address}/folder/fake.zip"

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, most: int | None = None) -> None:
        """The file, or the range asked for, of which no more than `most` bytes are sent."""
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.ranges else 0
        if start and start >= len(self.body):
            handler.send_response(416)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        for name, value in (("ETag", self.etag), ("Last-Modified", self.modified), ("Content-Type", self.kind)):
            if value is not None:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(self.body) - start))
        handler.end_headers()
        end = len(self.body) if most is None else start + most
        handler.wfile.write(self.body[start:end])
        handler.wfile.flush()


def cut_after(n_bytes: int) -> Fault:
    """Send so much of what is asked for and hang up."""

    def fault(handler, files):
        files.answer(handler, n_bytes)
        handler.connection.shutdown(socket.SHUT_RDWR)

    return fault


def stall_after(n_bytes: int) -> Fault:
    """Send so much of what is asked for and then nothing, with the connection open."""

    def fault(handler, files):
        files.answer(handler, n_bytes)
        files.released.wait(20)

    return fault


def silence(handler, files) -> None:
    """Do not even begin to answer."""
    files.released.wait(20)


def status(code: int) -> Fault:
    """Answer with this status."""

    def fault(handler, files):
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return fault


def without_length(n_bytes: int) -> Fault:
    """Send so many bytes and close, without having said how many there are."""

    def fault(handler, files):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(files.body[:n_bytes])

    return fault
