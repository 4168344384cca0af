"""A front that ends TLS before an index and, at times, hangs up in place of passing an answer on.

That is what a client sees of a web tier that dies, or of a network that fails, after the work is
done: the request was carried out in full, and nobody tells.
"""

from __future__ import annotations

import http.client
import http.server
import ssl
import threading
from email.message import Message

from .certificates import Certificate

_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


class CuttingFront:
    """Serves HTTPS on loopback; `cut` says of how many answers, from now on, it keeps silent."""

    def __init__(self, upstream_port: int, certificate: Certificate) -> None:
        self.answers: list[tuple[str, int, bytes]] = []
        """Path, status and body of what the index answered to each POST, cut or not."""
        self._upstream_port = upstream_port
        self._path, self._cuts = "", 0
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def cut(self, path: str, times: int) -> None:
        """Hangs up in place of the next answers from this path."""
        self._path, self._cuts = path, times

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _is_cut(self, path: str) -> bool:
        if path != self._path or self._cuts == 0:
            return False
        self._cuts -= 1
        return True

    def _ask(
        self, method: str, path: str, headers: Message, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection("127.0.0.1", self._upstream_port, timeout=60)
        try:
            upstream.request(method, path, body, dict(headers.items()))
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()

    def _handler(front) -> type[http.server.BaseHTTPRequestHandler]:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, answer = front._ask(self.command, self.path, self.headers, body)
                if self.command == "POST":
                    front.answers.append((self.path, status, answer))
                if front._is_cut(self.path):
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in _HOP_BY_HOP:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        return Handler
