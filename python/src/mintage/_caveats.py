"""Restrictions on an upload token, as values.

Each class is one tag of the token's form; its fields mean what `proto/mintage/v1/caveat.proto`
says. They are the same for the service (`mintage.Client`) and offline (`mintage.tokens`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

__all__ = [
    "Actions",
    "Caveat",
    "ClientNetworks",
    "Digests",
    "Expiration",
    "Filenames",
    "ProjectIds",
    "ProjectNames",
    "PublisherId",
    "Unreadable",
    "UserId",
    "Uses",
    "Versions",
]


@dataclass(frozen=True)
class Expiration:
    """Tag 0: good from `not_before` until just before `expires_at`, in Unix seconds."""

    not_before: int
    expires_at: int


@dataclass(frozen=True)
class ProjectNames:
    """Tag 1: only these projects, by name; names are compared as PEP 503 normalizes them."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class ProjectIds:
    """Tag 2: only these projects, by the index's own ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class UserId:
    """Tag 3: only for a token of this user; empty in an answer: of any user."""

    id: str


@dataclass(frozen=True)
class PublisherId:
    """Tag 4: only for this publisher, while it is registered to the project."""

    id: str


@dataclass(frozen=True)
class Uses:
    """Tag 64: good for `count` allowed answers. The service writes the nonce."""

    count: int
    nonce: str = ""


@dataclass(frozen=True)
class Versions:
    """Tag 65: only these releases; compared as PEP 440 versions."""

    versions: tuple[str, ...]


@dataclass(frozen=True)
class Filenames:
    """Tag 66: only files of exactly these names."""

    filenames: tuple[str, ...]


@dataclass(frozen=True)
class Digests:
    """Tag 67: only files with one of these SHA-256 digests, 32 bytes each."""

    sha256: tuple[bytes, ...]


@dataclass(frozen=True)
class ClientNetworks:
    """Tag 68: only from these IPv4 or IPv6 networks, in CIDR form."""

    networks: tuple[str, ...]


@dataclass(frozen=True)
class Actions:
    """Tag 69: only these actions, `upload` for instance."""

    actions: tuple[str, ...]


@dataclass(frozen=True)
class Unreadable:
    """A caveat that this version can't read: it denies. In answers only."""

    body: bytes


Caveat = Union[
    Expiration,
    ProjectNames,
    ProjectIds,
    UserId,
    PublisherId,
    Uses,
    Versions,
    Filenames,
    Digests,
    ClientNetworks,
    Actions,
    Unreadable,
]
