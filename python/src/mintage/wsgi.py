"""The PEP 807 endpoints as a WSGI application.

`Application` answers the paths of its indexes and gives everything else to the application that
it stands in front of. It may be mounted below a path too: it looks at whole paths, SCRIPT_NAME
included. It isn't an index: the upload endpoint stays yours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .pep807 import Endpoints, Index, Request, Response
from .pep807._endpoints import Minting
from .pep807._peer import peer
from .pep807._problems import failed, nothing_here, problem
from .pep807._values import MAX_BODY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Application"]


class Application:
    """Middleware: `Application(client, indexes, app)`; without `app` all else is 404.

    `client_ip` gives the address of the party that uploads, "" where it isn't known. By it a
    repeated request gets its token again, and a stolen ID token gets none. By default it is
    `REMOTE_ADDR`, or not known behind a proxy: give a function that reads what your proxy, and
    nobody else, can set. `base_url`: as for `mintage.pep807.Endpoints`.
    """

    def __init__(
        self,
        client: Minting,
        indexes: Iterable[Index],
        app: WSGIApplication | None = None,
        *,
        base_url: str | None = None,
        client_ip: Callable[[WSGIEnvironment], str] | None = None,
    ) -> None:
        self._endpoints = Endpoints(client, indexes, base_url=base_url)
        self._app = app
        self._client_ip = client_ip or _remote_address

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = _text(environ.get("SCRIPT_NAME", "")) + _text(environ.get("PATH_INFO", ""))
        if not self._endpoints.owns(path):
            if self._app is not None:
                return self._app(environ, start_response)
            return _send(nothing_here(), environ, start_response)
        return _send(self._respond(path, environ), environ, start_response)

    def _respond(self, path: str, environ: WSGIEnvironment) -> Response:
        body = _body(environ)
        if isinstance(body, Response):
            return body
        try:
            client_ip = self._client_ip(environ)
        except Exception as error:
            return failed("client_ip", error)
        request = Request(
            method=environ["REQUEST_METHOD"],
            path=path,
            query=environ.get("QUERY_STRING", ""),
            headers=_headers(environ),
            body=body,
            client_ip=client_ip,
            scheme=environ.get("wsgi.url_scheme", "https"),
        )
        return self._endpoints.handle(request) or nothing_here()


def _send(
    response: Response, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    start_response(response.status_line, list(response.headers))
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [response.body]


def _body(environ: WSGIEnvironment) -> bytes | Response:
    """The request's body, or one byte more than is allowed, or what is wrong with it."""
    stated = environ.get("CONTENT_LENGTH") or ""
    if stated:
        if not (stated.isascii() and stated.isdigit() and len(stated) < 20):
            return problem(400, "invalid-payload", "The Content-Length is not a number.")
        length = min(int(stated), MAX_BODY + 1)
    elif environ.get("wsgi.input_terminated"):
        length = MAX_BODY + 1
    elif environ.get("HTTP_TRANSFER_ENCODING"):
        return problem(411, "length-required", "The request must state its Content-Length.")
    else:
        return b""
    try:
        body = _read(environ["wsgi.input"], length)
    except Exception:  # each server has errors of its own for a body that breaks HTTP's rules
        return problem(400, "invalid-payload", "The request's body could not be read.")
    if stated and len(body) < length:
        return problem(400, "invalid-payload", "The request's body ended before its time.")
    return body


def _read(stream: Any, length: int) -> bytes:
    parts = []
    while length > 0:
        part = stream.read(length)
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    return {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    }


def _text(path: str) -> str:
    """WSGI's text of bytes: decoded as Latin-1 whatever it is."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _remote_address(environ: WSGIEnvironment) -> str:
    return peer(str(environ.get("REMOTE_ADDR", "")), _headers(environ))
