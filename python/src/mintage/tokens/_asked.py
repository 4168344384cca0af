"""Caveats that somebody asks for: put in their normal form, and refused where no access could
ever clear them. Such a caveat is a mistake, and better heard of now than at the upload.

The rules are those of the service's Attenuate, and so are the sentences.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable
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
    UserId,
    Uses,
    Versions,
)
from . import _version
from ._errors import TokenError, asked
from ._show import quoted

__all__ = ["normal", "project_name"]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_SEPARATORS = re.compile(r"[-_.]+")
_ID = re.compile(r"[ -~]{1,128}")
_ACTION = re.compile(r"[a-z0-9_-]{1,64}")
_NETWORK = re.compile(r"[0-9.]+/[0-9]{1,2}|[0-9A-Fa-f.:]+:[0-9A-Fa-f.:]*/[0-9]{1,3}")

_MAX_FILENAME_BYTES = 255
_DIGEST_BYTES = 32
_MAPPED_PREFIX_BITS = 96
"""`::ffff:0:0/96` is IPv4 (RFC 4291, section 2.5.5.2)."""

_I64 = range(-(2**63), 2**63)
_U32 = range(2**32)


def normal(caveat: Caveat, field: str) -> Caveat:
    """The caveat in its normal form. `field` is its place in what was asked."""
    try:
        for form, of in _FORMS.items():
            if isinstance(caveat, form):
                return of(caveat)
    except TokenError as error:
        raise asked(error.message, field=field) from None
    raise asked("a caveat of this kind can't be asked for", field=field)


def project_name(text: str) -> str:
    """A project's name as PEP 503 normalizes it."""
    if not _NAME.fullmatch(text):
        raise asked(f"{quoted(text)} is not a project name (PEP 508)")
    return _SEPARATORS.sub("-", text).lower()


def _expiration(caveat: Expiration) -> Expiration:
    bounds = (caveat.not_before, caveat.expires_at)
    if any(type(bound) is not int or bound not in _I64 for bound in bounds):
        raise asked("its times are Unix seconds, in whole numbers within 64 bits")
    if caveat.not_before >= caveat.expires_at:
        raise asked(
            f"it would end at {caveat.expires_at}, before it begins at {caveat.not_before}"
        )
    return caveat


def _uses(caveat: Uses) -> Uses:
    if type(caveat.count) is not int or caveat.count not in _U32:
        raise asked("a use count is a whole number from 1 to 4294967295")
    if caveat.count == 0:
        raise asked("a use count of 0 would allow nothing")
    return Uses(caveat.count)


def _id(text: str) -> str:
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise asked("an id is 1 to 128 characters of printable ASCII")
    return text


def _version_text(text: str) -> str:
    if _version.normal(text) is None:
        raise asked(f"{quoted(text)} is not a version (PEP 440)")
    return text


def _filename(text: str) -> str:
    odd = any(letter in "/\\" or unicodedata.category(letter) in ("Cc", "Cs") for letter in text)
    if odd or not 1 <= len(text.encode("utf-8", "replace")) <= _MAX_FILENAME_BYTES:
        raise asked(f"{quoted(text)} is not a file name")
    return text


def _network(text: str) -> str:
    """Bits beyond the prefix are cleared, and IPv4 in its IPv6 form becomes IPv4, as a
    client's address does. An IPv4 number with a leading zero is refused, since some would read
    it as octal."""
    wrong = asked(f"{quoted(text)} is not an IPv4 or IPv6 network in CIDR form")
    if not _NETWORK.fullmatch(text):
        raise wrong
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise wrong from None
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED_PREFIX_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return f"{mapped}/{network.prefixlen - _MAPPED_PREFIX_BITS}"
    return str(network)


def _action(text: str) -> str:
    if not _ACTION.fullmatch(text):
        form = '1 to 64 characters out of a-z, 0-9, "_" and "-"'
        raise asked(f"{quoted(text)} is not an action: {form}")
    return text


def _digest(digest: bytes) -> bytes:
    if not isinstance(digest, bytes):
        raise asked("a SHA-256 is given as bytes")
    if len(digest) != _DIGEST_BYTES:
        raise asked(f"a SHA-256 has 32 bytes, and this has {len(digest)}")
    return digest


def _texts(items: Iterable[str], of: Callable[[str], str]) -> tuple[str, ...]:
    texts = _items(items)
    if not all(isinstance(text, str) for text in texts):
        raise asked("the list holds something that is no text")
    return tuple(of(text) for text in texts)


def _items(items: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise asked("a list was expected, and this is one value")
    found = tuple(items)
    if not found:
        raise asked("the list is empty, so nothing could ever be allowed")
    return found


_FORMS: dict[type[Any], Callable[[Any], Caveat]] = {
    Expiration: _expiration,
    ProjectNames: lambda caveat: ProjectNames(_texts(caveat.names, project_name)),
    ProjectIds: lambda caveat: ProjectIds(_texts(caveat.ids, _id)),
    UserId: lambda caveat: UserId(_id(caveat.id)),
    PublisherId: lambda caveat: PublisherId(_id(caveat.id)),
    Uses: _uses,
    Versions: lambda caveat: Versions(_texts(caveat.versions, _version_text)),
    Filenames: lambda caveat: Filenames(_texts(caveat.filenames, _filename)),
    Digests: lambda caveat: Digests(tuple(_digest(one) for one in _items(caveat.sha256))),
    ClientNetworks: lambda caveat: ClientNetworks(_texts(caveat.networks, _network)),
    Actions: lambda caveat: Actions(_texts(caveat.actions, _action)),
}
