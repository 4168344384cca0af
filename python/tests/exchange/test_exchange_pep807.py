"""What PEP 807 makes a client do, numbered as the requirements are, against real servers: where
an ID token may go, what is believed, and what is tried again.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator
from typing import Any

import pytest
from exchange_index import (
    NOT_FOUND,
    Authority,
    GitHub,
    Pep807,
    Reply,
    Run,
    Server,
    jwt,
    problem,
    refused,
    said,
)

from mintage.exchange._origin import UploadUrl

# Everywhere (1 to 5).


@pytest.mark.parametrize(
    "url",
    [
        "http://index.example/legacy/",
        "http://10.0.0.1/legacy/",
        "http://127.0.0.1.example/legacy/",
        "http://127.1/",
        "http://localhost.example/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "//127.0.0.1/legacy/",
        "127.0.0.1/legacy/",
        "https:///legacy/",
        "https://user:secret@127.0.0.1/",
        "http://127.0.0.1:80@index.example/",
        "http://[::1].index.example/",
        "http://127.0.0.1\\@index.example/",
        "https://127.0.0.1:0/",
        "https://127.0.0.1:99999/",
        "https://index.example/a b",
        "https://index.example/\n",
        "https://index.example/#x",
        "https://índex.example/",
        "",
    ],
)
def test_01_an_upload_url_without_a_trustworthy_origin_is_a_wrong_command_line(
    run: Run, url: str, github: GitHub
) -> None:
    done = run(url)
    assert done.returncode == 2, done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert not github.issued


@pytest.mark.parametrize("url", ["http://localhost/", "http://[::1]:8080/a", "https://a.b/"])
def test_01_https_and_loopback_are_trustworthy(url: str) -> None:
    assert UploadUrl.parse(url).text == url


def test_01_a_host_that_the_user_trusts_may_be_spoken_to_in_plain_http(run: Run) -> None:
    done = run("http://unresolvable.invalid/", "--trust-host", "Unresolvable.INVALID")
    assert done.returncode == 1
    assert "the index's discovery gives no answer" in done.stderr


@pytest.mark.parametrize("name", ["audience-endpoint", "token-mint-endpoint"])
@pytest.mark.parametrize(
    "endpoint, words",
    [
        ("http://localhost:{port}/trust/mint", "is on another host (localhost)"),
        ("https://127.0.0.2/trust/mint", "is on another host (127.0.0.2)"),
        ("https://evil.example/127.0.0.1", "is on another host (evil.example)"),
        ("https://127.0.0.1.evil.example/", "is on another host (127.0.0.1.evil.example)"),
        ("http://evil.example/", "is plain http"),
        ("http://127.0.0.1:{port}@evil.example/", "user or password"),
        ("http://127.0.0.1\\.evil.example/", "is not an absolute http or https URL"),
        ("http://[::ffff:127.0.0.1].evil.example/", "is not an absolute http or https URL"),
        ("/trust/mint", "is not an absolute http or https URL"),
        ("//127.0.0.1:{port}/trust/mint", "is not an absolute http or https URL"),
        ("file:///etc/passwd", "is not an absolute http or https URL"),
        ("http://127.0.0.1:{port}/a\tb", "is not an absolute http or https URL"),
        ("http://127.0.0.1:nan/", "is not an absolute http or https URL"),
        ("", "is not an absolute http or https URL"),
        (None, 'has no "'),
        (7, 'has no "'),
    ],
)
def test_02_an_endpoint_elsewhere_is_refused_before_there_is_an_id_token(
    run: Run, index: Pep807, github: GitHub, name: str, endpoint: Any, words: str
) -> None:
    if isinstance(endpoint, str):
        endpoint = endpoint.replace("{port}", str(index.server.port))
    index.discovery = [Reply(document=index.document(**{name: endpoint}))]
    refused(run(index.upload_url), words)
    assert not github.issued and len(index.server.asked) == 1


def test_02_an_endpoint_may_have_another_port_of_the_same_host(
    run: Run, index: Pep807, upload_token: str
) -> None:
    other = Pep807(upload_token)
    try:
        index.discovery = [Reply(document=other.document())]
        assert run(index.upload_url).stdout == upload_token + "\n"
        assert len(other.minted()) == 1 and not index.minted()
    finally:
        other.server.close()


def test_02_no_endpoint_leads_from_https_to_plain_http(
    run: Run, authority: Authority, upload_token: str, github: GitHub
) -> None:
    index = Pep807(upload_token, tls=authority.server_side)
    try:
        down = index.server.url.replace("https:", "http:") + "/trust/mint"
        index.discovery = [Reply(document=index.document(**{"token-mint-endpoint": down}))]
        done = run(index.upload_url, SSL_CERT_FILE=str(authority.file))
        refused(done, "leads from https to plain http")
        assert not github.issued
    finally:
        index.server.close()


def test_03_every_request_accepts_the_media_type_of_the_pep(run: Run, index: Pep807) -> None:
    assert run(index.upload_url).returncode == 0
    accepted = [one.headers["accept"] for one in index.server.asked]
    assert accepted == ["application/vnd.pypi.pytp.v1+json"] * 3


@pytest.mark.parametrize(
    "reply, words",
    [
        (problem(403, "not for you"), "answered 403: not for you"),
        (
            problem(422, "d", errors=[{"code": "c", "description": "first"}, {"description": "2"}]),
            "answered 422: first; 2",
        ),
        (Reply(422, {"message": "m", "errors": "x"}), "answered 422: m"),
        (Reply(400, {"title": "t", "detail": 7}), "answered 400: t"),
        (Reply(400, {}), "answered 400 (Bad Request) and doesn't say why"),
        (Reply(403, raw=b"<html>"), "answered 403 (Forbidden) and doesn't say why"),
        (Reply(418, raw=b"\xff"), "answered 418 (I'm a Teapot) and doesn't say why"),
        (Reply(400, raw=b"[" * 60_000), "answered 400 (Bad Request) and doesn't say why"),
        (Reply(299, {}), "answered 299 (an unknown status) and doesn't say why"),
    ],
)
@pytest.mark.parametrize("where", ["discovery", "audience", "mint"])
def test_05_a_refusal_is_told_in_the_index_s_words(
    run: Run, index: Pep807, where: str, reply: Reply, words: str
) -> None:
    setattr(index, where, [reply])
    refused(run(index.upload_url), words)


# Discovery (6 to 10).


@pytest.mark.parametrize(
    "path, key",
    [
        ("/legacy/", "%2Flegacy%2F"),
        ("/legacy", "%2Flegacy"),
        ("", ""),
        ("/", "%2F"),
        ("/a%20b/~c;d/", "%2Fa%2520b%2F~c%3Bd%2F"),
        ("/a+b&c=d/", "%2Fa%2Bb%26c%3Dd%2F"),
    ],
)
def test_06_07_the_discovery_key_is_the_percent_encoded_path(
    run: Run, index: Pep807, path: str, key: str
) -> None:
    index.path = path
    assert run(index.upload_url).returncode == 0
    assert index.server.targets()[0] == f"/.well-known/pytp?discover={key}"


def test_08_where_discovery_says_no_nothing_else_is_tried(
    run: Run, index: Pep807, github: GitHub
) -> None:
    refused(run(index.server.url + "/legacy"), 'no trusted publishing for the path "/legacy"')
    assert len(index.server.asked) == 1 and not github.issued


@pytest.mark.parametrize(
    "reply",
    [
        NOT_FOUND,
        Reply(404, raw=b""),
        Reply(404, {"detail": "Not Found"}),
        Reply(404, raw=b"not json", headers={"Content-Type": "application/problem+json"}),
    ],
)
def test_08_a_server_that_does_not_know_the_pep_is_asked_at_its_root_paths(
    run: Run, index: Pep807, upload_token: str, reply: Reply
) -> None:
    index.discovery = [reply]
    done = run(index.upload_url)
    assert done.stdout == upload_token + "\n"
    assert "its root paths /_/oidc/ are taken" in said(done)
    assert index.server.targets()[1:] == ["/_/oidc/audience", "/_/oidc/mint-token"]


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 405, 406, 410])
def test_08_no_other_failure_of_discovery_leads_to_the_root_paths(
    run: Run, index: Pep807, status: int
) -> None:
    index.discovery = [Reply(status, raw=b"")]
    refused(run(index.upload_url), f"the index's discovery answered {status}")
    assert len(index.server.asked) == 1


@pytest.mark.parametrize("body", [b"<html></html>", b"[]", b"", b"\xff", b"null", b'{"a":1'])
def test_09_discovery_without_a_json_object_is_refused(
    run: Run, index: Pep807, body: bytes
) -> None:
    index.discovery = [Reply(raw=body)]
    refused(run(index.upload_url), "answered 200 with something else than a JSON object")


def test_root_paths_can_be_asked_for_without_discovery(
    run: Run, index: Pep807, upload_token: str
) -> None:
    assert run(index.upload_url, "--root-paths").stdout == upload_token + "\n"
    assert index.server.targets() == ["/_/oidc/audience", "/_/oidc/mint-token"]


def test_a_host_without_any_trusted_publishing_says_so(run: Run, index: Pep807) -> None:
    index.discovery, index.audience = [NOT_FOUND], [NOT_FOUND]
    refused(run(index.upload_url), "the index has no trusted publishing: ")


@pytest.mark.parametrize(
    "more, asked_for",
    [
        ({}, None),
        ({"features": ["multi-use-token"], "default-features": None}, None),
        ({"features": None, "default-features": None}, None),
        (
            {"features": ["multi-use-token", "x"], "default-features": ["single-use-token"]},
            ["multi-use-token"],
        ),
    ],
)
def test_10_defaults_are_taken_and_multi_use_is_asked_for_where_it_is_not_one(
    run: Run, index: Pep807, more: dict[str, Any], asked_for: list[str] | None
) -> None:
    index.discovery = [Reply(document=index.document(**more))]
    assert run(index.upload_url).returncode == 0
    assert index.minted()[0].json().get("features") == asked_for


@pytest.mark.parametrize("features", ["multi-use-token", [1], {"a": 1}, 7])
def test_10_features_of_another_type_are_refused(
    run: Run, index: Pep807, features: Any
) -> None:
    index.discovery = [Reply(document=index.document(features=features))]
    refused(run(index.upload_url), "is no list of strings")


# Audience (11, 12).


def test_11_12_the_id_token_is_for_exactly_the_audience(
    run: Run, index: Pep807, github: GitHub
) -> None:
    index.audience = [Reply(document={"audience": "other index"})]
    refused(run(index.upload_url), "named no audience")
    index.audience = [Reply(document={"audience": "https://index.example/?a=b&c"})]
    assert run(index.upload_url).returncode == 0
    assert github.issued == [jwt("https://index.example/?a=b&c")]


@pytest.mark.parametrize(
    "document", [{}, {"audience": None}, {"audience": ["a"]}, {"audience": ""}]
)
def test_11_an_answer_without_an_audience_is_refused(
    run: Run, index: Pep807, document: Any
) -> None:
    index.audience = [Reply(document=document)]
    refused(run(index.upload_url), "named no audience")


# Minting (13 to 18) and features (19, 20).


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"token": None},
        {"token": ""},
        {"token": "a b"},
        {"token": "a\n::add-path::x"},
        {"token": "::stop-commands::x"},
        {"token": "a##[error]"},
        {"token": "é"},
        {"token": "a" * 16_385},
        {"token": ["a"]},
        {"token": "a", "expires": "tomorrow"},
        {"token": "a", "expires": True},
        {"token": "a", "expires": 1.5},
    ],
)
def test_15_an_answer_that_is_no_upload_token_is_refused(
    run: Run, index: Pep807, document: Any
) -> None:
    index.mint = [Reply(document=document)]
    refused(run(index.upload_url), "the index's mint endpoint answered")


@pytest.mark.parametrize("expires", [None, 0, -1, 2**63, 10**300])
def test_15_without_a_sensible_end_the_token_is_printed_all_the_same(
    run: Run, index: Pep807, expires: int | None, upload_token: str
) -> None:
    index.mint = [Reply(document={"token": upload_token, "expires": expires})]
    done = run(index.upload_url)
    assert done.stdout == upload_token + "\n" and "got an upload token, good" in said(done)


def test_19_a_single_use_token_is_asked_for(run: Run, index: Pep807) -> None:
    done = run(index.upload_url, "--single-use")
    assert done.returncode == 0
    assert index.minted()[0].json()["features"] == ["single-use-token"]
    assert "good for one upload until" in said(done)


@pytest.mark.parametrize("argument", [(), ("--root-paths",)])
def test_19_where_the_index_does_not_announce_single_use_nothing_is_minted(
    run: Run, index: Pep807, github: GitHub, argument: tuple[str, ...]
) -> None:
    index.discovery = [Reply(document=index.document(features=["multi-use-token"]))]
    done = run(index.upload_url, "--single-use", *argument)
    refused(done, "doesn't say that it has single-use tokens")
    assert not github.issued and not index.minted()


# Redirects, and where the ID token may go.


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    server = Server(lambda asked: Reply(document={"token": "stolen", "audience": "pypi"}))
    yield server
    server.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["discovery", "audience", "mint"])
def test_no_redirect_is_followed(
    run: Run, index: Pep807, elsewhere: Server, where: str, status: int
) -> None:
    to = {"Location": f"{elsewhere.url}/take"}
    setattr(index, where, [Reply(status, raw=b"", headers=to)])
    refused(run(index.upload_url), f"answered {status}, a redirect to {elsewhere.url}/take")
    assert not elsewhere.asked


def test_a_proxy_never_sees_what_is_for_loopback(
    run: Run, index: Pep807, elsewhere: Server, upload_token: str
) -> None:
    proxies = {"http_proxy": elsewhere.url, "HTTP_PROXY": elsewhere.url}
    assert run(index.upload_url, **proxies).stdout == upload_token + "\n"
    assert not elsewhere.asked


def test_a_proxy_is_used_for_other_hosts(run: Run, elsewhere: Server) -> None:
    run("http://index.example/", "--trust-host", "index.example", http_proxy=elsewhere.url)
    assert elsewhere.targets() == ["http://index.example/.well-known/pytp?discover=%2F"]


# HTTPS.


def test_https_with_an_authority_of_ones_own(
    command: Run, authority: Authority, upload_token: str
) -> None:
    index = Pep807(upload_token, tls=authority.server_side)
    try:
        refused(command(index.upload_url), "certificate is not trusted")
        assert not index.server.asked
        done = command(index.upload_url, SSL_CERT_FILE=str(authority.file))
        assert done.stdout == upload_token + "\n"
    finally:
        index.server.close()


# Retries.


@pytest.mark.parametrize(
    "hitch",
    [
        problem(429, "slow down", errors=[]),
        problem(503, "down"),
        Reply(502, raw=b"<html>bad gateway</html>"),
        Reply(document={"token": "cut off"}, cut=5),
        Reply(document={"token": "cut off"}, cut=0),
    ],
)
@pytest.mark.parametrize("where", ["discovery", "audience", "mint"])
def test_a_passing_failure_is_met_by_asking_again_with_the_same_id_token(
    run: Run,
    index: Pep807,
    github: GitHub,
    where: str,
    hitch: Reply,
    upload_token: str,
    pauses: list[float],
) -> None:
    setattr(index, where, [hitch, *getattr(index, where)])
    done = run(index.upload_url)
    assert done.stdout == upload_token + "\n"
    assert "is asked again in 1 s, since" in said(done) and pauses == [1]
    assert len(github.issued) == 1
    assert {one.json()["token"] for one in index.minted()} == set(github.issued)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_refusal_is_not_asked_again(run: Run, index: Pep807, status: int) -> None:
    index.mint = [problem(status, "no")]
    refused(run(index.upload_url), f"answered {status}: no")
    assert len(index.minted()) == 1


def test_a_wait_that_is_too_long_is_told_and_not_waited_for(run: Run, index: Pep807) -> None:
    index.mint = [problem(429, "too many")]
    index.mint[0].headers["Retry-After"] = "3600"
    refused(run(index.upload_url), "answered 429: too many (it asks to wait for 3600 s)")
    assert len(index.minted()) == 1


def test_an_index_says_how_long_to_wait(
    run: Run, index: Pep807, pauses: list[float], upload_token: str
) -> None:
    busy = problem(503, "busy")
    busy.headers["Retry-After"] = "7"
    index.mint = [busy, *index.mint]
    assert run(index.upload_url).stdout == upload_token + "\n"
    assert pauses == [7]


@pytest.mark.parametrize(
    "value, least, most",
    [
        ("0", 1, 1),
        ("-5", 1, 1),
        ("soon", 1, 1),
        ("", 1, 1),
        ("٣", 1, 1),
        ("in 40 s", 20, 40),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 1, 1),
    ],
)
def test_a_wait_is_read_in_both_forms_and_nonsense_is_none(
    run: Run, index: Pep807, pauses: list[float], value: str, least: float, most: float
) -> None:
    if value == "in 40 s":
        value = email.utils.formatdate(time.time() + 40, usegmt=True)
    busy = problem(429, "busy")
    busy.headers["Retry-After"] = value.encode().decode("latin-1")
    index.mint = [busy, *index.mint]
    assert run(index.upload_url).returncode == 0
    assert least <= pauses[0] <= most


def test_an_index_that_stays_down_is_asked_four_times(
    run: Run, index: Pep807, pauses: list[float], github: GitHub
) -> None:
    index.mint = [problem(503, "try again later")]
    refused(run(index.upload_url), "the index's mint endpoint answered 503: try again later")
    assert len(index.minted()) == 4 and len(github.issued) == 1
    assert pauses == [1, 2, 4]


def test_an_index_that_is_not_there_is_a_sentence(
    run: Run, index: Pep807, pauses: list[float]
) -> None:
    index.server.close()
    refused(run(index.upload_url), "the index's discovery gives no answer")
    assert pauses == [1, 2, 4]


def test_an_index_that_dribbles_is_not_waited_for(
    run: Run, index: Pep807, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mintage.exchange._http._TIMEOUT_SECONDS", 0.2)
    index.audience = [Reply(raw=b" " * 600, dribble=0.05)]
    refused(run(index.upload_url), "it took longer than")


def test_an_answer_without_end_is_not_read(run: Run, index: Pep807) -> None:
    index.audience = [Reply(raw=b'{"audience":"' + b"a" * 1_000_000)]
    refused(run(index.upload_url), "longer than 64 KiB")
