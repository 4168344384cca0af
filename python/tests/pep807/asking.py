"""A client made of `http.client` alone, and what every refusal has to look like."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

PATIENCE = 60
"""Seconds that anything may take; build machines stall."""


@dataclass(frozen=True)
class Answer:
    """A response as it came over the wire."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Host:
    """A running web server; `streams`: it hands a request on before its body has come."""

    port: int
    streams: bool = True

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Iterable[tuple[str, str]] = (),
        named: str | None = None,
    ) -> Answer:
        """One request with these headers, `Host` and `Content-Length`, and no others."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", f"127.0.0.1:{self.port}" if named is None else named)
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            return _answer(connection.getresponse())

    def raw(self, request: bytes, method: str = "POST") -> Answer:
        """Bytes as they stand."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            return _answer(response)

    def post(self, path: str, payload: object, **more: Any) -> Answer:
        return self.ask("POST", path, json.dumps(payload).encode(), **more)


def _answer(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, response.reason, headers, response.read())


def discover(host: Host, path: str, **more: Any) -> Answer:
    return host.ask("GET", f"/.well-known/pytp?discover={quote(path, safe='')}", **more)


def assert_problem(answer: Answer) -> None:
    """RFC 9457's members with their types, and those that twine and uv look for."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem = answer.json
    assert problem["status"] == answer.status >= 400
    assert problem["type"] == "about:blank"
    texts = [problem["title"], problem["detail"], problem["message"]]
    for error in problem["errors"]:
        assert set(error) == {"code", "description"}
        texts += [error["code"], error["description"]]
    assert problem["errors"]
    assert all(isinstance(text, str) and text for text in texts)
