"""A camera for tests: RTSP over TCP, which sends an MPEG-TS in RTP packets to whoever comes."""

from __future__ import annotations

import socketserver
import struct
import threading
import time

_SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\n"
_PAYLOAD = 7 * 188  # TS packets are 188 bytes, and seven fit into a network's packet


class RtspServer:
    """Sends `body`, an MPEG-TS, once to each client, and hangs up. asked: the requests so far."""

    def __init__(self, body: bytes):
        self.body = body
        self.asked: list[str] = []
        camera = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                while request := self.rfile.readline().decode().strip():
                    headers = dict(
                        line.split(": ", 1) for line in iter(lambda: self.rfile.readline().decode().strip(), "")
                    )
                    method = request.split()[0]
                    camera.asked.append(method)
                    self.answer(method, headers["CSeq"])
                    if method == "PLAY":
                        self.send_pictures()
                        return

            def answer(self, method, number):
                body = _SDP if method == "DESCRIBE" else ""
                extra = {
                    "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n",
                    "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n",
                    "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
                    "PLAY": "Session: 1\r\n",
                }
                self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{extra.get(method, '')}\r\n{body}".encode())

            def send_pictures(self):
                for number, at in enumerate(range(0, len(camera.body), _PAYLOAD)):
                    payload = camera.body[at : at + _PAYLOAD]
                    header = struct.pack(">BBHII", 0x80, 33, number % 65536, number * 900, 1)
                    self.wfile.write(struct.pack(">cBH", b"$", 0, len(header) + len(payload)) + header + payload)
                self.wfile.flush()
                time.sleep(0.2)  # so that nothing is lost in hanging up

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):  # clients that hang up
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._server.server_address[1]}/live"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
