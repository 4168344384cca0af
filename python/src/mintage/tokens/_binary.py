"""The binary formats of libmacaroons: version 2 is read and written, version 1 read.

Version 2 is `0x02`, then fields of a type, a varint length and bytes, in sections that end
with `0x00`:

    02  [location] identifier 00  ([location] identifier [vid] 00)*  00  signature

Version 1, of PyPI's tokens of 2019, is packets of four hexadecimal digits (the length of all
of it), a key, a space, a value and a newline.
"""

from __future__ import annotations

import re

from ._errors import TokenError, damaged
from ._macaroon import Embedded, Macaroon, ThirdParty, held, hold_identifier, hold_room

__all__ = ["read", "write"]

_END, _LOCATION, _IDENTIFIER, _VERIFICATION_ID, _SIGNATURE = 0, 1, 2, 4, 6

_LENGTH_DIGITS = 4
_LENGTH = re.compile(rb"[0-9a-f]{4}")


def read(raw: bytes) -> Macaroon:
    """A macaroon and nothing after it; the first byte tells the format."""
    if not raw:
        raise damaged("nothing follows its prefix")
    if raw[0] == 2:
        return _Fields(raw).macaroon()
    if raw[:1] in b"0123456789abcdef":
        return _Packets(raw).macaroon()
    if raw[:1] == b"{":
        raise damaged("it is a macaroon in JSON form, and only the binary forms are accepted")
    raise damaged(f"its first byte, {raw[0]:#04x}, is that of no macaroon format")


def write(macaroon: Macaroon) -> bytes:
    """Version 2. An absent location is written as an empty one, as pymacaroons does."""
    parts = [b"\x02", _field(_LOCATION, macaroon.location)]
    parts += [_field(_IDENTIFIER, macaroon.identifier), b"\0"]
    for caveat in macaroon.caveats:
        if isinstance(caveat, ThirdParty):
            parts += [_field(_LOCATION, caveat.location), _field(_IDENTIFIER, caveat.identifier)]
            parts += [_field(_VERIFICATION_ID, caveat.verification_id), b"\0"]
        else:
            parts += [_field(_IDENTIFIER, caveat), b"\0"]
    parts += [b"\0", _field(_SIGNATURE, macaroon.signature)]
    return b"".join(parts)


def _field(kind: int, value: bytes) -> bytes:
    head, length = bytearray([kind]), len(value)
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + value


def _misplaced(at: int) -> TokenError:
    return damaged(f"the field at byte {at} does not belong there")


def _truncated(at: int) -> TokenError:
    return damaged(f"it ends too early, at byte {at}: a part of it was lost")


def _bad_length(at: int) -> TokenError:
    return damaged(f"the length at byte {at} is not well-formed")


class _Fields:
    """A reader of version 2."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 1

    def macaroon(self) -> Macaroon:
        location = self._optional(_LOCATION) or b""
        identifier = self._required(_IDENTIFIER)
        hold_identifier(identifier)
        self._end_of_section()
        caveats: list[Embedded] = []
        while self._peek() != _END:
            hold_room(len(caveats))
            caveats.append(self._caveat())
        self._end_of_section()
        signature = self._required(_SIGNATURE)
        found = Macaroon(2, location, identifier, tuple(caveats), signature)
        return held(found, self.at, len(self.raw))

    def _caveat(self) -> Embedded:
        start = self.at
        location = self._optional(_LOCATION)
        identifier = self._required(_IDENTIFIER)
        verification_id = self._optional(_VERIFICATION_ID)
        self._end_of_section()
        if verification_id is not None:
            return ThirdParty(location or b"", identifier, verification_id)
        if location is not None:
            # A location belongs to a third party, and none is named.
            raise _misplaced(start)
        return identifier

    def _peek(self) -> int:
        if self.at >= len(self.raw):
            raise _truncated(self.at)
        return self.raw[self.at]

    def _end_of_section(self) -> None:
        if self._peek() != _END:
            raise _misplaced(self.at)
        self.at += 1

    def _required(self, kind: int) -> bytes:
        value = self._optional(kind)
        if value is None:
            raise _misplaced(self.at)
        return value

    def _optional(self, kind: int) -> bytes | None:
        if self._peek() != kind:
            return None
        self.at += 1
        length = self._length()
        start, self.at = self.at, self.at + length
        if self.at > len(self.raw):
            raise _truncated(len(self.raw))
        return self.raw[start : self.at]

    def _length(self) -> int:
        """A varint in its shortest form. Two spellings of one length would be two spellings
        of one token; three bytes count further than any token is long."""
        start, length = self.at, 0
        for shift in (0, 7, 14):
            byte = self._peek()
            self.at += 1
            length |= (byte & 0x7F) << shift
            if byte & 0x80 == 0:
                if shift and byte == 0:
                    break
                return length
        raise _bad_length(start)


class _Packets:
    """A reader of version 1."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0

    def macaroon(self) -> Macaroon:
        location = self._required(b"location")
        identifier = self._required(b"identifier")
        hold_identifier(identifier)
        caveats: list[Embedded] = []
        while (predicate := self._optional(b"cid")) is not None:
            hold_room(len(caveats))
            verification_id = self._optional(b"vid")
            if verification_id is None:
                caveats.append(predicate)
            else:
                caveats.append(ThirdParty(self._required(b"cl"), predicate, verification_id))
        signature = self._required(b"signature")
        found = Macaroon(1, location, identifier, tuple(caveats), signature)
        return held(found, self.at, len(self.raw))

    def _required(self, key: bytes) -> bytes:
        value = self._optional(key)
        if value is None:
            raise _misplaced(self.at)
        return value

    def _optional(self, key: bytes) -> bytes | None:
        """The value of the next packet, if that packet has this key."""
        end = self.at + self._length()
        if end > len(self.raw):
            raise _truncated(len(self.raw))
        packet = self.raw[self.at + _LENGTH_DIGITS : end]
        if not packet.startswith(key + b" "):
            return None
        value = packet[len(key) + 1 :]
        if not value.endswith(b"\n"):
            raise _misplaced(self.at)
        self.at = end
        return value[:-1]

    def _length(self) -> int:
        digits = self.raw[self.at : self.at + _LENGTH_DIGITS]
        if len(digits) < _LENGTH_DIGITS:
            raise _truncated(len(self.raw))
        if not _LENGTH.fullmatch(digits) or int(digits, 16) <= _LENGTH_DIGITS:
            raise _bad_length(self.at)
        return int(digits, 16)
