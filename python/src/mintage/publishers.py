"""Trusted publishers in a TOML file, for an index without a database of its own for them.

    [[publishers]]
    id = "sampleproject"                # any text, but never given to another publisher later
    projects = ["sampleproject"]        # what it may upload, and nothing else
    index = "team/stable"               # only where a server has several
    issuer = "https://token.actions.githubusercontent.com"
    github = { repository_owner = "octo", repository_owner_id = "1",
               repository_name = "sampleproject", workflow_filename = "release.yml" }

The last line names the provider: `github`, `gitlab`, `google`, `activestate`, or `claims` with a
list of rules; the keys are the fields of `mintage.GitHub` and so on. Unknown and missing keys
are mistakes: a misspelt restriction must not turn into none. A project's id is its normalized
name.

It isn't a match: which of these a job is, only Mintage says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ._identities import CLAIMS, PROVIDERS, identity, text
from ._model import GitHub, GitLab, Project, ProviderIdentity, Publisher

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Publishers", "PublishersError"]

_KEYS = {"id", "projects", "index", "issuer"}
_ID = re.compile(r"[ -~]{1,128}")
_NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]")


class PublishersError(ValueError):
    """The file of publishers has a mistake; the text says where."""


class Publishers:
    """The registered publishers of an index."""

    def __init__(self, publishers: Iterable[Publisher]) -> None:
        self._publishers = tuple(publishers)

    def __len__(self) -> int:
        return len(self._publishers)

    def of_claims(self, claims: Mapping[str, Any]) -> list[Publisher]:
        """The candidates for an ID token's claims, which needn't be verified: Mintage matches
        each itself. One look-up, so that a long file doesn't go to Mintage as a whole."""
        return [
            publisher
            for publisher in self._publishers
            if publisher.issuer == claims.get("iss") and _may_be(publisher.identity, claims)
        ]

    def of_project(self, name: str) -> tuple[str, ...]:
        """The ids of those that may upload to this project, whose name is normalized."""
        return tuple(
            publisher.id
            for publisher in self._publishers
            if any(project.id == name for project in publisher.projects)
        )

    @classmethod
    def by_index(cls, path: str | Path) -> dict[str, Publishers]:
        """The publishers of a file, by their `index` (without one: ""). Raises PublishersError."""
        try:
            with open(path, "rb") as file:
                document = tomllib.load(file)
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise PublishersError(f"{path}: {error}") from error
        return {index: cls(publishers) for index, publishers in _read(document).items()}


def _may_be(identity: ProviderIdentity, claims: Mapping[str, Any]) -> bool:
    match identity:
        case GitHub():
            said = claims.get("repository")
            wanted = f"{identity.repository_owner}/{identity.repository_name}"
        case GitLab():
            said, wanted = claims.get("project_path"), f"{identity.namespace}/{identity.project}"
        case _:
            return True
    return isinstance(said, str) and said.lower() == wanted.lower()


def _read(document: Mapping[str, Any]) -> dict[str, list[Publisher]]:
    tables = document.get("publishers")
    if set(document) - {"publishers"} or not isinstance(tables, list):
        raise PublishersError("only a list of tables [[publishers]] is expected")
    found: dict[str, list[Publisher]] = {}
    ids: set[str] = set()
    for place, table in enumerate(tables, start=1):
        try:
            publisher = _publisher(table)
            index = text(table, "index", default="").strip("/")
        except (TypeError, ValueError) as error:
            raise PublishersError(f"publisher {place}: {error}") from error
        if publisher.id in ids:
            raise PublishersError(f"publisher {place}: the id {publisher.id!r} is there twice")
        ids.add(publisher.id)
        found.setdefault(index, []).append(publisher)
    return found


def _publisher(table: Any) -> Publisher:
    if not isinstance(table, dict):
        raise ValueError("is no table")
    providers = sorted(set(table) - _KEYS)
    if len(providers) != 1 or providers[0] not in {*PROVIDERS, CLAIMS}:
        known = ", ".join([*PROVIDERS, CLAIMS])
        raise ValueError(f"names one provider ({known}), not {', '.join(providers) or 'none'}")
    names = table.get("projects")
    if not isinstance(names, list) or not names:
        raise ValueError("`projects` is a list of at least one name")
    identifier = text(table, "id")
    if _ID.fullmatch(identifier) is None:
        raise ValueError("`id` is 1 to 128 printable ASCII characters")
    return Publisher(
        id=identifier,
        issuer=text(table, "issuer"),
        identity=identity(providers[0], table[providers[0]]),
        projects=tuple(_project(name) for name in names),
    )


def _project(name: Any) -> Project:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no project's name")
    normalized = re.sub(r"[-_.]+", "-", name).lower()
    return Project(id=normalized, name=normalized)
