"""PEP 807, requirement by requirement, against the ASGI and the WSGI application.

The client here is made of `http.client` and sends no header that a test doesn't name. Each test
says which numbers of `REQUIREMENTS` it holds. What binds the uploading client is in `CLIENTS`,
with the place where `mintage.exchange`, our own uploading client, is held to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import served
from asking import Answer, Host, assert_problem, discover
from served import LEGACY, OTHER, Service

import mintage
from mintage import MULTI_USE, SINGLE_USE, Access
from mintage.pep807 import Index, refused

REQUIREMENTS = {
    1: "every URL has a trustworthy origin",
    2: "every URL handed out has the host of the upload URL",
    3: "a request without Accept is answered as one that accepts PEP 807's media type",
    4: "any other Accept should be answered by 406; media ranges cover the type",
    5: "every 4xx and 5xx has a problem details object for a body",
    6: "the discovery key is the upload URL's path, percent-encoded; a trailing slash matters",
    7: "discovery is GET /.well-known/pytp?discover=<key>",
    8: "200 and an object where there is trusted publishing, else 404 or another 4xx or 5xx",
    9: "the object has audience-endpoint and token-mint-endpoint, strings",
    10: "it may have features and default-features; without the latter multi-use is assumed",
    11: "the audience endpoint answers 200 and an audience, or a 4xx or 5xx",
    12: "the client gets an identity token for exactly that audience",
    13: "minting is a POST of an object with token, and features where wanted",
    14: "without features the announced defaults hold",
    15: "success is 200 with token, and expires as a whole number of Unix seconds",
    16: "no token ends less than 900 s or more than 21,600 s after the request",
    17: "the client may use the end to decide when to refresh",
    18: "failure to mint is a 4xx or 5xx",
    19: "a single-use token is good for one upload, and every later one is refused",
    20: "a multi-use token may be used until it ends",
}

CLIENTS = {
    1: "test_01_an_upload_url_without_a_trustworthy_origin_is_a_wrong_command_line",
    2: "test_02_an_endpoint_elsewhere_is_refused_before_there_is_an_id_token",
    3: "test_03_every_request_accepts_the_media_type_of_the_pep",
    6: "test_06_07_the_discovery_key_is_the_percent_encoded_path",
    7: "test_06_07_the_discovery_key_is_the_percent_encoded_path",
    10: "test_10_defaults_are_taken_and_multi_use_is_asked_for_where_it_is_not_one",
    12: "test_11_12_the_id_token_is_for_exactly_the_audience",
    15: "test_15_without_a_sensible_end_the_token_is_printed_all_the_same",
}
"""The clients' halves, and where `mintage.exchange` is held to them, in tests/exchange."""

CLIENTS_ALONE = {12, 17}
"""What no index can be tested for. Of 17, a permission, `mintage.exchange` makes no use: it mints
for each run and keeps no token."""

PYTP = "application/vnd.pypi.pytp.v1+json"

held: dict[int, list[str]] = {}


def holds(*numbers: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks a test with the requirements that it holds the applications to."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        for number in numbers:
            held.setdefault(number, []).append(test.__name__)
        return test

    return mark


def test_every_requirement_is_held_or_is_the_clients_alone() -> None:
    assert list(REQUIREMENTS) == list(range(1, 21))
    assert set(held) | CLIENTS_ALONE == set(REQUIREMENTS)
    assert not set(held) & CLIENTS_ALONE


def test_the_clients_halves_are_held_where_it_says() -> None:
    exchange = Path(__file__).parent.parent / "exchange" / "test_exchange_pep807.py"
    tests = exchange.read_text()
    for name in CLIENTS.values():
        assert f"def {name}(" in tests


def mint(host: Host, service: Service, **payload: Any) -> Answer:
    body = {"token": service.issuer.id_token("pypi"), **payload}
    return host.post("/_/oidc/mint-token", body)


@holds(1, 2)
@pytest.mark.parametrize(
    ("asked", "origin"),
    [
        ("index.example", "https://index.example"),
        ("index.example:8443", "https://index.example:8443"),
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("192.0.2.7", "https://192.0.2.7"),
        ("127.0.0.1.example", "https://127.0.0.1.example"),
        ("localhost.example", "https://localhost.example"),
    ],
)
def test_urls_have_the_host_that_was_asked_and_are_trustworthy(
    host: Host, asked: str, origin: str
) -> None:
    found = discover(host, LEGACY, named=asked).json
    assert found["audience-endpoint"] == f"{origin}/_/oidc/audience"
    assert found["token-mint-endpoint"] == f"{origin}/_/oidc/mint-token"


@holds(3)
@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/pytp?discover=%2Flegacy%2F",
        "/.well-known/pytp?discover=%2Felsewhere",
        "/_/oidc/audience",
        "/other/_/oidc/audience",
    ],
)
def test_without_accept_the_answer_is_the_same(host: Host, path: str) -> None:
    with_accept = host.ask("GET", path, headers=[("Accept", PYTP)])
    without = host.ask("GET", path)
    assert (with_accept.status, with_accept.body) == (without.status, without.body)
    for name in ("content-type", "cache-control", "content-length"):
        assert with_accept.headers[name] == without.headers[name]


