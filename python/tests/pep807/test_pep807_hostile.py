"""What strangers may send to a web server, and what must come back: a small JSON refusal."""

from __future__ import annotations

import json
import logging
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import served
from asking import PATIENCE, Answer, Host, assert_problem, discover
from served import LEGACY, Service

import mintage
import mintage.wsgi
from mintage.pep807 import Endpoints, Index, Request

MINT = "/_/oidc/mint-token"


@pytest.mark.parametrize(
    "asked",
    [
        "index.example/evil",
        "index.example@evil.example",
        "user:password@index.example",
        "index.example?x",
        "index.example#x",
        "index.example:",
        "index.example:port",
        "index.example:123456",
        "index.example, evil.example",
        "index.example evil.example",
        "[::1",
        "[evil.example]",
        '"index.example"',
        "index.example\\evil",
        "index.example%2Fevil",
        "<script>",
        "a" * 256,
    ],
)
def test_a_host_that_is_none_gets_no_urls(host: Host, asked: str) -> None:
    answer = discover(host, LEGACY, named=asked)
    assert answer.status == 400
    if "content-type" in answer.headers and "json" in answer.headers["content-type"]:
        assert_problem(answer)
    assert b"mint-token" not in answer.body


def test_a_second_host_header_gets_no_urls(host: Host) -> None:
    answer = discover(host, LEGACY, named="index.example", headers=[("Host", "evil.example")])
    assert b"evil.example/_/oidc" not in answer.body or answer.status == 400


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "X-Forwarded-Server", "Forwarded", "X-Host"])
def test_forwarded_headers_are_not_read(host: Host, name: str) -> None:
    headers = [(name, "host=evil.example" if name == "Forwarded" else "evil.example")]
    answer = discover(host, LEGACY, named="index.example", headers=headers)
    assert answer.json["audience-endpoint"] == "https://index.example/_/oidc/audience"


def test_a_fixed_base_url_ignores_the_host_header(service: Service) -> None:
    for serve in (served.uvicorn_host, served.waitress_host):
        indexes = served.indexes(service.issuer.url)
        with serve(service.address, indexes, base_url="https://index.example") as host:
            for asked in ("evil.example", "127.0.0.1", "<script>"):
                found = discover(host, LEGACY, named=asked).json
                assert found["token-mint-endpoint"] == f"https://index.example{MINT}"


@pytest.mark.parametrize(
    "base_url",
    [
        "index.example",
        "ftp://index.example",
        "https://",
        "https://index.example/path",
        "https://user@index.example",
        "https://index.example?x",
        "https://index.example#x",
        "https://index.example\r\nx: y",
        "",
    ],
)
def test_a_base_url_is_a_scheme_and_a_host(base_url: str, client: mintage.Client) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Endpoints(client, [Index("/", "pypi", lambda claims: [])], base_url=base_url)


@pytest.mark.parametrize(
    "path",
    [
        "/_//oidc/mint-token",
        "/_/oidc/mint-token/",
        "/_/oidc/./mint-token",
        "/_/oidc/%2e/mint-token",
        "/_/oidc/x/../mint-token",
        "/_/oidc/x/%2e%2e/mint-token",
        "/_/oidc/mint-token;x",
        "/_/oidc/mint-token%00",
        "/_/oidc/mint-token%20",
        "/_/oidc/mint-token%0a",
        "/_/oidc/%6dint-token%252f",
        "/_/OIDC/mint-token",
        "/x/_/oidc/mint-token",
        "/other/_/oidc/mint-token/_/oidc/mint-token",
        "/_/oidc/mint-token%ff",
        "/_/oidc/gitlab/mint-token",
        "/.well-known/pytp/",
        "/.well-known//pytp",
        "/.WELL-KNOWN/pytp",
    ],
)
def test_only_the_exact_path_is_an_endpoint(host: Host, service: Service, path: str) -> None:
    answer = host.post(path, {"token": service.issuer.id_token("pypi")})
    assert answer.status in (400, 404)
    assert b'"token"' not in answer.body


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "post"]
)
def test_only_post_mints(host: Host, service: Service, method: str) -> None:
    body = json.dumps({"token": service.issuer.id_token("pypi")}).encode()
    answer = host.ask(method, MINT, body)
    if method == "post" and answer.status == 200:
        return  # some servers read any spelling as POST, and then it is one
    assert answer.status in (405, 400, 501)
    if answer.status == 405:
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/_/oidc/audience", "/.well-known/pytp?discover=%2Flegacy%2F"])
def test_head_is_get_without_its_body(host: Host, path: str) -> None:
    got, headed = host.ask("GET", path), host.ask("HEAD", path)
    assert headed.status == 200
    assert headed.body == b""
    assert headed.headers["content-length"] == got.headers["content-length"]
    assert host.ask("PUT", path).headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/_/oidc/audience", "/_/oidc/mint-token", "/nothing"])
