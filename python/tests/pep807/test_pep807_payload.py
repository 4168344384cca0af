"""Reading what strangers send: strictly, within bounds, in linear time."""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import Any

import pytest

from mintage.pep807 import Request, upload_token
from mintage.pep807._json import read_object
from mintage.pep807._negotiation import negotiate
from mintage.pep807._payload import (
    address,
    read_burn,
    read_mint,
    request_id,
    requester,
    unverified_claims,
)

ID_TOKEN = "a.b.c"

LIMIT = 64 * 1024

UNREADABLE = {
    "nothing": b"",
    "white space": b"  ",
    "not UTF-8": b'{"token": "\xff"}',
    "UTF-16": '{"token": "x"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"token": "x"}',
    "a form": b"token=x",
    "HTML": b"<html>",
    "a list": b'["token"]',
    "a string": b'"token"',
    "cut": b'{"token": "x"',
    "something after it": b'{"token": "x"} {}',
    "a key twice": b'{"token": "x", "token": "y"}',
    "a key twice by an escape": b'{"token": "x", "\\u0074oken": "y"}',
    "a key twice further in": b'{"token": "x", "more": {"a": 1, "a": 2}}',
    "NaN": b'{"token": "x", "n": NaN}',
    "Infinity": b'{"token": "x", "n": -Infinity}',
    "a lone surrogate": b'{"token": "\\ud800"}',
    "a lone surrogate in a key": b'{"token": "x", "\\udfff": 1}',
    "a lone surrogate elsewhere": b'{"token": "x", "more": ["\\ud800"]}',
    "a number too long": b'{"token": "x", "n": ' + b"9" * 10_000 + b"}",
    "a control character": b'{"token": "\x01"}',
    "single quotes": b"{'token': 'x'}",
    "a comment": b'{"token": "x" /* */}',
    "lists, too deep": b'{"token": "x", "more": ' + b"[" * 16 + b"]" * 16 + b"}",
    "lists, far too deep": b"[" * LIMIT,
    "objects, far too deep": b'{"a":' * (LIMIT // 5),
    "deep behind a string": b'{"token": "\\"", "more": ' + b"[" * 30_000,
    "quotes that never end": b'\\"' * (LIMIT // 2),
    "quotes": b'"' * LIMIT,
    "backslashes": b"\\" * LIMIT,
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_body_that_can_be_read_in_two_ways_or_none_is_refused(body: bytes) -> None:
    for read in (read_mint, read_burn):
        begin = time.process_time()
        with pytest.raises(ValueError) as refusal:
            read(body)
        assert time.process_time() - begin < 1
        sentence = str(refusal.value)
        assert sentence.endswith(".")
        assert len(sentence) < 120


def test_no_depth_reaches_the_parsers_own_limit() -> None:
    limit = sys.getrecursionlimit()
    for depth in (16, 17, limit - 1, limit, limit + 1, 30_000):
        nested = b'{"a":' * depth + b"1" + b"}" * depth
        if depth <= 16:
            read_object(nested, depth=16)
        else:
            with pytest.raises(ValueError, match="nested more than 16 deep"):
                read_object(nested, depth=16)


def test_brackets_in_strings_are_not_depth() -> None:
    assert read_object(b'{"token": "[[[[\\"[[[["}', depth=1) == {"token": '[[[["[[[['}


def test_unknown_members_are_left_alone() -> None:
    body = {"token": ID_TOKEN, "repository": {"url": "x"}, "expires": None}
    payload = read_mint(json.dumps(body).encode())
    assert (payload.id_token, payload.features) == (ID_TOKEN, ())


def test_a_feature_twice_is_one_feature() -> None:
    body = {"token": ID_TOKEN, "features": ["a", "b", "a"]}
    assert read_mint(json.dumps(body).encode()).features == ("a", "b")


@pytest.mark.parametrize("features", [["x"] * 17, ["x" * 65], [""], ["a", None]])
def test_features_are_few_and_short(features: Any) -> None:
    with pytest.raises(ValueError, match="features"):
        read_mint(json.dumps({"token": ID_TOKEN, "features": features}).encode())


def test_a_payload_does_not_show_its_token() -> None:
    assert ID_TOKEN not in repr(read_mint(json.dumps({"token": ID_TOKEN}).encode()))


def id_token(claims: object, *, raw: bytes | None = None) -> str:
    payload = json.dumps(claims).encode() if raw is None else raw
    return f"e30.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln"


def test_claims_are_those_that_can_be_looked_up_by() -> None:
    claims = {
        "repository": "octo/sample",
        "repository_owner_id": "1",
        "email_verified": True,
        "exp": 1_800_000_000,
        "weight": 0.5,
        "groups": ["a"],
        "query": {"$ne": None},
        "nothing": None,
        "zero": "a\0b",
        "huge": 2**63,
        "low": -(2**63) - 1,
    }
    assert unverified_claims(id_token(claims)) == {
        "repository": "octo/sample",
        "repository_owner_id": "1",
        "email_verified": True,
        "exp": 1_800_000_000,
        "weight": 0.5,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a.b",
        "a.b.c.d",
        "." * 16_000,
        "a.é.c",
        "a.!!.c",
        id_token([]),
        id_token("x"),
        id_token({}, raw=b'{"a":1,"a":2}'),
        id_token({}, raw=b'{"a":NaN}'),
        id_token({}, raw=b'{"a":"\\ud800"}'),
        id_token({}, raw=b'{"a":' * 9 + b"1" + b"}" * 9),
        id_token({}, raw=b'{"a":' * 2_000),
        id_token({}, raw=b"\xff"),
        id_token({"a": "x" * 16_384}),
    ],
    ids=lambda text: text[:16],
)
def test_what_is_no_readable_id_token_has_no_claims(text: str) -> None:
    assert unverified_claims(text) is None


def test_a_request_id_belongs_to_one_id_token_one_address_and_one_index() -> None:
    base = request_id("pypi", ID_TOKEN, "192.0.2.1")
    assert base == request_id("pypi", ID_TOKEN, "192.0.2.1")
    others = [
        request_id("other", ID_TOKEN, "192.0.2.1"),
        request_id("pypi", "a.b.d", "192.0.2.1"),
        request_id("pypi", ID_TOKEN, "192.0.2.2"),
    ]
    assert len({base, *others}) == 4
    assert len(base) <= 128
    assert ID_TOKEN not in base


def test_without_an_address_there_is_no_request_id() -> None:
    assert request_id("pypi", ID_TOKEN, "") == ""


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("", ""),
        ("unix:", ""),
        ("localhost", ""),
        ("192.0.2.1, 192.0.2.2", ""),
        ("192.0.2.1:80", ""),
        ("192.0.2.1\r\nx: y", ""),
    ],
)
def test_an_address_has_one_spelling(text: str, canonical: str) -> None:
    assert address(text) == canonical