@holds(4)
@pytest.mark.parametrize(
    ("accept", "status", "content_type"),
    [
        (PYTP, 200, PYTP),
        ("*/*", 200, PYTP),
        ("application/*", 200, PYTP),
        ("application/json", 200, "application/json"),
        ("application/json, */*;q=0.5", 200, "application/json"),
        (f"{PYTP};q=0, */*", 200, "application/json"),
        (f"text/html, {PYTP};q=0.1", 200, PYTP),
        ("Application/VND.PyPI.pytp.v1+JSON", 200, PYTP),
        ("", 200, PYTP),
        ("text/html", 406, None),
        ("text/*", 406, None),
        ("application/xml, image/*", 406, None),
        ("application/vnd.pypi.pytp.v2+json", 406, None),
        ("*/*;q=0", 406, None),
        ("application/json;q=0, text/html", 406, None),
        ("application/*;q=0, */*", 406, None),
        ("json", 406, None),
    ],
)
def test_accept_is_negotiated(
    host: Host, accept: str, status: int, content_type: str | None
) -> None:
    for ask in (
        lambda headers: discover(host, LEGACY, headers=headers),
        lambda headers: host.ask("GET", "/_/oidc/audience", headers=headers),
    ):
        answer = ask([("Accept", accept)])
        assert answer.status == status
        if content_type is None:
            assert_problem(answer)
        else:
            assert answer.headers["content-type"] == content_type


@holds(4)
def test_an_accept_without_json_redeems_nothing(host: Host, service: Service) -> None:
    body = {"token": service.issuer.id_token("pypi")}
    first = host.post("/_/oidc/mint-token", body, headers=[("Accept", "text/html")])
    assert first.status == 406
    second = host.post("/_/oidc/mint-token", body, headers=[("Accept", "*/*")])
    assert second.status == 200


@holds(5)
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/.well-known/pytp?discover=%2Felsewhere", None, 404),
        ("GET", "/.well-known/pytp", None, 400),
        ("GET", "/.well-known/pytp?discover=a&discover=b", None, 400),
        ("POST", "/.well-known/pytp?discover=%2Flegacy%2F", b"{}", 405),
        ("POST", "/_/oidc/audience", b"{}", 405),
        ("GET", "/_/oidc/mint-token", None, 405),
        ("DELETE", "/_/oidc/burn-token", None, 405),
        ("OPTIONS", "/_/oidc/mint-token", None, 405),
        ("POST", "/_/oidc/mint-token", b"", 422),
        ("POST", "/_/oidc/mint-token", b"token=x", 422),
        ("POST", "/_/oidc/mint-token", b'{"token": "x.y.z"}', 422),
        ("POST", "/_/oidc/mint-token", b" " * (64 * 1024 + 1), 413),
        ("POST", "/_/oidc/burn-token", b"[]", 422),
        ("GET", "/nothing/here", None, 404),
    ],
)
def test_every_refusal_is_a_problem(
    host: Host, method: str, path: str, body: bytes | None, status: int
) -> None:
    answer = host.ask(method, path, body)
    assert answer.status == status
    assert_problem(answer)


@pytest.fixture(params=["uvicorn", "waitress"])
def lost(request: pytest.FixtureRequest, service: Service) -> Iterator[Host]:
    """Endpoints whose service is not there."""
    serve = getattr(served, f"{request.param}_host")
    with serve(f"127.0.0.1:{served.free_port()}", served.indexes(service.issuer.url)) as host:
        yield host


@holds(5, 18)
@pytest.mark.parametrize("endpoint", ["mint-token", "burn-token"])
def test_a_service_out_of_reach_is_503_with_a_time_to_come_back(
    lost: Host, service: Service, endpoint: str
) -> None:
    answer = lost.post(f"/_/oidc/{endpoint}", {"token": service.issuer.id_token("pypi")})
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json["errors"][0]["code"] == "unavailable"
    assert_problem(answer)


