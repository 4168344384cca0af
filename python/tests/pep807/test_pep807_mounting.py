"""Where the endpoints stand: before an application, inside a framework, behind a proxy."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import flask
import pytest
import served
from asking import PATIENCE, Host
from served import LEGACY, Service
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import mintage
import mintage.aio
import mintage.asgi
import mintage.wsgi
from mintage import Publisher
from mintage.pep807 import AsyncEndpoints, Endpoints, Index, Request
from mintage.pep807._peer import _warn, peer

MINT = "/_/oidc/mint-token"


def starlette_app(events: list[str]) -> Starlette:
    async def hello(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse(f"hello from {request.url.path}")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        events.append("startup")
        yield
        events.append("shutdown")

    return Starlette(routes=[Route("/simple/", hello)], lifespan=lifespan)


def test_an_asgi_application_behind_gets_everything_else_and_its_lifespan(
    service: Service,
) -> None:
    events: list[str] = []
    indexes = served.indexes(service.issuer.url)
    with served.uvicorn_host(service.address, indexes, app=starlette_app(events)) as host:
        assert host.ask("GET", "/_/oidc/audience").json == {"audience": "pypi"}
        assert host.ask("GET", "/simple/").body == b"hello from /simple/"
        assert host.ask("GET", "/nothing").status == 404
        assert events == ["startup"]
    assert events == ["startup", "shutdown"]


def test_a_wsgi_application_behind_gets_everything_else(service: Service) -> None:
    app = flask.Flask(__name__)

    @app.post("/legacy/")
    def upload() -> str:
        return f"{len(flask.request.get_data())} bytes"

    indexes = served.indexes(service.issuer.url)
    with served.waitress_host(service.address, indexes, app=app) as host:
        assert host.ask("GET", "/_/oidc/audience").json == {"audience": "pypi"}
        assert host.ask("POST", "/legacy/", b"x" * 100_000).body == b"100000 bytes"


def test_mounted_below_a_path_it_looks_at_whole_paths_in_starlette(service: Service) -> None:
    def mounted(application: Any) -> Any:
        return Starlette(routes=[Mount("/_/oidc", application), Mount("/.well-known", application)])

    indexes = served.indexes(service.issuer.url)
    with served.uvicorn_host(service.address, indexes, wrapped=mounted) as host:
        assert_whole_paths(host, service)


def test_mounted_below_a_path_it_looks_at_whole_paths_in_wsgi(service: Service) -> None:
    def mounted(application: Any) -> Any:
        mounts = {"/_/oidc": application, "/.well-known": application}
        return DispatcherMiddleware(flask.Flask(__name__), mounts)

    indexes = served.indexes(service.issuer.url)
    with served.waitress_host(service.address, indexes, wrapped=mounted) as host:
        assert_whole_paths(host, service)


def assert_whole_paths(host: Host, service: Service) -> None:
    found = host.ask("GET", "/.well-known/pytp?discover=%2Flegacy%2F").json
    assert found["audience-endpoint"] == f"http://127.0.0.1:{host.port}/_/oidc/audience"
    assert host.ask("GET", "/_/oidc/audience").json == {"audience": "pypi"}
    assert host.post(MINT, {"token": service.issuer.id_token("pypi")}).status == 200
    assert host.ask("GET", "/_/oidc/_/oidc/audience").status == 404


def test_a_root_path_of_the_server_is_part_of_the_path(service: Service) -> None:
    index = Index("/app/legacy/", "pypi", lambda claims: [], prefix="/app/_/oidc")
    with served.uvicorn_host(service.address, [index], root_path="/app") as host:
        assert host.ask("GET", "/_/oidc/audience").json == {"audience": "pypi"}


def test_without_an_application_behind_a_websocket_is_closed(service: Service) -> None:
    sent: list[Any] = []

    async def connect() -> None:
        async with mintage.aio.Client(service.address) as client:
            application = mintage.asgi.Application(client, served.indexes(service.issuer.url))

            async def receive() -> Any:
                return {"type": "websocket.connect"}

            async def send(message: Any) -> None:
                sent.append(message)

            await application({"type": "websocket", "path": MINT}, receive, send)

    asyncio.run(connect())
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_client_that_leaves_in_the_middle_of_its_body_mints_nothing(service: Service) -> None:
    sent: list[Any] = []
    body = json.dumps({"token": service.issuer.id_token("pypi")}).encode()
    messages = iter(
        [
            {"type": "http.request", "body": body, "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    async def leave() -> None:
        async with mintage.aio.Client(service.address) as client:
            application = mintage.asgi.Application(client, served.indexes(service.issuer.url))
            scope = {"type": "http", "method": "POST", "path": MINT, "headers": []}
            await application(scope, receive, send)

    asyncio.run(leave())
    assert sent == []
    with mintage.Client(service.address) as client:
        publisher = served.publisher(service.issuer.url)
        client.mint_for_publisher(json.loads(body)["token"], [publisher], index="pypi")


@pytest.fixture(params=["uvicorn", "waitress"])
def proxied(request: pytest.FixtureRequest, service: Service) -> Iterator[Host]:
    """Behind a proxy which says in a header of its own who uploads."""

    def of_scope(scope: Mapping[str, Any]) -> str:
        return dict(scope["headers"]).get(b"x-real-client", b"").decode()

    def of_environ(environ: Mapping[str, Any]) -> str:
        return str(environ.get("HTTP_X_REAL_CLIENT", ""))

    serve = getattr(served, f"{request.param}_host")
    client_ip = of_scope if request.param == "uvicorn" else of_environ
    indexes = served.indexes(service.issuer.url)
    with serve(service.address, indexes, client_ip=client_ip) as host:
        yield host


def from_(address: str) -> dict[str, Any]:
    return {"headers": [("X-Real-Client", address)]}


def test_a_repeated_request_gets_the_same_token(proxied: Host, service: Service) -> None:
    payload = {"token": service.issuer.id_token("pypi")}
    first = proxied.post(MINT, payload, **from_("192.0.2.1"))
    assert first.status == 200
    for _ in range(3):
        again = proxied.post(MINT, payload, **from_("192.0.2.1"))
        assert (again.status, again.json["token"]) == (200, first.json["token"])
    mapped = proxied.post(MINT, payload, **from_("::ffff:192.0.2.1"))
    assert mapped.json["token"] == first.json["token"]


@pytest.mark.parametrize("thief", ["192.0.2.2", "2001:db8::1", "", "not an address"])
def test_a_thief_elsewhere_is_refused(proxied: Host, service: Service, thief: str) -> None:
    payload = {"token": service.issuer.id_token("pypi")}
    assert proxied.post(MINT, payload, **from_("192.0.2.1")).status == 200
    stolen = proxied.post(MINT, payload, **from_(thief))
    assert stolen.status == 422
    assert stolen.json["errors"][0]["code"] == "invalid-reuse-token"


def test_where_addresses_are_unknown_no_one_gets_anothers_token(
    proxied: Host, service: Service
) -> None:
    payload = {"token": service.issuer.id_token("pypi")}
    assert proxied.post(MINT, payload, **from_("")).status == 200
    assert proxied.post(MINT, payload, **from_("")).status == 422


def test_a_repeated_request_for_something_else_is_refused(proxied: Host, service: Service) -> None:
    payload = {"token": service.issuer.id_token("pypi")}
    assert proxied.post(MINT, payload, **from_("192.0.2.1")).status == 200
    other = {**payload, "features": [mintage.SINGLE_USE]}
    assert proxied.post(MINT, other, **from_("192.0.2.1")).status == 422


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
@pytest.mark.parametrize("value", ["192.0.2.1", "192.0.2.1, 10.0.0.1", "for=192.0.2.1", ""])
def test_behind_an_unknown_proxy_a_stolen_id_token_gets_nothing(
    host: Host, service: Service, name: str, value: str
) -> None:
    """All come from the proxy's address, and what the header says anybody can say."""
    payload = {"token": service.issuer.id_token("pypi")}
    value = value or "unknown"
    assert host.post(MINT, payload, headers=[(name, value)]).status == 200
    assert host.post(MINT, payload, headers=[(name, value)]).status == 422
    assert host.post(MINT, payload, headers=[(name, "192.0.2.2")]).status == 422
    assert host.post(MINT, payload).status == 422