def test_an_answer_to_head_ends_with_its_headers(host: Host, path: str) -> None:
    request = f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", host.port), timeout=PATIENCE) as connection:
        connection.sendall(request.encode())
        received = b"".join(iter(lambda: connection.recv(4096), b""))
    assert received.startswith(b"HTTP/1.")
    assert received.endswith(b"\r\n\r\n")


def test_the_endpoints_themselves_answer_head_without_a_body(client: mintage.Client) -> None:
    endpoints = Endpoints(client, [Index("/", "pypi", lambda claims: [])])
    for path in ("/_/oidc/audience", "/_/oidc/mint-token"):
        response = endpoints.handle(Request("HEAD", path))
        assert response is not None
        assert response.body == b""
        assert int(dict(response.headers)["Content-Length"]) > 0


def test_two_slashes_in_front_are_another_path(client: mintage.Client) -> None:
    """Asked of the application itself: wsgiref and waitress take one of them away."""
    application = mintage.wsgi.Application(client, [Index("/", "pypi", lambda claims: [])])
    statuses: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "//_/oidc/audience"}
    application(environ, lambda status, headers, error=None: statuses.append(status))  # type: ignore
    assert statuses[0].startswith("404 ")


def test_a_body_beyond_the_bound_is_refused_unread(host: Host) -> None:
    """But for waitress, which hands no request on before it has all of it."""
    length = 10**9 if host.streams else 70 * 1024
    head = f"POST {MINT} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    try:
        answer = host.raw(head.encode() + b"x" * (70 * 1024))
    except ConnectionResetError:
        return  # the server closed before all was sent; that is its right
    assert answer.status == 413


def chunks(body: bytes, size: int = 1_000) -> bytes:
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def chunked(host: Host, body: bytes) -> Answer:
    head = f"POST {MINT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return host.raw(head.encode() + chunks(body))


def test_a_chunked_body_is_read_or_refused_in_json(host: Host, service: Service) -> None:
    body = json.dumps({"token": service.issuer.id_token("pypi")}).encode()
    answer = chunked(host, body)
    assert answer.status in (200, 411)
    if answer.status == 411:
        assert_problem(answer)


def test_a_chunked_body_has_the_same_bound(host: Host) -> None:
    answer = chunked(host, b" " * (64 * 1024 + 1))
    assert answer.status in (413, 411)
    assert_problem(answer)


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "+5", " ", "5, 5", "٣", "9" * 40])
def test_a_content_length_that_is_none_is_refused(host: Host, length: str) -> None:
    request = f"POST {MINT} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    try:
        answer = host.raw(request.encode() + b"{}   ")
    except (OSError, ValueError):
        return  # closed without an answer
    assert 400 <= answer.status < 500


@pytest.mark.parametrize("endpoint", ["mint-token", "burn-token"])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 65_000,
        b'{"a":' * 13_000,
        b'{"token": "x", "a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"token": "\\ud800"}',
        b'{"token": "x", "token": "y"}',
        b'{"token": NaN}',
        b'{"token": 1e999}',
        b"\x1f\x8b\x08\x00" * 100,
    ],
)
def test_json_bombs_are_refused(host: Host, endpoint: str, body: bytes) -> None:
    answer = host.ask("POST", f"/_/oidc/{endpoint}", body)
    assert answer.status == 422
    assert_problem(answer)