@holds(6, 7, 8)
@pytest.mark.parametrize(
    ("key", "endpoint"),
    [
        ("%2Flegacy%2F", "/_/oidc/mint-token"),
        ("%2flegacy%2f", "/_/oidc/mint-token"),
        ("%2Fother%2520index", "/other/_/oidc/mint-token"),
        ("%2Flegacy", None),
        ("%2Flegacy%2F%2F", None),
        ("%252Flegacy%252F", None),
        ("%2Fother%20index", None),
        ("%2Fother+index", None),
        ("%2FLEGACY%2F", None),
        ("%2Flegacy%2F%00", None),
        ("%2F.%2Flegacy%2F", None),
        ("", None),
        ("%2F", None),
    ],
)
def test_the_key_is_decoded_once_and_compared_exactly(
    host: Host, key: str, endpoint: str | None
) -> None:
    answer = host.ask("GET", f"/.well-known/pytp?discover={key}")
    if endpoint is None:
        assert answer.status == 404
        assert_problem(answer)
    else:
        assert answer.status == 200
        assert answer.json["token-mint-endpoint"].endswith(f":{host.port}{endpoint}")


@holds(6)
def test_an_upload_url_without_a_path_has_the_empty_key(service: Service) -> None:
    index = Index("", "pypi", lambda claims: [], name="pypi")
    with served.wsgiref_host(service.address, [index]) as host:
        assert discover(host, "").status == 200
        assert discover(host, "/").status == 404


@holds(8, 9, 10)
@pytest.mark.parametrize(("path", "default"), [(LEGACY, MULTI_USE), (OTHER, SINGLE_USE)])
def test_discovery_is_an_object_of_strings(host: Host, path: str, default: str) -> None:
    answer = discover(host, path)
    assert answer.status == 200
    found = answer.json
    assert isinstance(found["audience-endpoint"], str)
    assert isinstance(found["token-mint-endpoint"], str)
    assert found["features"] == [MULTI_USE, SINGLE_USE]
    assert found["default-features"] == [default]


@holds(10)
def test_default_features_are_among_the_features() -> None:
    with pytest.raises(ValueError, match="default_features"):
        Index("/", "pypi", lambda claims: [], default_features=(SINGLE_USE,))


@holds(11)
@pytest.mark.parametrize(("path", "audience"), [(LEGACY, "pypi"), (OTHER, "other")])
def test_the_audience_is_at_the_endpoint_that_discovery_named(
    host: Host, path: str, audience: str
) -> None:
    answer = host.ask("GET", _path(discover(host, path).json["audience-endpoint"]))
    assert (answer.status, answer.json) == (200, {"audience": audience})


@holds(11, 13)
@pytest.mark.parametrize(("path", "audience"), [(LEGACY, "pypi"), (OTHER, "other")])
def test_an_id_token_for_the_audience_mints_and_one_for_another_does_not(
    host: Host, service: Service, path: str, audience: str
) -> None:
    endpoint = _path(discover(host, path).json["token-mint-endpoint"])
    good = host.post(endpoint, {"token": service.issuer.id_token(audience)})
    assert good.status == 200
    bad = host.post(endpoint, {"token": service.issuer.id_token(f"not-{audience}")})
    assert bad.status == 422
    assert bad.json["errors"][0]["code"] == "invalid-token"


@holds(13, 18)
@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"token": None},
        {"token": ""},
        {"token": 7},
        {"token": ["x"]},
        {"features": [MULTI_USE]},
        {"token": "x.y.z", "features": MULTI_USE},
        {"token": "x.y.z", "features": [7]},
        {"token": "x.y.z", "features": {}},
        {"token": "x.y.z", "features": None},
        {"token": "x.y.z", "features": ["three-use-token"]},
        [],
        "token",
        None,
    ],
)
def test_a_payload_of_another_form_is_refused(host: Host, payload: object) -> None:
    answer = host.post("/_/oidc/mint-token", payload)
    assert answer.status == 422
    assert answer.json["errors"][0]["code"] == "invalid-payload"
    assert_problem(answer)


@holds(13)
def test_features_that_contradict_each_other_redeem_nothing(host: Host, service: Service) -> None:
    token = service.issuer.id_token("pypi")
    both = {"token": token, "features": [MULTI_USE, SINGLE_USE]}
    assert host.post("/_/oidc/mint-token", both).status == 422
    assert host.post("/_/oidc/mint-token", {"token": token}).status == 200


