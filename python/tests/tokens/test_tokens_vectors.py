"""`mintage.tokens` against the vectors that the service's kernel is held to."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import token_chain

import mintage
from mintage.tokens import Token, TokenError, explain
from mintage.tokens._macaroon import ThirdParty
from mintage.tokens._predicate import read, write

VECTORS = Path(__file__).resolve().parents[3] / "tests" / "vectors"


def rows(file: str) -> list[Any]:
    found = json.loads((VECTORS / file).read_text(encoding="utf-8"))["rows"]
    assert found, f"{file} is empty"
    return [pytest.param(row, id=row.get("name", str(row.get("version")))) for row in found]


@pytest.mark.parametrize("row", rows("tokens.json"))
def test_a_token_that_others_made_is_read_as_it_was_made(row: dict[str, Any]) -> None:
    token = Token.parse(row["token"], prefix=row["prefix"])
    assert token.version == row["version"]
    assert token.location == row["location"]
    assert token.identifier.hex() == row["identifier"]
    found = [
        {"third_party": one.location.decode(), "identifier": one.identifier.hex()}
        if isinstance(one, ThirdParty)
        else {"first_party": one.decode()}
        for one in token._macaroon.caveats
    ]
    assert found == row["caveats"]
    assert token_chain.holds(token, bytes.fromhex(row["root_key"])) == row["signature_holds"]
    assert len(explain(token)) > len(found)


@pytest.mark.parametrize("row", rows("tokens.json"))
def test_a_token_is_written_and_narrowed_as_others_would(row: dict[str, Any]) -> None:
    token = Token.parse(row["token"])
    assert str(token) == row["rewritten"]
    if row["narrowed"] is None:
        with pytest.raises(TokenError, match="more than 128 caveats"):
            token_chain.append(token, row["narrowed_by"].encode())
        return
    assert str(token_chain.append(token, row["narrowed_by"].encode())) == row["narrowed"]
    asked = read(row["narrowed_by"].encode())
    if not isinstance(asked, mintage.Unreadable):
        assert str(token.narrow([asked])) == row["narrowed"]


WRONG = {
    "too many bytes": "is longer than 16 KiB",
    "too many caveats": "has more than 128 caveats",
    "prefix": 'does not begin with "pypi-"',
    "base64": "is not base64url",
    "empty": "nothing follows its prefix",
    "json": "in JSON form",
    "format": "that of no macaroon format",
    "truncated": "ends too early",
    "length": "is not well-formed",
    "field": "does not belong there",
    "identifier": "its identifier has",
    "signature": "its signature has",
    "trailing": "something follows after its end",
}


@pytest.mark.parametrize("row", rows("damaged.json"))
def test_a_damaged_token_is_refused_for_what_is_wrong_with_it(row: dict[str, Any]) -> None:
    with pytest.raises(TokenError, match=WRONG[row["wrong"]]) as refused:
        Token.parse(row["token"], prefix="pypi")
    too_large = row["wrong"].startswith("too many")
    assert refused.value.reason is (
        mintage.Reason.TOKEN_TOO_LARGE if too_large else mintage.Reason.TOKEN_MALFORMED
    )


@pytest.mark.parametrize("row", rows("mangled.json"))
def test_no_signature_holds_over_a_flipped_bit(row: dict[str, Any]) -> None:
    raw, key = token_chain.raw_of(row["token"]), bytes.fromhex(row["root_key"])
    location = range(row["location"]["start"], row["location"]["end"])
    assert len(row["flipped"]) == len(raw) * 8
    for bit in range(len(raw) * 8):
        mangled = bytearray(raw)
        mangled[bit // 8] ^= 1 << bit % 8
        # All is signed but the location, which is compared with nothing.
        expected = bit // 8 in location
        assert _holds(bytes(mangled), key) == expected, f"bit {bit}"


@pytest.mark.parametrize("row", rows("mangled.json"))
def test_no_cut_token_is_read(row: dict[str, Any]) -> None:
    raw = token_chain.raw_of(row["token"])
    assert len(row["cut"]) == len(raw) and "h" not in row["cut"]
    for length in range(len(raw)):
        with pytest.raises(TokenError):
            Token.parse(token_chain.text_of(raw[:length]))


def _holds(raw: bytes, key: bytes) -> bool:
    try:
        return token_chain.holds(Token.parse(token_chain.text_of(raw)), key)
    except TokenError:
        return False


@pytest.mark.parametrize("row", rows("minted.json"))
def test_a_minted_token_is_the_service_s_byte_for_byte(row: dict[str, Any]) -> None:
    identifier = row["identifier"]
    key = token_chain.root_key(bytes.fromhex(row["master_key"]), row["index"], identifier)
    token = token_chain.mint(key, row["location"], identifier)
    for text in row["caveats"]:
        read_back = read(text.encode())
        assert not isinstance(read_back, mintage.Unreadable)
        assert write(read_back) == text.encode()
        token = token_chain.append(token, text.encode())
    assert str(token) == row["token"]

    parsed = Token.parse(row["token"])
    assert token_chain.holds(parsed, key)
    assert parsed.token_id == identifier
    assert parsed.key_id == row["key_id"]
    letter, _, subject = row["subject"].partition(":")
    assert parsed.subject is not None
    assert (parsed.subject.user_id, parsed.subject.publisher_id) == (
        (subject, None) if letter == "u" else (None, subject)
    )
    assert parsed.minted_at is not None
    millis = row["minted_at_micros"] // 1_000
    assert round(parsed.minted_at.timestamp() * 1_000) == millis


@pytest.mark.parametrize("row", rows("warehouse.json"))
def test_a_caveat_is_read_as_what_it_means_in_warehouse(row: dict[str, Any]) -> None:
    shown = [*row["caveats"], *row["stored"]]
    predicates = [
        one["text"].encode() if "text" in one else bytes.fromhex(one["hex"]) for one in shown
    ]
    denied = {denial["caveat"]: denial["reason"] for denial in row["reasons"]}
    for at, predicate in enumerate(predicates):
        found = read(predicate)
        expected = "CAVEAT_UNREADABLE" if predicate == EMPTY_USER else denied.get(at)
        assert _denial(found, row["access"]) == expected, predicate
    # Through a whole token it is the same.
    token = token_chain.mint(b"test key: judgements", "index.example", "judged")
    for predicate in predicates:
        token = token_chain.append(token, predicate)
    assert Token.parse(str(token)).caveats == tuple(map(read, predicates))


EMPTY_USER = b'[3,""]'
"""No user has an empty id. As a value it would read as PyPI's form of 2019, any user."""


