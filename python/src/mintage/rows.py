"""Trusted publishers in an index's own database: identities as text, and rows to look up by.

A row that has the issuer, `owner(identity)` and `to_text(identity)` is all that it takes. For an
ID token, the rows whose issuer is its `iss` and whose owner is among `owners(claims)` are the
candidates; `likeliest` puts them in order and leaves out what is too much for one Mint. That
all of an owner's are candidates, and not those of one repository alone, lets Mintage say that
the repository is another than the registered one.

It isn't a match: which of these a job is, only Mintage says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ._identities import CLAIMS, PROVIDERS, identity
from ._model import (
    ActiveState,
    ClaimPolicy,
    GitHub,
    GitLab,
    Google,
    ProviderIdentity,
    Publisher,
)

__all__ = [
    "ISSUERS",
    "MAX_CANDIDATES",
    "identity",
    "likeliest",
    "of_text",
    "owner",
    "owners",
    "to_text",
]

ISSUERS: Mapping[str, str] = {
    "github": "https://token.actions.githubusercontent.com",
    "gitlab": "https://gitlab.com",
    "google": "https://accounts.google.com",
    "activestate": "https://platform.activestate.com/api/v1/oauth/oidc",
}
"""The providers' own issuers; self-managed ones have others."""

MAX_CANDIDATES = 256
"""As many publishers as one Mint takes."""


def to_text(identity: ProviderIdentity) -> str:
    """An identity as JSON: the same text for equal identities, so a column of it can be unique."""
    said: Any
    if isinstance(identity, ClaimPolicy):
        provider, said = CLAIMS, [_given(rule) for rule in identity.rules]
    else:
        provider = next(name for name, kind in PROVIDERS.items() if isinstance(identity, kind))
        said = _given(identity)
    return json.dumps({provider: said}, sort_keys=True)


def of_text(text: str) -> ProviderIdentity:
    """The identity of which `to_text` made this. Raises TypeError or ValueError."""
    document = json.loads(text)
    if not isinstance(document, dict) or len(document) != 1:
        raise ValueError("an identity's text is an object with one member, the provider's")
    [(provider, said)] = document.items()
    return identity(provider, said)


def owner(identity: ProviderIdentity) -> str:
    """What to look an identity up by: who owns it at the provider, in lower case.

    Empty for a `ClaimPolicy`, of which nobody knows.
    """
    match identity:
        case GitHub():
            return identity.repository_owner.lower()
        case GitLab():
            return identity.namespace.lower()
        case Google():
            return identity.email.lower()
        case ActiveState():
            return identity.organization.lower()
        case ClaimPolicy():
            return ""


def owners(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The owners of all identities that an ID token with these UNVERIFIED claims may be of."""
    projects = (_text(claims, name).rpartition("/")[0] for name in ("repository", "project_path"))
    others = (_text(claims, name) for name in ("email", "organization"))
    return tuple(dict.fromkeys([*projects, *others, ""]))


def likeliest(candidates: Iterable[Publisher], claims: Mapping[str, Any]) -> list[Publisher]:
    """Those of the claims' own repository or project first, and no more than one Mint takes."""

    def is_another(candidate: Publisher) -> bool:
        match candidate.identity:
            case GitHub(owner, _, name):
                return f"{owner}/{name}".lower() != _text(claims, "repository")
            case GitLab(namespace, name):
                return f"{namespace}/{name}".lower() != _text(claims, "project_path")
            case _:
                return False

    return sorted(candidates, key=is_another)[:MAX_CANDIDATES]


def _given(value: Any) -> dict[str, str]:
    """The fields that restrict something."""
    return {name: said for name, said in asdict(value).items() if said not in (None, "")}


def _text(claims: Mapping[str, Any], name: str) -> str:
    said = claims.get(name)
    return said.lower() if isinstance(said, str) else ""
