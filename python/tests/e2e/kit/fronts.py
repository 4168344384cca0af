"""Fronts that end TLS before an index and pass requests on, as its operator's proxy would.

`MappingFront` stands for an index whose upload URL has another path; `CuttingFront` hangs up, at
times, in place of passing an answer on: that is what a client sees of a web tier that dies, or of
a network that fails, after the work is done.
"""

from __future__ import annotations

import http.client
import http.server
import ssl
import threading
from collections.abc import Mapping
from email.message import Message

from .certificates import Certificate

_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


class Front:
    """Serves HTTPS on loopback, on a port of its own unless `port` says which."""

    def __init__(self, upstream_port: int, certificate: Certificate, *, port: int = 0) -> None:
        self.answers: list[tuple[str, int, bytes]] = []
        """Path, status and body of what the index answered to each POST, passed on or not."""
        self._upstream_port = upstream_port
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def upstream_path(self, path: str) -> str:
        """What the index is asked for."""
        return path

    def is_cut(self, path: str) -> bool:
        """Whether to hang up in place of the answer."""
        return False

    def _ask(
        self, method: str, path: str, headers: Message, body: bytes
    ) -> tuple[int, str, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection("127.0.0.1", self._upstream_port, timeout=60)
        try:
            upstream.request(method, self.upstream_path(path), body, dict(headers.items()))
            answer = upstream.getresponse()
            return answer.status, answer.reason, answer.getheaders(), answer.read()
        finally:
            upstream.close()

    def _handler(front) -> type[http.server.BaseHTTPRequestHandler]:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, reason, headers, answer = front._ask(
                    self.command, self.path, self.headers, body
                )
                if self.command == "POST":
                    front.answers.append((self.path, status, answer))
                if front.is_cut(self.path):
                    self.close_connection = True
                    return
                self.send_response(status, reason)
                for name, value in headers:
                    if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class MappingFront(Front):
    """The front of a host at whose `paths` (as clients see them) the index has others."""

    def __init__(
        self,
        upstream_port: int,
        certificate: Certificate,
        paths: Mapping[str, str],
        *,
        port: int = 0,
    ) -> None:
        self._paths = dict(paths)
        super().__init__(upstream_port, certificate, port=port)

    def upstream_path(self, path: str) -> str:
        return self._paths.get(path, path)


class CuttingFront(Front):
    """`cut` says of how many answers, from now on, it keeps silent."""

    def __init__(self, upstream_port: int, certificate: Certificate) -> None:
        self._path, self._cuts = "", 0
        super().__init__(upstream_port, certificate)

    def cut(self, path: str, times: int) -> None:
        """Hangs up in place of the next answers from this path."""
        self._path, self._cuts = path, times

    def is_cut(self, path: str) -> bool:
        if path != self._path or self._cuts == 0:
            return False
        self._cuts -= 1
        return True
