"""The JSON of a caveat: read strictly, written compactly.

Python's `json` lets odd forms through (`true` for tag 1, `1.0`, fields too many, a key twice,
NaN…). Here each is `Unreadable`, as it is to the service, which denies what it can't read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from .._caveats import (
    Actions,
    Caveat,
    ClientNetworks,
    Digests,
    Expiration,
    Filenames,
    ProjectIds,
    ProjectNames,
    PublisherId,
    Unreadable,
    UserId,
    Uses,
    Versions,
)

__all__ = ["read", "write"]

_I64 = range(-(2**63), 2**63)
_U32 = range(2**32)
_MAX_INTEGER_CHARACTERS = 20
"""Of the longest integer within 64 bits, its sign included."""

_MAX_DEPTH = 127
"""Nesting that the service reads; deeper claims in an old tag 4 are unreadable to it."""

_HEX = re.compile(r"(?:[0-9a-f]{2})*")


class _Odd(Exception):
    """Not of any form that this version knows."""


class _Object(list[tuple[str, Any]]):
    """A JSON object with every member in its place, doubled ones too."""


def read(predicate: bytes) -> Caveat:
    """The caveat; `Unreadable` for whatever is not exactly of a known form."""
    try:
        return _known(_parse(predicate.decode("utf-8")))
    except (_Odd, ValueError, RecursionError):
        return Unreadable(predicate)


def write(caveat: Caveat) -> bytes:
    """The caveat as it stands in a macaroon. It must be one that was asked for and is in its
    normal form (see `_asked`)."""
    text = json.dumps(_wire(caveat), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8")


def _wire(caveat: Caveat) -> list[Any]:
    if isinstance(caveat, Expiration):
        return [0, caveat.expires_at, caveat.not_before]
    if isinstance(caveat, ProjectNames):
        return [1, caveat.names]
    if isinstance(caveat, ProjectIds):
        return [2, caveat.ids]
    if isinstance(caveat, UserId):
        return [3, caveat.id]
    if isinstance(caveat, PublisherId):
        return [4, caveat.id]
    if isinstance(caveat, Uses):
        return [64, caveat.nonce, caveat.count]
    if isinstance(caveat, Versions):
        return [65, caveat.versions]
    if isinstance(caveat, Filenames):
        return [66, caveat.filenames]
    if isinstance(caveat, Digests):
        return [67, [digest.hex() for digest in caveat.sha256]]
    if isinstance(caveat, ClientNetworks):
        return [68, caveat.networks]
    if isinstance(caveat, Actions):
        return [69, caveat.actions]
    raise TypeError("an unreadable caveat is never written")


def _parse(text: str) -> Any:
    value = json.loads(
        text,
        object_pairs_hook=_Object,
        parse_int=_integer,
        parse_float=_float,
        parse_constant=_constant,
    )
    _hold(value, _MAX_DEPTH)
    return value


def _integer(literal: str) -> int | float:
    if literal == "-0":
        # Only a float has a negative zero, and no field is one.
        return -0.0
    if len(literal) > _MAX_INTEGER_CHARACTERS or not literal.isascii():
        raise _Odd
    value = int(literal)
    if value not in _I64:
        raise _Odd
    return value


def _float(literal: str) -> float:
    value = float(literal)
    if not literal.isascii() or not abs(value) < 2.0**63:
        raise _Odd
    return value


def _constant(literal: str) -> Any:
    raise _Odd


def _hold(value: Any, room: int) -> None:
    """Refuses what is nested too deep, and text that is none (half of a surrogate pair)."""
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, list):
        if room == 0:
            raise _Odd
        for item in value:
            for part in item if isinstance(value, _Object) else (item,):
                _hold(part, room - 1)


def _known(value: Any) -> Caveat:
    if isinstance(value, _Object):
        return _legacy(value)
    if not isinstance(value, list) or not value or type(value[0]) is not int:
        raise _Odd
    tag, *fields = value
    if tag == 0:
        expires_at, not_before = _fields(fields, 2)
        return Expiration(_in(not_before, _I64), _in(expires_at, _I64))
    if tag == 3:
        return _user(_text(*_fields(fields, 1)))
    if tag == 4:
        return _publisher(fields)
    if tag == 64:
        nonce, count = _fields(fields, 2)
        return Uses(_in(count, _U32), _text(nonce))
    form = _LISTS.get(tag)
    if form is None:
        raise _Odd
    return form(_texts(*_fields(fields, 1)))


def _user(id_: str) -> UserId:
    # No user has an empty id, so this denies; but as a value it would mean any user.
    if not id_:
        raise _Odd
    return UserId(id_)


def _digests(texts: tuple[str, ...]) -> Digests:
    """What isn't lower-case hexadecimal is no file's digest, and reads as an empty one."""
    return Digests(
        tuple(bytes.fromhex(text) if _HEX.fullmatch(text) else b"" for text in texts)
    )


_LISTS: dict[int, Callable[[tuple[str, ...]], Caveat]] = {
    1: ProjectNames,
    2: ProjectIds,
    65: Versions,
    66: Filenames,
    67: _digests,
    68: ClientNetworks,
    69: Actions,
}


def _publisher(fields: list[Any]) -> PublisherId:
    # Until 2023 PyPI kept the ID token's claims behind the id: an object or null.
    if len(fields) == 2:
        id_, claims = fields
        if claims is not None:
            if not isinstance(claims, _Object):
                raise _Odd
            _hold_unique(claims)
        return PublisherId(_text(id_))
    return PublisherId(_text(*_fields(fields, 1)))


def _hold_unique(value: Any) -> None:
    """Refuses a key twice, however deep."""
    if isinstance(value, _Object):
        _members(value)
        for _, item in value:
            _hold_unique(item)
    elif isinstance(value, list):
        for item in value:
            _hold_unique(item)


def _legacy(value: _Object) -> Caveat:
    """The objects that PyPI wrote before caveats had tags."""
    members = _members(value)
    names = frozenset(members)
    if names == {"exp", "nbf"}:
        return Expiration(_in(members["nbf"], _I64), _in(members["exp"], _I64))
    if names == {"project_ids"}:
        return ProjectIds(_texts(members["project_ids"]))
    if names == {"version", "permissions"} and _in(members["version"], _I64) == 1:
        permissions = members["permissions"]
        if permissions == "user":
            return UserId("")
        if isinstance(permissions, _Object):
            inner = _members(permissions)
            if frozenset(inner) == {"projects"}:
                return ProjectNames(_texts(inner["projects"]))
    raise _Odd


def _members(value: _Object) -> dict[str, Any]:
    members = dict(value)
    if len(members) != len(value):
        raise _Odd
    return members


def _fields(fields: list[Any], count: int) -> list[Any]:
    if len(fields) != count:
        raise _Odd
    return fields


def _in(value: Any, bounds: range) -> int:
    if type(value) is not int or value not in bounds:
        raise _Odd
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Odd
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or isinstance(value, _Object):
        raise _Odd
    return tuple(_text(item) for item in value)
