"""TLS in front of a server that speaks none, as its operator's proxy would end it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

from .certificates import Certificate
from .processes import PATIENCE


class TlsFront:
    """`https://localhost:PORT`, byte for byte what the plain server on loopback says."""

    def __init__(self, plain_port: int, certificate: Certificate) -> None:
        self._plain_port = plain_port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate.certificate, certificate.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(PATIENCE)
        with contextlib.suppress(OSError):
            with (
                self._context.wrap_socket(client, server_side=True) as outside,
                socket.create_connection(("127.0.0.1", self._plain_port)) as inside,
            ):
                back = threading.Thread(target=_pass_on, args=(inside, outside), daemon=True)
                back.start()
                _pass_on(outside, inside)
                back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