def test_without_a_proxy_the_other_end_is_the_client(host: Host, service: Service) -> None:
    payload = {"token": service.issuer.id_token("pypi")}
    first = host.post(MINT, payload)
    assert host.post(MINT, payload).json["token"] == first.json["token"]
    stranger = host.post(MINT, payload, headers=[("X-Forwarded-For", "192.0.2.2")])
    assert stranger.status == 422


def test_a_proxy_that_the_server_was_told_of_is_believed(service: Service) -> None:
    """uvicorn believes proxies on loopback, unless told otherwise."""
    indexes = served.indexes(service.issuer.url)
    with served.uvicorn_host(service.address, indexes, proxy_headers=True) as host:
        for address in ("192.0.2.1", "10.1.2.3"):
            payload = {"token": service.issuer.id_token("pypi")}
            from_there = {"headers": [("X-Forwarded-For", address)]}
            first = host.post(MINT, payload, **from_there)
            assert host.post(MINT, payload, **from_there).json["token"] == first.json["token"]
            stolen = host.post(MINT, payload, headers=[("X-Forwarded-For", "10.1.2.4")])
            assert stolen.status == 422


@pytest.mark.parametrize(
    ("address", "headers", "known"),
    [
        ("93.184.216.34", {}, True),
        ("93.184.216.34", {"x-forwarded-for": "192.0.2.1"}, True),
        ("10.0.0.1", {}, True),
        ("10.0.0.1", {"x-forwarded-for": "10.0.0.1"}, True),
        ("10.0.0.1", {"x-forwarded-for": "10.0.0.11"}, False),
        ("10.0.0.1", {"x-real-ip": "93.184.216.34"}, False),
        ("::1", {"forwarded": "for=93.184.216.34"}, False),
        ("", {"x-forwarded-for": "192.0.2.1"}, False),
        ("", {}, False),
    ],
)
def test_who_the_other_end_is(address: str, headers: dict[str, str], known: bool) -> None:
    assert peer(address, headers) == (address if known else "")


