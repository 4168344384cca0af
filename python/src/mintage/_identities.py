"""The providers' identities by the provider's name, and made of texts: a file's, a database's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from ._model import (
    ActiveState,
    ClaimPolicy,
    ClaimRule,
    GitHub,
    GitLab,
    Google,
    ProviderIdentity,
)

PROVIDERS: Mapping[str, type[GitHub] | type[GitLab] | type[Google] | type[ActiveState]] = {
    "github": GitHub,
    "gitlab": GitLab,
    "google": Google,
    "activestate": ActiveState,
}
"""Those with an identity of their own; any other is `claims`."""

CLAIMS = "claims"


def identity(provider: str, value: Any) -> ProviderIdentity:
    """The identity that a provider's name and its fields say.

    TypeError or ValueError for a provider, a field or a value that is none: a misspelt
    restriction must not turn into none.
    """
    if provider == CLAIMS:
        if not isinstance(value, list) or not value:
            raise ValueError("`claims` is a list of at least one rule")
        return ClaimPolicy(tuple(ClaimRule(**_texts(rule)) for rule in value))
    if provider not in PROVIDERS:
        raise ValueError(f"the provider is {', '.join([*PROVIDERS, CLAIMS])}, not {provider!r}")
    kind = PROVIDERS[provider]
    said = _texts(value)
    unknown = set(said) - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"`{provider}` has no key {', '.join(sorted(unknown))}")
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    if not needed <= set(said):
        raise ValueError(f"`{provider}` lacks {', '.join(sorted(needed - set(said)))}")
    return kind(**said)


def text(table: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A table's text, which is not empty unless `default` is. Raises ValueError."""
    value = table.get(key, default)
    if not isinstance(value, str) or (default is None and not value):
        raise ValueError(f"`{key}` is a text that isn't empty")
    return value


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("what follows the provider's name is a table")
    return {key: text(value, key) for key in value}
