"""Who uploads: a publisher, for the one request that Mintage said yes to.

It grants nothing by itself: devpi holds the identity against the index's `acl_upload`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["GROUP", "TrustedPublisher", "admit", "admitted"]

GROUP = "trusted-publisher"
"""`:trusted-publisher` in an index's `acl_upload` lets publishers upload there."""

_KEY = "mintage_devpi.admitted"


@dataclass(frozen=True)
class TrustedPublisher:
    """An identity as devpi knows them. No user can have this name: it contains a colon."""

    publisher_id: str
    user: str
    index: str

    @property
    def username(self) -> str:
        """What stands in devpi's log of the file."""
        return f"mintage:{self.publisher_id}"

    @property
    def groups(self) -> list[str]:
        """The groups that the index's list may name."""
        return [GROUP]


def admit(request: Any, publisher: TrustedPublisher) -> None:
    """Lets this request through as this publisher's."""
    request.environ[_KEY] = publisher


def admitted(request: Any) -> TrustedPublisher | None:
    """Who was let through, if the request is still for the index that this was said about."""
    publisher = request.environ.get(_KEY)
    where = request.matchdict or {}
    if not isinstance(publisher, TrustedPublisher) or request.method != "POST":
        return None
    if set(where) != {"user", "index"}:
        return None
    if (where["user"], where["index"]) != (publisher.user, publisher.index):
        return None
    return publisher