def test_an_unknown_proxy_is_told_to_the_operator_once(caplog: pytest.LogCaptureFixture) -> None:
    _warn.cache_clear()
    for _ in range(3):
        peer("127.0.0.1", {"x-forwarded-for": "192.0.2.1"})
    assert caplog.text.count("client_ip=") == 1


@pytest.mark.parametrize("kind", ["uvicorn", "waitress"])
def test_an_exception_of_client_ip_is_a_problem(service: Service, kind: str) -> None:
    def client_ip(_: Any) -> str:
        raise KeyError("x-real-client")

    serve = getattr(served, f"{kind}_host")
    indexes = served.indexes(service.issuer.url)
    with serve(service.address, indexes, client_ip=client_ip) as host:
        answer = host.post(MINT, {"token": service.issuer.id_token("pypi")})
        assert answer.status == 500
        assert answer.json["errors"][0]["code"] == "internal"


def test_a_lookup_that_waits_does_not_hold_up_the_event_loop(service: Service) -> None:
    looking, go_on = threading.Event(), threading.Event()

    def slow(claims: Mapping[str, Any]) -> Iterable[Publisher]:
        looking.set()
        assert go_on.wait(PATIENCE)
        yield served.publisher(service.issuer.url)

    statuses: list[int] = []
    with served.uvicorn_host(service.address, [Index(LEGACY, "pypi", slow, "pypi")]) as host:
        payload = {"token": service.issuer.id_token("pypi")}
        minting = threading.Thread(target=lambda: statuses.append(host.post(MINT, payload).status))
        minting.start()
        assert looking.wait(PATIENCE)
        assert host.ask("GET", "/_/oidc/audience").status == 200
        assert statuses == []
        go_on.set()
        minting.join(PATIENCE)
    assert statuses == [200]


def ask_async(service: Service, find: Any) -> int:
    async def ask() -> int:
        async with mintage.aio.Client(service.address) as client:
            endpoints = AsyncEndpoints(client, [Index(LEGACY, "pypi", find, "pypi")])
            body = json.dumps({"token": service.issuer.id_token("pypi")}).encode()
            response = await endpoints.handle(Request("POST", MINT, body=body))
            assert response is not None
            return response.status

    return asyncio.run(ask())


def test_a_lookup_may_be_a_coroutine_function(service: Service) -> None:
    async def find(claims: Mapping[str, Any]) -> list[Publisher]:
        await asyncio.sleep(0)
        return [served.publisher(service.issuer.url)]

    class Finder:
        async def __call__(self, claims: Mapping[str, Any]) -> list[Publisher]:
            return await find(claims)

    assert ask_async(service, find) == 200
    assert ask_async(service, lambda claims: find(claims)) == 200
    assert ask_async(service, Finder()) == 200


def test_a_lookup_that_returns_nothing_is_the_indexs_defect(service: Service) -> None:
    assert ask_async(service, lambda claims: None) == 500


def test_threads_take_no_coroutine_functions(client: mintage.Client) -> None:
    async def find(claims: Mapping[str, Any]) -> list[Publisher]:
        return []

    with pytest.raises(TypeError, match="AsyncEndpoints"):
        Endpoints(client, [Index(LEGACY, "pypi", find, "pypi")])


def test_an_index_without_a_name_is_the_clients(service: Service) -> None:
    legacy, _ = served.indexes(service.issuer.url)
    index = Index(LEGACY, "pypi", legacy.find_publishers)
    body = json.dumps({"token": service.issuer.id_token("pypi")}).encode()
    with mintage.Client(service.address, index="pypi") as client:
        endpoints = Endpoints(client, [index])
        for path in (MINT, "/_/oidc/burn-token"):
            response = endpoints.handle(Request("POST", path, body=body))
            assert response is not None
            assert response.status in (200, 202)


def test_a_path_of_somebody_else_is_none(client: mintage.Client, service: Service) -> None:
    endpoints = Endpoints(client, served.indexes(service.issuer.url))
    assert not endpoints.owns("/simple/")
    assert endpoints.handle(Request("GET", "/simple/")) is None


def test_the_older_path_mints_too(host: Host, service: Service) -> None:
    payload = {"token": service.issuer.id_token("pypi")}
    assert host.post("/_/oidc/github/mint-token", payload).status == 200
