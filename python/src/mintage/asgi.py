"""The PEP 807 endpoints as an ASGI application.

`Application` answers the paths of its indexes and gives everything else, lifespan and websockets
too, to the application that it stands in front of. It may be mounted below a path as well: it
looks at whole paths, `root_path` included. Nothing in it blocks the event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from ._errors import Error
from ._model import Requester
from .pep807 import AsyncEndpoints, Index, Request, Response
from .pep807._endpoints import AsyncMinting
from .pep807._payload import requester as requester_of
from .pep807._peer import peer
from .pep807._problems import DEFECT, failed, nothing_here, problem, refused
from .pep807._values import MAX_BODY

__all__ = [
    "REASON",
    "ASGIApplication",
    "Application",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "headers",
    "refusal",
    "requester",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

REASON = "X-Reason"
"""The header that brings `mintage.uvicorn.Protocol` what to write into the status line."""


def headers(response: Response) -> dict[str, str]:
    """A response's headers, for a response of your framework's.

    A refusal's sentence is among them as `REASON`: twine shows the status line and not the body,
    and ASGI has no place for it.
    """
    reason = response.status_line.partition(" ")[2]
    return dict(response.headers) | ({REASON: reason} if response.sentence else {})


def refusal(error: Exception) -> Response:
    """The answer to what an application's own code raises, for its framework's error handlers.

    `mintage.uploads.NotAdmitted` brings its answer along, a `mintage.Error` has one, and an HTTP
    error of the framework is known by its `status_code` and `detail`, as Starlette's. Anything
    else is a defect: 500, and the framework logs it. Servers hang up after that, so it says so.
    """
    answer = getattr(error, "response", None)
    if isinstance(answer, Response):
        return answer
    if isinstance(error, Error):
        return refused(error)
    status, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
    if isinstance(status, int) and isinstance(detail, str):
        own_headers = tuple((getattr(error, "headers", None) or {}).items())
        return problem(status, "refused", detail, headers=own_headers)
    return problem(500, "internal", DEFECT, headers=(("Connection", "close"),))


def requester(scope: Scope) -> Requester:
    """Who asks, for `Client.verify` and `mintage.uploads`: the address as `Application` by default
    finds it, and the user agent, within the service's bounds."""
    client_ip = _remote_address(scope)
    return requester_of(Request("", "", headers=_headers(scope), client_ip=client_ip))


class Application:
    """Middleware: `Application(client, indexes, app)`; without `app` all else is 404.

    `client_ip` gives the address of the party that uploads, "" where it isn't known. By it a
    repeated request gets its token again, and a stolen ID token gets none. By default it is the
    scope's `client`, or not known behind a proxy of which the server wasn't told: give a function
    that reads what your proxy, and nobody else, can set. `base_url`: as for
    `mintage.pep807.Endpoints`.
    """

    def __init__(
        self,
        client: AsyncMinting,
        indexes: Iterable[Index],
        app: ASGIApplication | None = None,
        *,
        base_url: str | None = None,
        client_ip: Callable[[Scope], str] | None = None,
    ) -> None:
        self._endpoints = AsyncEndpoints(client, indexes, base_url=base_url)
        self._app = app or _nothing
        self._client_ip = client_ip or _remote_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _whole_path(scope) if scope["type"] == "http" else ""
        if not self._endpoints.owns(path):
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            return
        await _respond(await self._answer(scope, path, body), send)

    async def _answer(self, scope: Scope, path: str, body: bytes) -> Response:
        try:
            client_ip = self._client_ip(scope)
        except Exception as error:
            return failed("client_ip", error)
        request = Request(
            method=scope["method"],
            path=path,
            query=scope.get("query_string", b"").decode("latin-1"),
            headers=_headers(scope),
            body=body,
            client_ip=client_ip,
            scheme=scope.get("scheme", "https"),
        )
        return await self._endpoints.handle(request) or nothing_here()


async def _body(receive: Receive) -> bytes | None:
    """The request's body, or a little more than is allowed; None where the client has gone."""
    body = bytearray()
    more = True
    while more and len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body[: MAX_BODY + 1])


async def _respond(response: Response, send: Send) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind, where there is none."""
    if scope["type"] == "http":
        await _respond(nothing_here(), send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
    elif scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})


def _whole_path(scope: Scope) -> str:
    """Older servers leave `root_path` out of `path`; newer ones have it in, as ASGI says."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path if path == root or path.startswith(f"{root}/") else root + path


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope.get("headers", ()):
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _remote_address(scope: Scope) -> str:
    client = scope.get("client")
    return peer(str(client[0]) if client else "", _headers(scope))