@pytest.mark.parametrize("token", ["", "x", "pypi-", "pypi-AgE", "é", "x" * 60_000, "\n", "a:b"])
def test_burning_tells_nothing_about_a_token(host: Host, token: str) -> None:
    answer = host.post("/_/oidc/burn-token", {"token": token or "0"})
    assert (answer.status, answer.json) == (202, {})


def test_a_burned_token_is_revoked(host: Host, service: Service, client: mintage.Client) -> None:
    minted = host.post(MINT, {"token": service.issuer.id_token("pypi")}).json["token"]
    access = mintage.Access(served.PROJECT, ("p1",))
    assert client.verify(minted, access, index="pypi")
    for _ in range(2):
        assert host.post("/_/oidc/burn-token", {"token": minted}).status == 202
    denied = client.verify(minted, access, index="pypi")
    assert [denial.reason for denial in denied.denials] == [mintage.Reason.TOKEN_REVOKED]


def test_a_token_of_one_index_is_not_burned_at_another(
    host: Host, service: Service, client: mintage.Client
) -> None:
    minted = host.post(MINT, {"token": service.issuer.id_token("pypi")}).json["token"]
    assert host.post("/other/_/oidc/burn-token", {"token": minted}).status == 202
    assert client.verify(minted, mintage.Access(served.PROJECT, ("p1",)), index="pypi")


def test_an_exception_of_the_lookup_is_a_problem_and_no_page(host: Host, service: Service) -> None:
    token = service.issuer.id_token("pypi", ref="refs/heads/broken")
    answer = host.post(MINT, {"token": token})
    assert answer.status == 500
    assert_problem(answer)
    assert "database" not in answer.body.decode()
    good = service.issuer.id_token("pypi")
    assert host.post(MINT, {"token": good}).status == 200


@pytest.fixture
def broken(service: Service) -> Iterator[Any]:
    """A client that a defect of ours or a new gRPC lets raise what nobody foresaw."""

    class Broken(mintage.Client):
        def mint_for_publisher(self, id_token: str, *_: Any, **__: Any) -> Any:
            raise TypeError(f"cannot encode {id_token}")

        def revoke(self, token: Any = None, **_: Any) -> Any:
            raise TypeError(f"cannot encode {token}")

    with Broken(service.address) as client:
        yield client


@pytest.mark.parametrize("endpoint", ["mint-token", "burn-token"])
def test_an_unforeseen_exception_is_logged_without_the_token(
    broken: Any, service: Service, caplog: pytest.LogCaptureFixture, endpoint: str
) -> None:
    token = service.issuer.id_token("pypi")
    endpoints = Endpoints(broken, served.indexes(service.issuer.url))
    body = json.dumps({"token": token}).encode()
    with caplog.at_level(logging.DEBUG):
        response = endpoints.handle(Request("POST", f"/_/oidc/{endpoint}", body=body))
    assert response is not None
    assert response.status == 500
    assert "TypeError" in caplog.text
    for part in token.split("."):
        assert part not in caplog.text
        assert part not in response.body.decode()


def test_the_lookups_exception_is_logged_without_the_token(
    service: Service, client: mintage.Client, caplog: pytest.LogCaptureFixture
) -> None:
    token = service.issuer.id_token("pypi", ref="refs/heads/broken")
    endpoints = Endpoints(client, served.indexes(service.issuer.url))
    body = json.dumps({"token": token}).encode()
    with caplog.at_level(logging.DEBUG):
        response = endpoints.handle(Request("POST", MINT, body=body))
    assert response is not None
    assert response.status == 500
    assert "the database is gone" in caplog.text
    assert not any(part in caplog.text for part in token.split("."))


