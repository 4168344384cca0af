"""What is read out of a request: its JSON, and an ID token's claims before they are verified."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._model import Requester
from ._json import read_object
from ._values import Request

_MAX_ID_TOKEN = 16 * 1024
"""The service refuses a longer ID token unread, so it isn't decoded here either."""

_MAX_FEATURES = 16
_MAX_FEATURE = 64
_MAX_USER_AGENT = 512
"""Bytes; the service's bound."""

_BODY_DEPTH = 16
_CLAIMS_DEPTH = 8
"""The service's bound for an ID token's claims."""


@dataclass(frozen=True)
class MintPayload:
    """The body of mint-token. `features` is empty where the client asked for none."""

    id_token: str = field(repr=False)
    features: tuple[str, ...]


def read_mint(body: bytes) -> MintPayload:
    """The body of mint-token; `ValueError` with a sentence where it isn't one."""
    payload = _object(body)
    return MintPayload(_token(payload), _features(payload))


def read_burn(body: bytes) -> str:
    """The upload token in the body of burn-token; `ValueError` as for `read_mint`."""
    return _token(_object(body))


def unverified_claims(id_token: str) -> dict[str, Any] | None:
    """The claims that can be looked up by, not verified at all; None for no readable ID token.

    Lists and objects are left out, as are strings and numbers that a database may choke on:
    no provider identifies a publisher by such, and a made-up token may hold anything.
    """
    if len(id_token) > _MAX_ID_TOKEN or id_token.count(".") != 2:
        return None
    encoded = id_token.split(".")[1]
    try:
        padded = encoded.encode("ascii") + b"=" * (-len(encoded) % 4)
        decoded = base64.b64decode(padded, altchars=b"-_", validate=True)
        claims = read_object(decoded, depth=_CLAIMS_DEPTH)
    except (ValueError, binascii.Error):
        return None
    return {name: claim for name, claim in claims.items() if _is_plain(claim)}


def request_id(index: str, id_token: str, client_ip: str) -> str:
    """The same for the same ID token from the same address, and for nothing else.

    Where the address isn't known it is empty: a stolen ID token would else get the upload
    token of its owner. Keyed by the ID token, so that nothing of it can be read back.
    """
    if not client_ip:
        return ""
    message = f"mintage.pep807\0{index}\0{client_ip}"
    return hmac.new(id_token.encode(), message.encode(), hashlib.sha256).hexdigest()


def requester(request: Request) -> Requester:
    """Who asks, for the service's limits and its audit trail."""
    agent = "".join(c if " " <= c <= "~" else "?" for c in request.headers.get("user-agent", ""))
    return Requester(address(request.client_ip), agent[:_MAX_USER_AGENT])


def address(text: str) -> str:
    """An IP address in its one spelling, or "" for anything else, as of a Unix socket."""
    try:
        parsed = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        return read_object(body, depth=_BODY_DEPTH)
    except ValueError as error:
        raise ValueError(f"The request's body cannot be read: {error}.") from None


def _token(payload: Mapping[str, Any]) -> str:
    token = payload.get("token")
    if not isinstance(token, str) or not token:
        raise ValueError('The request\'s body must have "token", a string that is not empty.')
    return token


def _features(payload: Mapping[str, Any]) -> tuple[str, ...]:
    features = payload.get("features", [])
    if not isinstance(features, list) or len(features) > _MAX_FEATURES:
        raise ValueError(f'"features" must be a list of at most {_MAX_FEATURES} strings.')
    if not all(isinstance(name, str) and 0 < len(name) <= _MAX_FEATURE for name in features):
        raise ValueError(f'"features" must hold strings of at most {_MAX_FEATURE} characters.')
    return tuple(dict.fromkeys(features))


def _is_plain(claim: object) -> bool:
    if isinstance(claim, str):
        return "\0" not in claim
    if isinstance(claim, int):
        return -(2**63) <= claim < 2**63
    return isinstance(claim, float)
