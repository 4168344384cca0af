"""Warehouse's registered publishers as Mintage's candidates.

By their columns alone, pending ones too. Claims aren't looked at here: Mintage matches each
candidate itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mintage import ActiveState, GitHub, GitLab, Google, Project, ProviderIdentity, Publisher


def candidate(publisher: Any, issuer_url: str) -> Publisher:
    """The candidate for a publisher's row. Raises KeyError for a kind that isn't known,
    and ValueError for a row with a restriction that Mintage doesn't have.

    `issuer_url` is that of the kind of publisher, and never what an ID token says of itself. A
    row that names an issuer of its own, as those of self-managed GitLabs do, is for that alone:
    the same project on another GitLab is somebody else's. A pending publisher has no projects yet; the name of the one that it will make is no project.
    """
    kind = publisher.discriminator.removeprefix("pending_")
    projects = getattr(publisher, "projects", ())
    return Publisher(
        id=str(publisher.id),
        issuer=getattr(publisher, "issuer_url", None) or issuer_url,
        identity=_IDENTITIES[kind](publisher),
        projects=tuple(Project(id=str(project.id), name=project.name) for project in projects),
    )


def _github(row: Any) -> ProviderIdentity:
    return GitHub(
        repository_owner=row.repository_owner,
        repository_owner_id=row.repository_owner_id,
        repository_name=row.repository_name,
        workflow_filename=row.workflow_filename,
        environment=row.environment or "",
    )


def _gitlab(row: Any) -> ProviderIdentity:
    return GitLab(
        namespace=row.namespace,
        project=row.project,
        workflow_filepath=row.workflow_filepath,
        environment=row.environment or "",
    )


def _google(row: Any) -> ProviderIdentity:
    return Google(email=row.email, subject=row.sub or "")


def _activestate(row: Any) -> ProviderIdentity:
    if getattr(row, "ingredient", None):
        raise ValueError("Mintage can't hold an ActiveState publisher to an ingredient")
    return ActiveState(
        organization=row.organization,
        project=row.activestate_project_name,
        actor_id=row.actor_id,
    )


_IDENTITIES: Mapping[str, Callable[[Any], ProviderIdentity]] = {
    "github_oidc_publishers": _github,
    "gitlab_oidc_publishers": _gitlab,
    "google_oidc_publishers": _google,
    "activestate_oidc_publishers": _activestate,
}