def test_more_publishers_than_the_service_takes_is_the_indexs_defect(
    service: Service, client: mintage.Client, caplog: pytest.LogCaptureFixture
) -> None:
    def endless(claims: Any) -> Iterator[mintage.Publisher]:
        while True:
            yield served.publisher(service.issuer.url)

    endpoints = Endpoints(client, [Index("/", "pypi", endless, "pypi")])
    body = json.dumps({"token": service.issuer.id_token("pypi")}).encode()
    response = endpoints.handle(Request("POST", MINT, body=body))
    assert response is not None
    assert response.status == 500
    assert "more than 256" in caplog.text


PIECES: dict[str, list[Any]] = {
    "method": [*["GET", "POST"] * 4, "HEAD", "get", "", "\r\n", "GET\0"],
    "path": ["/.well-known/pytp", "/_/oidc/audience", MINT, "/_/oidc/burn-token"],
    "query": ["", "discover", "discover=", "discover=%", "discover=%2Flegacy%2F", "&&=", "\udc80",
              "discover=\udc80", "discover=%ff", "=" * 5_000, "discover=" + "%25" * 5_000],
    "accept": [*["", "*/*"] * 5, ";q=", "a/b;q=1;q", "\udc80", ",,,", "*/*;q=0." + "0" * 999],
    "host": ["", "x", "\udc80", "é", "[", "x:y", "\r\nx: y", "x" * 70_000],
    "agent": ["", "\udc80", "é" * 9_000, "\0\r\n"],
    "ip": ["", "192.0.2.1", "\udc80", "%", "::%" * 999, "1" * 5_000, "\0"],
    "scheme": ["http", "https", "", "\udc80"],
    "body": [b"", b"{}", b'{"token": "a.e30.b"}', b'{"token": "\\udc80"}', b"[" * 70_000, b"\xff",
             b'{"token": "pypi-AgE"}', b'{"token": "x", "features": ["\\u0000"]}', b'{"token": 1}'],
}  # fmt: skip


def test_no_request_makes_the_endpoints_raise(service: Service, client: mintage.Client) -> None:
    endpoints = Endpoints(client, served.indexes(service.issuer.url))
    chance = random.Random(807)
    for number in range(3_000):
        one = {name: chance.choice(pieces) for name, pieces in PIECES.items()}
        request = Request(
            one["method"],
            one["path"],
            one["query"],
            {"accept": one["accept"], "host": one["host"], "user-agent": one["agent"]},
            one["body"],
            one["ip"],
            one["scheme"],
        )
        response = endpoints.handle(request)
        assert response is not None, number
        assert response.status in (200, 202, 400, 404, 405, 406, 413, 422), one
        assert all("\n" not in f"{name}{value}" for name, value in response.headers), one
        assert one["method"] == "HEAD" or isinstance(json.loads(response.body), dict), one


def test_two_indexes_cannot_answer_for_one_path(client: mintage.Client) -> None:
    def index(upload_path: str, prefix: str) -> Index:
        return Index(upload_path, "pypi", lambda claims: [], prefix=prefix)

    for prefix in ("/_/oidc", "/_/oidc/github"):
        with pytest.raises(ValueError, match="same path"):
            Endpoints(client, [index("/a", "/_/oidc"), index("/b", prefix)])
    with pytest.raises(ValueError, match="upload_path"):
        Endpoints(client, [index("/a", "/_/oidc"), index("/a", "/x")])
    with pytest.raises(ValueError, match="no index"):
        Endpoints(client, [])


@pytest.mark.parametrize(
    "prefix",
    ["", "/", "x", "/x/", "//x", "/x//y", "/x/../y", "/./x", "/x%2Fy", "/é", "/x?y", "/x\n"],
)
def test_a_prefix_is_a_plain_path(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        Index("/", "pypi", lambda claims: [], prefix=prefix)


@pytest.mark.parametrize("path", ["legacy/", "/le gacy/", "/x?y", "/x#y", "/é", "/x\n"])
def test_an_upload_path_is_the_path_of_a_url(path: str) -> None:
    with pytest.raises(ValueError, match="upload_path"):
        Index(path, "pypi", lambda claims: [])