@holds(14, 19, 20)
@pytest.mark.parametrize(
    ("path", "features", "in_force"),
    [
        (LEGACY, None, MULTI_USE),
        (LEGACY, [], MULTI_USE),
        (LEGACY, [MULTI_USE], MULTI_USE),
        (LEGACY, [SINGLE_USE], SINGLE_USE),
        (OTHER, None, SINGLE_USE),
        (OTHER, [MULTI_USE], MULTI_USE),
    ],
)
def test_the_features_in_force_are_those_asked_for_or_the_announced_defaults(
    host: Host,
    service: Service,
    client: mintage.Client,
    path: str,
    features: list[str] | None,
    in_force: str,
) -> None:
    found = discover(host, path).json
    audience = host.ask("GET", _path(found["audience-endpoint"])).json["audience"]
    payload: dict[str, Any] = {"token": service.issuer.id_token(audience)}
    if features is not None:
        payload["features"] = features
    minted = host.post(_path(found["token-mint-endpoint"]), payload).json
    uploads = [upload(client, audience, minted["token"], n) for n in range(3)]
    assert uploads[0].allowed
    for later in uploads[1:]:
        assert later.allowed == (in_force == MULTI_USE)
        if not later.allowed:
            assert refused(later).status == 403


def upload(client: mintage.Client, index: str, token: str, number: int) -> mintage.Verification:
    """What an index's upload endpoint asks, for one of several files."""
    access = Access(
        served.PROJECT, ("p1",), version="1.0", filename=f"sampleproject-1.0-{number}-any.whl"
    )
    return client.verify(token, access, index=index)


@holds(15, 16)
def test_success_has_the_token_and_an_end_within_bounds(host: Host, service: Service) -> None:
    before = time.time()
    answer = mint(host, service)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json["success"] is True
    assert isinstance(answer.json["token"], str)
    assert type(answer.json["expires"]) is int
    assert answer.json["expires"] >= before + 900
    assert answer.json["expires"] <= time.time() + 21_600


@holds(16)
@pytest.mark.parametrize("seconds", [0, 899, 21_601])
def test_an_index_cannot_have_a_lifetime_outside_the_bounds(seconds: int) -> None:
    with pytest.raises(ValueError, match="lifetime"):
        Index("/", "pypi", lambda claims: [], lifetime=timedelta(seconds=seconds))


@holds(16)
@pytest.mark.parametrize("seconds", [900, 21_600])
def test_an_index_can_choose_its_lifetime(service: Service, seconds: int) -> None:
    legacy, _ = served.indexes(service.issuer.url)
    index = Index(
        LEGACY, "pypi", legacy.find_publishers, "pypi", lifetime=timedelta(seconds=seconds)
    )
    with served.waitress_host(service.address, [index]) as host:
        before = time.time()
        expires = mint(host, service).json["expires"]
        after = time.time()
    assert abs(expires - before - seconds) < after - before + 2
    assert before + 900 <= expires <= after + 21_600


@holds(18)
@pytest.mark.parametrize(
    ("claims", "code", "telling"),
    [
        ({"repository": "octo/other"}, "invalid-publisher", "octo/sampleproject"),
        ({"repository": "stranger/other"}, "invalid-publisher", "stranger/other"),
        ({"event_name": "pull_request_target"}, "invalid-publisher", "pull_request_target"),
        ({"iat": 10**9, "nbf": 10**9, "exp": 10**9 + 1}, "invalid-token", "expired"),
        ({"iss": "https://issuer.invalid"}, "invalid-payload", "issuer.invalid"),
    ],
)
def test_a_refused_mint_says_why_in_a_sentence(
    host: Host, service: Service, claims: dict[str, Any], code: str, telling: str
) -> None:
    answer = mint(host, service, token=service.issuer.id_token("pypi", **claims))
    assert answer.status == 422
    assert_problem(answer)
    error = answer.json["errors"][0]
    assert error["code"] == code
    assert telling in error["description"]
    assert error["description"][0].isupper()
    assert error["description"].endswith(".")


@holds(18)
def test_an_id_token_that_was_used_elsewhere_is_refused(
    host: Host, service: Service, client: mintage.Client
) -> None:
    token = service.issuer.id_token("pypi")
    client.mint_for_publisher(token, [served.publisher(service.issuer.url)], index="pypi")
    answer = mint(host, service, token=token)
    assert answer.status == 422
    assert answer.json["errors"][0]["code"] == "invalid-reuse-token"


def _path(url: str) -> str:
    return "/" + url.split("/", 3)[3]