def _denial(caveat: mintage.Caveat, access: dict[str, Any]) -> str | None:
    """What the index would make of it; tags from 64 on are off in these vectors."""
    project, subject = access["project"], access["subject"]
    name = project and re.sub("[-_.]+", "-", project["name"]).lower()
    now = access["now_micros"] // 1_000_000
    if isinstance(caveat, mintage.Unreadable):
        return "CAVEAT_UNREADABLE"
    if isinstance(caveat, mintage.Expiration):
        if now >= caveat.expires_at:
            return "CAVEAT_EXPIRED"
        return None if now >= caveat.not_before else "CAVEAT_NOT_YET_VALID"
    if isinstance(caveat, mintage.ProjectNames):
        return None if project and name in caveat.names else "CAVEAT_PROJECT"
    if isinstance(caveat, mintage.ProjectIds):
        return None if project and project["id"] in caveat.ids else "CAVEAT_PROJECT"
    if isinstance(caveat, mintage.UserId):
        good = "user" in subject and caveat.id in ("", subject["user"])
        return None if good else "CAVEAT_USER"
    if isinstance(caveat, mintage.PublisherId):
        registered = project and caveat.id in access["publisher_ids"]
        good = subject.get("publisher") == caveat.id and registered
        return None if good else "CAVEAT_PUBLISHER"
    return "CAVEAT_NOT_OFFERED"