def test_a_user_agent_is_cut_and_made_printable() -> None:
    agent = "uv/0.13\r\n\x1b[31m" + "é" * 600
    told = requester(Request("GET", "/", headers={"user-agent": agent})).user_agent
    assert told.startswith("uv/0.13??")
    assert len(told.encode()) == 512


def basic(text: str | bytes, scheme: str = "Basic") -> str:
    data = text.encode() if isinstance(text, str) else text
    return f"{scheme} {base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("authorization", "token"),
    [
        (basic("__token__:pypi-AgE"), "pypi-AgE"),
        (basic("__token__:pypi-AgE", "basic"), "pypi-AgE"),
        (basic("__token__:pypi-AgE", "BASIC "), "pypi-AgE"),
        (basic("__token__:a:b"), "a:b"),
        (basic("__token__:"), None),
        (basic("__token__"), None),
        (basic("__Token__:x"), None),
        (basic("user:pypi-AgE"), None),
        (basic(":pypi-AgE"), None),
        (basic(b"__token__:\xff"), None),
        (basic("__token__:x", "Bearer"), None),
        ("Basic", None),
        ("Basic !!!", None),
        ("Basic é", None),
        ("", None),
        (None, None),
    ],
)
def test_the_upload_token_is_the_password_of_its_user(
    authorization: str | None, token: str | None
) -> None:
    assert upload_token(authorization) == token


@pytest.mark.parametrize(
    "accept", ["," * 60_000, "a/b," * 15_000, ";" * 60_000, "*/*;q=2", "*/*;q=nan", "*/*;q=-1"]
)
def test_hostile_accept_headers_are_refused_quickly(accept: str) -> None:
    begin = time.process_time()
    assert negotiate(accept) is None
    assert time.process_time() - begin < 1
