"""Values into the contract's messages. Pure, and checks nothing that the service checks."""

from __future__ import annotations

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
from ._model import (
    Access,
    ActiveState,
    ClaimPolicy,
    ClaimRule,
    GitHub,
    GitLab,
    Google,
    KeptToken,
    Project,
    Publisher,
    Requester,
    Subject,
)
from .v1 import caveat_pb2, publisher_pb2
from .v1 import token_service_pb2 as pb

MAX_USER_AGENT_BYTES = 512
"""What the contract allows. Real ones are longer (pip's and uv's hold a JSON object), and what is
only kept for the audit trail is no reason to refuse an upload."""


def caveat(value: Caveat) -> caveat_pb2.Caveat:
    message = caveat_pb2.Caveat
    if isinstance(value, Expiration):
        times = {"not_before": value.not_before, "expires_at": value.expires_at}
        return message(expiration=caveat_pb2.Expiration(**times))
    if isinstance(value, ProjectNames):
        return message(project_names=caveat_pb2.ProjectNames(names=value.names))
    if isinstance(value, ProjectIds):
        return message(project_ids=caveat_pb2.ProjectIds(ids=value.ids))
    if isinstance(value, UserId):
        return message(user_id=caveat_pb2.UserId(id=value.id))
    if isinstance(value, PublisherId):
        return message(publisher_id=caveat_pb2.PublisherId(id=value.id))
    return _own_caveat(value)


def _own_caveat(value: Caveat) -> caveat_pb2.Caveat:
    """The caveats that PyPI doesn't have."""
    message = caveat_pb2.Caveat
    if isinstance(value, Uses):
        return message(uses=caveat_pb2.Uses(count=value.count, nonce=value.nonce))
    if isinstance(value, Versions):
        return message(versions=caveat_pb2.Versions(versions=value.versions))
    if isinstance(value, Filenames):
        return message(filenames=caveat_pb2.Filenames(filenames=value.filenames))
    if isinstance(value, Digests):
        return message(digests=caveat_pb2.Digests(sha256=value.sha256))
    if isinstance(value, ClientNetworks):
        return message(client_networks=caveat_pb2.ClientNetworks(networks=value.networks))
    if isinstance(value, Actions):
        return message(actions=caveat_pb2.Actions(actions=value.actions))
    if isinstance(value, Unreadable):
        return message(unreadable=value.body)
    raise TypeError(f"{type(value).__name__} is not a caveat")


def publisher(value: Publisher) -> publisher_pb2.Publisher:
    message = publisher_pb2.Publisher(
        id=value.id,
        issuer=value.issuer,
        projects=map(project, value.projects),
        projects_at_use=value.projects_at_use,
    )
    _set_identity(message, value)
    return message


def _set_identity(message: publisher_pb2.Publisher, value: Publisher) -> None:
    identity = value.identity
    if isinstance(identity, GitHub):
        message.github.CopyFrom(_github(identity))
    elif isinstance(identity, GitLab):
        message.gitlab.CopyFrom(_gitlab(identity))
    elif isinstance(identity, Google):
        google = publisher_pb2.Google(email=identity.email, subject=identity.subject)
        message.google.CopyFrom(google)
    elif isinstance(identity, ActiveState):
        message.activestate.CopyFrom(_activestate(identity))
    elif isinstance(identity, ClaimPolicy):
        policy = publisher_pb2.ClaimPolicy(rules=map(_claim_rule, identity.rules))
        message.claims.CopyFrom(policy)
    else:
        raise TypeError(f"{type(identity).__name__} is not a publisher's identity")


def _github(value: GitHub) -> publisher_pb2.GitHub:
    return publisher_pb2.GitHub(
        repository_owner=value.repository_owner,
        repository_owner_id=value.repository_owner_id,
        repository_name=value.repository_name,
        workflow_filename=value.workflow_filename,
        environment=value.environment,
        repository_id=value.repository_id,
    )


def _gitlab(value: GitLab) -> publisher_pb2.GitLab:
    return publisher_pb2.GitLab(
        namespace=value.namespace,
        project=value.project,
        workflow_filepath=value.workflow_filepath,
        environment=value.environment,
        namespace_id=value.namespace_id,
        project_id=value.project_id,
    )


def _activestate(value: ActiveState) -> publisher_pb2.ActiveState:
    return publisher_pb2.ActiveState(
        organization=value.organization, project=value.project, actor_id=value.actor_id
    )


def _claim_rule(value: ClaimRule) -> publisher_pb2.ClaimRule:
    message = publisher_pb2.ClaimRule(claim=value.claim)
    if value.equals is not None:
        message.equals = value.equals
    if value.equals_ignore_case is not None:
        message.equals_ignore_case = value.equals_ignore_case
    if value.glob is not None:
        message.glob = value.glob
    return message


def project(value: Project) -> publisher_pb2.Project:
    return publisher_pb2.Project(id=value.id, name=value.name)


def access(value: Access) -> pb.Access:
    return pb.Access(
        action=value.action,
        project=None if value.project is None else project(value.project),
        publisher_ids=value.publisher_ids,
        version=value.version,
        filename=value.filename,
        sha256=value.sha256,
    )


def client(value: Requester) -> pb.Client:
    return pb.Client(ip=value.ip, user_agent=_shortened(value.user_agent))


def _shortened(user_agent: str) -> str:
    whole = user_agent.encode("utf-8", "replace")
    return whole[:MAX_USER_AGENT_BYTES].decode("utf-8", "ignore")


def kept(value: KeptToken | None) -> pb.KeptToken | None:
    if value is None:
        return None
    return pb.KeptToken(root_key=value.root_key, subject=_subject(value.subject))


def _subject(value: Subject) -> pb.Subject:
    message = pb.Subject()
    if value.user_id is not None:
        message.user_id = value.user_id
    if value.publisher_id is not None:
        message.publisher_id = value.publisher_id
    return message
