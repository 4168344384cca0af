"""What goes into the endpoints and what comes out of them, as frozen values."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from .._model import MULTI_USE, Mismatch, Publisher

MAX_BODY = 64 * 1024
"""Bytes of a request's body: an ID token of 16 KiB with room for JSON around it."""

MAX_PHRASE = 240
"""Characters of a status line's reason: some servers and proxies cut or refuse longer ones."""

FindPublishers = Callable[[Mapping[str, Any]], Iterable[Publisher]]
"""Looks up the publishers that may match the UNVERIFIED claims of an ID token."""

AsyncFindPublishers = Callable[[Mapping[str, Any]], Awaitable[Iterable[Publisher]]]
"""The same as a coroutine function, for `AsyncEndpoints` only."""



@dataclass(frozen=True)
class PendingPublisher(Publisher):
    """A publisher that waits to create projects: what `find_publishers` gives in its place.

    `projects` are those that it has already, if any.
    """


CreatePending = Callable[[PendingPublisher], Publisher]
"""Creates the projects that a publisher waits for; the publisher as it is then."""

ReportMismatch = Callable[[Mismatch], None]
"""Keeps, for whoever registered a publisher, in what a job differs from it."""

_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+")
_UPLOAD_PATH = re.compile(r"(?:/[!-~]*)?")
_SHORTEST = timedelta(seconds=900)
_LONGEST = timedelta(seconds=21_600)


@dataclass(frozen=True)
class Index:
    """One index with trusted publishing. All paths are whole ones, as clients see them.

    `upload_path` is the path of the upload URL, character by character: `/legacy` is another
    index than `/legacy/`. `audience` is what ID tokens for this index are made for; keep it
    short and alphanumeric, since GitLab names a variable after it.

    `find_publishers` is given the claims of an ID token whose signature nobody has checked yet:
    anybody can make them up, so use them to look up and for nothing else. Claims that are lists
    or objects are left out. It returns at most 256 publishers, none where none is registered.

    `name` is the index's name in the service's configuration; empty: the client's own.
    `features` are announced; `default_features`, exactly one of them, is what a client gets that
    asks for none. The endpoints lie below `prefix`; today's clients know no other than `/_/oidc`.
    Indexes on one host need different prefixes and upload paths. `lifetime` of the tokens is 15
    minutes to 6 hours; None: what the service has configured.

    `create_pending` is called where Mintage has verified that the job is a `PendingPublisher`
    among the candidates, just before the Mint: its projects come into being for it and for
    nobody else. Called again for the same publisher it must change nothing. `report_mismatch` is
    called for each candidate that a job with a good ID token turned out not to be; what it
    raises is logged, and changes no answer. In an event loop both run in threads.
    """

    upload_path: str
    audience: str
    find_publishers: FindPublishers | AsyncFindPublishers
    name: str = ""
    features: tuple[str, ...] = (MULTI_USE,)
    default_features: tuple[str, ...] = (MULTI_USE,)
    prefix: str = "/_/oidc"
    lifetime: timedelta | None = None
    create_pending: CreatePending | None = None
    report_mismatch: ReportMismatch | None = None

    def __post_init__(self) -> None:
        if not _UPLOAD_PATH.fullmatch(self.upload_path) or set(self.upload_path) & set("?#"):
            raise ValueError("upload_path is the path of a URL, such as /legacy/, without a query")
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError("prefix is a path such as /_/oidc, without a slash at its end")
        if not self.audience:
            raise ValueError("audience is empty")
        if len(self.default_features) != 1 or not set(self.default_features) <= set(self.features):
            raise ValueError("default_features is exactly one of the features")
        if self.lifetime is not None and not _SHORTEST <= self.lifetime <= _LONGEST:
            raise ValueError("lifetime is 15 minutes to 6 hours (PEP 807)")


@dataclass(frozen=True)
class Request:
    """A request as a server received it.

    `path` is whole (whatever the application is mounted at stands in it) and percent-decoded
    once; `query` is what stands after the `?`, not decoded. Names in `headers` are lower-case;
    a repeated header is one, joined by `, `. Of `body` at most `MAX_BODY + 1` bytes are looked
    at. `client_ip` is the address of the party that uploads, "" where it isn't known: then a
    repeated mint-token isn't recognised, and its ID token refused as used before.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    client_ip: str = ""
    scheme: str = "https"


@dataclass(frozen=True)
class Response:
    """What to send: each header is safe for the wire as it stands.

    `sentence` says for people why it is a refusal. `status_line` holds it too: twine shows
    that line and not the body, so send it where the server lets you choose it (WSGI does).
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    sentence: str = ""

    @property
    def status_line(self) -> str:
        """Status code and reason, such as `403 The token expired at …`; printable ASCII."""
        words = self.sentence or title(self.status)
        safe = "".join(c if " " <= c <= "~" else "?" for c in words)
        if len(safe) > MAX_PHRASE:
            safe = safe[: MAX_PHRASE - 3] + "..."
        return f"{self.status} {safe}"


TITLES = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    411: "Length Required",
    413: "Content Too Large",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
"""Every status that these endpoints answer with, as RFC 9110 names it."""


def title(status: int) -> str:
    """A status by its name; an index's own refusals have others than the endpoints."""
    return TITLES.get(status) or HTTPStatus(status).phrase
