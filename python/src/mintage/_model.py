"""What goes to the service and what comes back, as frozen values.

The fields mean what `proto/mintage/v1/` says of them; bounds stand there. Times are aware
`datetime`s in UTC. Whatever holds a credential leaves it out of its `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Union

from ._caveats import Caveat
from ._errors import Reason

MULTI_USE = "multi-use-token"
"""PEP 807's feature: the token may be used until it ends."""

SINGLE_USE = "single-use-token"
"""PEP 807's feature: the token is good for one upload."""


@dataclass(frozen=True)
class Project:
    """A project: the index's own id of it, and its name as shown."""

    id: str
    name: str


@dataclass(frozen=True)
class GitHub:
    """A workflow of a GitHub repository. `environment` and `repository_id`: empty is any."""

    repository_owner: str
    repository_owner_id: str
    repository_name: str
    workflow_filename: str
    environment: str = ""
    repository_id: str = ""


@dataclass(frozen=True)
class GitLab:
    """A pipeline of a GitLab project. The fields with a default: empty is any."""

    namespace: str
    project: str
    workflow_filepath: str
    environment: str = ""
    namespace_id: str = ""
    project_id: str = ""


@dataclass(frozen=True)
class Google:
    """A Google service account. An empty `subject` isn't pinned."""

    email: str
    subject: str = ""


@dataclass(frozen=True)
class ActiveState:
    """A project on the ActiveState Platform."""

    organization: str
    project: str
    actor_id: str


@dataclass(frozen=True)
class ClaimRule:
    """A claim and the one condition that it has to meet; exactly one is given.

    In a `glob`, which has to match the whole claim, `*` stands for any run of characters but
    `/`, `**` for any run, `?` for one but `/`.
    """

    claim: str
    equals: str | None = None
    equals_ignore_case: str | None = None
    glob: str | None = None

    def __post_init__(self) -> None:
        given = [self.equals, self.equals_ignore_case, self.glob]
        if sum(condition is not None for condition in given) != 1:
            raise ValueError("a claim rule has exactly one of equals, equals_ignore_case and glob")


@dataclass(frozen=True)
class ClaimPolicy:
    """Any other provider: every rule must hold, and an empty policy matches nothing."""

    rules: tuple[ClaimRule, ...]


ProviderIdentity = Union[GitHub, GitLab, Google, ActiveState, ClaimPolicy]


@dataclass(frozen=True)
class Publisher:
    """A trusted publisher as the index has it registered.

    `issuer` is the identity provider's URL, as in the ID token's `iss`. With
    `projects_at_use` the token covers whatever projects the publisher has when it is used:
    `projects` may stay empty, and the token stays short.
    """

    id: str
    issuer: str
    identity: ProviderIdentity
    projects: tuple[Project, ...] = ()
    projects_at_use: bool = False


@dataclass(frozen=True)
class Requester:
    """Who asked the index: for limits by address (none where `ip` is empty) and the audit trail."""

    ip: str = ""
    user_agent: str = ""


@dataclass(frozen=True)
class Access:
    """What a token's bearer wants to do, as the index sees it.

    `publisher_ids` are those of the publishers registered to the project at this moment.
    `sha256` is the file's, 32 bytes. An empty `action` is `upload`.
    """

    project: Project | None = None
    publisher_ids: tuple[str, ...] = ()
    version: str = ""
    filename: str = ""
    sha256: bytes = b""
    action: str = ""


@dataclass(frozen=True)
class Subject:
    """Whose token it is: exactly one of both is given."""

    user_id: str | None = None
    publisher_id: str | None = None

    def __post_init__(self) -> None:
        if (self.user_id is None) == (self.publisher_id is None):
            raise ValueError("a subject is either a user or a publisher")


@dataclass(frozen=True)
class KeptToken:
    """What an index keeps of a token that it minted itself: its root key and whose it is."""

    root_key: bytes = field(repr=False)
    subject: Subject


@dataclass(frozen=True)
class Identity:
    """What an identity token said, verified."""

    issuer: str
    subject: str
    expires_at: datetime | None
    claims: Mapping[str, Any]


@dataclass(frozen=True)
class Minted:
    """A new upload token. `expires_at` is None for a user's token without an end."""

    token: str = field(repr=False)
    token_id: str
    expires_at: datetime | None
    features: tuple[str, ...]
    publisher_id: str
    projects: tuple[Project, ...]
    caveats: tuple[Caveat, ...]
    identity: Identity | None


@dataclass(frozen=True)
class Mismatch:
    """The first claim in which a candidate publisher differs from an identity token."""

    publisher_id: str
    claim: str
    expected: str
    found: str


@dataclass(frozen=True)
class Denial:
    """One reason for a no, and a sentence that may be shown to the bearer.

    `caveat` is the position of the caveat that refused, embedded ones first, then stored ones.
    """

    reason: Reason
    message: str
    caveat: int | None = None
    mismatch: Mismatch | None = None


@dataclass(frozen=True)
class TokenFacts:
    """What an upload token is; only told where its signature holds."""

    token_id: str
    subject: Subject | None
    key_id: str
    caveats: tuple[Caveat, ...]
    minted_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True)
class Verification:
    """The answer to Verify. It is true where the credential is good."""

    allowed: bool
    denials: tuple[Denial, ...] = ()
    token: TokenFacts | None = None
    identity: Identity | None = None
    publisher_id: str = ""

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True)
class Attenuated:
    """A narrowed token and every caveat in it, in order."""

    token: str = field(repr=False)
    caveats: tuple[Caveat, ...]


@dataclass(frozen=True)
class Revoked:
    """The token that is revoked now; `again` where it had been before."""

    token_id: str
    again: bool
