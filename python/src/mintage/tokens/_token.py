"""An upload token as a value."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from .._caveats import Caveat, Expiration, Unreadable, Uses
from .._model import Subject
from . import _binary, _predicate, _text
from ._asked import normal
from ._errors import asked, too_large
from ._macaroon import Embedded, Macaroon, ThirdParty

__all__ = ["Token"]

_OWN = re.compile(
    rb"m1\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]{21}[AQgw])\.([up]):([ -~]{1,128})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NONCE_BYTES = 16


@dataclass(frozen=True)
class _Own:
    """What the identifier of a token that Mintage minted says."""

    key_id: str
    minted_at: datetime | None
    subject: Subject


class Token:
    """An upload token whose signature nobody has checked: that takes the index's key, so
    nothing that it says is proven.

    Whoever has its text can use it and narrow it. `str(token)` is that text; `repr` is not.
    """

    __slots__ = ("_macaroon", "_prefix")

    def __init__(self, prefix: str, macaroon: Macaroon) -> None:
        self._prefix = prefix
        self._macaroon = macaroon

    @classmethod
    def parse(cls, text: str, *, prefix: str | None = None) -> Token:
        """Reads a token, as strictly as the service does.

        `prefix` is the index's, such as `pypi`; without one, any will do. At most 16 KiB and
        128 caveats. Raises `TokenError` for whatever is no token, white space around one too.
        """
        found, raw = _text.decode(text, prefix)
        return cls(found, _binary.read(raw))

    @property
    def prefix(self) -> str:
        """What it begins with, before the hyphen."""
        return self._prefix

    @property
    def version(self) -> int:
        """The macaroon format it was read in: 1 or 2. It is always written in 2."""
        return self._macaroon.version

    @property
    def location(self) -> str:
        """A hint where the token belongs. Nobody signs it."""
        return self._macaroon.location.decode("utf-8", "replace")

    @property
    def identifier(self) -> bytes:
        """The public head: what an index looks the token up by."""
        return self._macaroon.identifier

    @property
    def token_id(self) -> str:
        """The same as text, as in `Minted.token_id` and Mintage's audit trail: base64url where
        it is not ASCII."""
        if self.identifier.isascii():
            return self.identifier.decode("ascii")
        return base64.urlsafe_b64encode(self.identifier).decode("ascii").rstrip("=")

    @property
    def subject(self) -> Subject | None:
        """Whose token it is; None where another service than Mintage minted it."""
        own = self._own()
        return own.subject if own else None

    @property
    def key_id(self) -> str | None:
        """The name of the master key it was minted under; None as in `subject`."""
        own = self._own()
        return own.key_id if own else None

    @property
    def minted_at(self) -> datetime | None:
        """When it was minted, to the millisecond; None as in `subject`."""
        own = self._own()
        return own.minted_at if own else None

    @property
    def expires_at(self) -> int | None:
        """The earliest end among its caveats, in Unix seconds; None for a token without one."""
        ends = [one.expires_at for one in self.caveats if isinstance(one, Expiration)]
        return min(ends, default=None)

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """Every caveat, in order. `Unreadable` ones, among them those of third parties, deny.

        Anybody may have appended any of them, so nothing but a restriction can be read here.
        """
        return tuple(map(_read, self._macaroon.caveats))

    def narrow(self, caveats: Iterable[Caveat]) -> Token:
        """The token with these caveats added: good for less, by the service's own rules.

        They are written as the service's Attenuate writes them: expirations first, names as in
        PEP 503, and a fresh nonce for Uses, whose own is ignored. Uses need an expiration, in
        the token or among these. An index denies a token that holds a caveat with a tag from 64
        on unless it has them switched on, whatever else the token allows.

        Raises `TokenError` for no caveat at all, one that could never be cleared, and a token
        that would get too large.
        """
        wanted = [normal(one, f"caveats[{at}]") for at, one in enumerate(caveats)]
        if not wanted:
            raise asked("at least one caveat must be asked for", field="caveats")
        wanted.sort(key=lambda one: not isinstance(one, Expiration))
        counted = any(isinstance(one, Uses) for one in wanted)
        if counted and not isinstance(wanted[0], Expiration) and self.expires_at is None:
            raise asked("a number of uses needs an expiration in the same token", field="caveats")
        macaroon = self._macaroon
        for caveat in _with_nonces(wanted):
            macaroon = macaroon.append(_predicate.write(caveat))
        return _written(self._prefix, macaroon)

    def _own(self) -> _Own | None:
        match = _OWN.fullmatch(self.identifier)
        if match is None:
            return None
        key_id, uuid, letter, subject_id = (part.decode("ascii") for part in match.groups())
        subject = Subject(user_id=subject_id) if letter == "u" else Subject(publisher_id=subject_id)
        return _Own(key_id, _minted_at(uuid), subject)

    def __str__(self) -> str:
        return _text.encode(self._prefix, _binary.write(self._macaroon))

    def __repr__(self) -> str:
        return f"<Token {self.token_id!r}, {len(self._macaroon.caveats)} caveats>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Token):
            return NotImplemented
        return hmac.compare_digest(str(self), str(other))

    def __hash__(self) -> int:
        return hash(str(self))


def _written(prefix: str, macaroon: Macaroon) -> Token:
    """A token that fits its bound when it is written, in version 2."""
    token = Token(prefix, replace(macaroon, version=2))
    if len(str(token)) > _text.MAX_TOKEN_BYTES:
        raise too_large("would be longer than 16 KiB")
    return token


def _read(embedded: Embedded) -> Caveat:
    if isinstance(embedded, ThirdParty):
        return Unreadable(embedded.identifier)
    return _predicate.read(embedded)


def _with_nonces(caveats: Iterable[Caveat]) -> Iterable[Caveat]:
    """Names what uses are counted under: one nonce for all, told apart by a number."""
    nonce = base64.urlsafe_b64encode(secrets.token_bytes(_NONCE_BYTES)).decode("ascii").rstrip("=")
    counted = 0
    for caveat in caveats:
        if isinstance(caveat, Uses):
            caveat = Uses(caveat.count, f"{nonce}.{counted}" if counted else nonce)
            counted += 1
        yield caveat


def _minted_at(uuid: str) -> datetime | None:
    millis = int.from_bytes(base64.urlsafe_b64decode(uuid + "==")[:6], "big")
    try:
        return _EPOCH + timedelta(milliseconds=millis)
    except OverflowError:
        return None
