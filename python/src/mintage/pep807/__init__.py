"""The endpoints of PEP 807 for an index, without a web framework.

`Endpoints` turns a `Request` into a `Response`: discovery, audience, mint-token and burn-token,
for any number of indexes on one host. `mintage.wsgi` and `mintage.asgi` mount it; a framework
can as well call it from its own views. `upload_token` and `refused` serve the upload endpoint,
which stays the index's own; `problem` is for refusals of its own in the same form.

Nothing here decides who may publish: that is the service's answer to Mint. No address is taken
from an `X-Forwarded-*` header unless you say so, and no URL but those handed out by discovery is
ever made of the `Host` header; give `base_url` where the server in front doesn't check that.

Every answer says `Cache-Control: no-store`. Every refusal is a problem details object (RFC 9457)
which has also the members that today's uploading tools read: `message`, and `errors` with a
`code` and a `description` each.
"""

from ._credentials import upload_token
from ._endpoints import AsyncEndpoints, Endpoints
from ._problems import problem, refused
from ._values import (
    AsyncFindPublishers,
    CreatePending,
    FindPublishers,
    Index,
    PendingPublisher,
    ReportMismatch,
    Request,
    Response,
)

__all__ = [
    "AsyncEndpoints",
    "AsyncFindPublishers",
    "CreatePending",
    "Endpoints",
    "FindPublishers",
    "Index",
    "PendingPublisher",
    "ReportMismatch",
    "Request",
    "Response",
    "problem",
    "refused",
    "upload_token",
]
