"""Which URLs may be used: PEP 807's trustworthy origins, and its rule of one host."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from ..tokens._show import quoted
from ._failed import Failed

__all__ = ["UploadUrl", "is_loopback"]

_URL = re.compile(r"[!-~]{1,2048}")
"""Printable ASCII without spaces: urlsplit would drop line ends and tabs without a word."""

_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""A host and perhaps a port, in the one form that urlsplit and http.client read alike."""


@dataclass(frozen=True)
class UploadUrl:
    """The upload URL that the user gave: the one thing that is trusted.

    `trusted` are hosts that may be spoken to over plain HTTP, since the user says that nobody
    listens on the way.
    """

    text: str
    trusted: frozenset[str]

    @classmethod
    def parse(cls, text: str, trusted: Collection[str] = ()) -> UploadUrl:
        """Raises `Failed` for what is no URL of a trustworthy origin."""
        url = cls(text, frozenset(host.lower() for host in trusted))
        url._trustworthy(_split(text))
        return url

    @property
    def host(self) -> str:
        """Without its port."""
        return _host(self._parts)

    @property
    def path(self) -> str:
        """As it is written; a slash at its end counts."""
        return self._parts.path

    def discovery(self) -> str:
        """Where the index says whether this upload URL has trusted publishing."""
        return f"{self._root}/.well-known/pytp?discover={quote(self.path, safe='')}"

    def root(self, path: str) -> str:
        """A path of the same host, port and scheme."""
        return self._root + path

    def admit(self, url: object, name: str) -> str:
        """A URL that the index handed out, if it is trustworthy and of the same host."""
        if not isinstance(url, str):
            raise Failed(f'the index\'s discovery document has no "{name}"')
        try:
            parts = _split(url)
            self._trustworthy(parts)
        except Failed as error:
            raise Failed(f"the index's {name} can't be used: {error}") from None
        if _host(parts) != self.host:
            raise Failed(
                f"the index's {name} is on another host ({_host(parts)}) than the upload URL "
                f"({self.host}), so your ID token is not sent there"
            )
        if self._parts.scheme == "https" and parts.scheme != "https":
            raise Failed(f"the index's {name} leads from https to plain http")
        return url

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.text)

    @property
    def _root(self) -> str:
        return f"{self._parts.scheme}://{self._parts.netloc}"

    def _trustworthy(self, parts: SplitResult) -> None:
        host = _host(parts)
        if parts.scheme == "http" and host not in self.trusted and not is_loopback(host):
            raise Failed(
                f"{quoted(parts.geturl())} is plain http, over which others could read your "
                f"tokens: use https (or, in a network that you trust, --trust-host {host})"
            )


def is_loopback(host: str) -> bool:
    """Whether what is sent to this host stays on this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(text: str) -> SplitResult:
    wrong = Failed(f"{quoted(text)} is not an absolute http or https URL")
    if not _URL.fullmatch(text) or "\\" in text:
        raise wrong
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    if "@" in parts.netloc:
        raise Failed("a URL with a user or password in it can't be used")
    if parts.scheme not in ("http", "https") or not _AUTHORITY.fullmatch(parts.netloc):
        raise wrong
    if not parts.hostname or port == 0 or parts.fragment:
        raise wrong
    return parts


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").lower()
