"""What only an index can do with a macaroon, for the tests: sign one and check one.

An own reading of the construction (libmacaroons' README), so that the package isn't held
against itself; only what it read out of a token comes from it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from mintage.tokens import Token
from mintage.tokens._macaroon import Macaroon, ThirdParty


def mac(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def mint(root_key: bytes, location: str, identifier: str | bytes) -> Token:
    """A token without caveats."""
    head = identifier.encode() if isinstance(identifier, str) else identifier
    signature = mac(_derived(root_key), head)
    return Token("pypi", Macaroon(2, location.encode(), head, (), signature))


def holds(token: Token, root_key: bytes) -> bool:
    """Whether the chain ends in the signature that the token has."""
    macaroon = token._macaroon
    link = mac(_derived(root_key), macaroon.identifier)
    for caveat in macaroon.caveats:
        if isinstance(caveat, ThirdParty):
            link = mac(link, mac(link, caveat.verification_id), mac(link, caveat.identifier))
        else:
            link = mac(link, caveat)
    return hmac.compare_digest(link, macaroon.signature)


def append(token: Token, predicate: bytes) -> Token:
    """Narrows by any bytes, which `Token.narrow` would not."""
    return Token(token.prefix, token._macaroon.append(predicate))


def root_key(master_key: bytes, index: str, identifier: str) -> bytes:
    """HKDF-SHA256-Expand (RFC 5869) of one block."""
    info = b"\0".join([b"mintage/v1/root-key", index.encode(), identifier.encode()])
    return mac(master_key, info, b"\x01")


def text_of(raw: bytes, prefix: str = "pypi") -> str:
    return f"{prefix}-" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def raw_of(text: str) -> bytes:
    body = text.partition("-")[2]
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


def _derived(root_key: bytes) -> bytes:
    return mac(b"macaroons-key-generator".ljust(32, b"\0"), root_key)
