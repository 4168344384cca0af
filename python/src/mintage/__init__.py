"""Trusted publishing (PEP 807) for a Python package index: the web tier's side of Mintage.

`Client` calls the service; `mintage.aio.Client` does so for asyncio. Everything else here are the
values that go in and come out, and the errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._caveats import (
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
from ._errors import Error, Reason, Refused, Unavailable
from ._model import (
    MULTI_USE,
    SINGLE_USE,
    Access,
    ActiveState,
    Attenuated,
    ClaimPolicy,
    ClaimRule,
    Denial,
    GitHub,
    GitLab,
    Google,
    Identity,
    KeptToken,
    Minted,
    Mismatch,
    Project,
    ProviderIdentity,
    Publisher,
    Requester,
    Revoked,
    Subject,
    TokenFacts,
    Verification,
)

if TYPE_CHECKING:
    from ._client import Client
    from ._transport import tls

__all__ = [
    "MULTI_USE",
    "SINGLE_USE",
    "Access",
    "Actions",
    "ActiveState",
    "Attenuated",
    "Caveat",
    "ClaimPolicy",
    "ClaimRule",
    "Client",
    "ClientNetworks",
    "Denial",
    "Digests",
    "Error",
    "Expiration",
    "Filenames",
    "GitHub",
    "GitLab",
    "Google",
    "Identity",
    "KeptToken",
    "Minted",
    "Mismatch",
    "Project",
    "ProjectIds",
    "ProjectNames",
    "ProviderIdentity",
    "Publisher",
    "PublisherId",
    "Reason",
    "Refused",
    "Requester",
    "Revoked",
    "Subject",
    "TokenFacts",
    "Unavailable",
    "Unreadable",
    "UserId",
    "Uses",
    "Verification",
    "Versions",
    "tls",
]


def __getattr__(name: str) -> Any:
    """gRPC is imported only where it is used: what reads tokens offline is to start fast."""
    if name == "Client":
        from ._client import Client

        return Client
    if name == "tls":
        from ._transport import tls

        return tls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
