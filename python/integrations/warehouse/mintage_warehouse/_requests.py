"""What a request of Warehouse's is to Mintage: who asks, and what they want to do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from mintage import Access, Project, Requester

_NO_ACTION = re.compile(r"[^a-z0-9_-]")

AccessOf = Callable[[Any, Any], Access]
"""From a view's context and the permission asked for to an access."""


def access_for(project_class: type) -> AccessOf:
    """How Warehouse's contexts and permissions are read.

    Only an upload has Mintage's action `upload`; every other permission is an action of its own
    name, so that a token narrowed to uploads is good for nothing else. A context that isn't a
    project makes an access without one, and whatever is scoped to projects denies it.
    """

    def access_of(context: Any, permission: Any) -> Access:
        name = str(getattr(permission, "value", permission)).lower()
        action = "upload" if name == "projects:upload" else _NO_ACTION.sub("-", name)
        if not isinstance(context, project_class):
            return Access(action=action)
        project: Any = context
        return Access(
            project=Project(id=str(project.id), name=project.name),
            publisher_ids=tuple(str(publisher.id) for publisher in project.oidc_publishers),
            action=action,
        )

    return access_of


def requester(request: Any) -> Requester:
    """Who asked, for limits by address and the audit trail."""
    if request is None:
        return Requester()
    agent = (request.user_agent or "").encode("ascii", "replace")[:512].decode("ascii")
    return Requester(ip=request.remote_addr or "", user_agent=agent)


def request_id(id_token: str, asking: Requester) -> str:
    """The same for a client's retry, and for nobody elsewhere who got hold of its ID token."""
    return hashlib.sha256(f"{asking.ip}\0{id_token}".encode()).hexdigest()
