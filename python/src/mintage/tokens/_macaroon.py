"""A macaroon as a value, and its chain of signatures.

Whoever holds a macaroon can append a caveat without any key: each caveat is signed with the
signature before it. So the signature is the secret: `repr` leaves it out.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import Union

from ._errors import damaged, too_large

__all__ = ["MAX_CAVEATS", "Embedded", "Macaroon", "ThirdParty", "held"]

MAX_CAVEATS = 128
"""Caveats in one macaroon. The longest honest tokens have fewer than ten."""

MAX_IDENTIFIER_BYTES = 256
"""An identifier. The service's own need at most 189 bytes, PyPI's 36."""

_SIGNATURE_BYTES = 32


@dataclass(frozen=True)
class ThirdParty:
    """A caveat that another party would have to discharge. Every index denies it."""

    location: bytes
    identifier: bytes
    verification_id: bytes = field(repr=False)


Embedded = Union[bytes, ThirdParty]
"""A caveat as it lies in a macaroon: a predicate, or a third party's."""


@dataclass(frozen=True)
class Macaroon:
    """A macaroon whose signature nobody has looked at: that takes the index's key."""

    version: int
    location: bytes
    identifier: bytes
    caveats: tuple[Embedded, ...]
    signature: bytes = field(repr=False)

    def append(self, predicate: bytes) -> Macaroon:
        """The narrower macaroon."""
        hold_room(len(self.caveats))
        signature = hmac.new(self.signature, predicate, hashlib.sha256).digest()
        return replace(self, caveats=(*self.caveats, predicate), signature=signature)


def held(macaroon: Macaroon, end: int, length: int) -> Macaroon:
    """The macaroon that a format's reader found, if it is one and nothing follows it."""
    if len(macaroon.signature) != _SIGNATURE_BYTES:
        raise damaged(f"its signature has {len(macaroon.signature)} bytes instead of 32")
    if end != length:
        raise damaged(f"something follows after its end, at byte {end}")
    return macaroon


def hold_identifier(identifier: bytes) -> None:
    if not 1 <= len(identifier) <= MAX_IDENTIFIER_BYTES:
        raise damaged(f"its identifier has {len(identifier)} bytes instead of 1 to 256")


def hold_room(caveats: int) -> None:
    """Refuses one caveat too many before it is kept."""
    if caveats >= MAX_CAVEATS:
        raise too_large("has more than 128 caveats")
