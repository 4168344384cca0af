"""A name server for one name, whose addresses change while it is asked."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading

NAME = "mintage.internal"

_A = 1
_TTL = 1
_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_RECORD = struct.Struct("!3HIH")


class Names:
    """Answers on a port of loopback, with those of its `addresses` that are there at the time."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        names = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                question, connection = self.request
                connection.sendto(names._answer(question), self.client_address)

        self._server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def target(self, port: int) -> str:
        """As a client of gRPC is told to ask here for the name."""
        return f"dns://127.0.0.1:{self._server.server_address[1]}/{NAME}:{port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, message: bytes) -> bytes:
        """RFC 1035: what was asked, and the addresses where it was for them."""
        id_, _, _, _, _, _ = _HEADER.unpack_from(message)
        name_end = message.index(b"\0", _HEADER.size) + 1
        kind, _ = _QUESTION.unpack_from(message, name_end)
        question = message[_HEADER.size : name_end + _QUESTION.size]
        own = question.startswith(_encoded(NAME))
        addresses = list(self.addresses) if own and kind == _A else []
        # An authoritative answer; no such name, where it is another one.
        flags = 0x8580 if own else 0x8583
        header = _HEADER.pack(id_, flags, 1, len(addresses), 0, 0)
        return header + question + b"".join(map(_record, addresses))


def _encoded(name: str) -> bytes:
    labels = (bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"".join(labels) + b"\0"


def _record(address: str) -> bytes:
    """The name is a pointer to the question's."""
    return _RECORD.pack(0xC00C, _A, 1, _TTL, 4) + socket.inet_aton(address)
