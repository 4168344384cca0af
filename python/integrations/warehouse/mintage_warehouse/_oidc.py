"""IOIDCPublisherService: which publisher an ID token belongs to.

One service lives as long as a request, as in Warehouse. Signature, times, audience and claims
are Mintage's to judge, its key sets and its cache too; what stays is the look-up in Warehouse's
tables. It doesn't redeem the ID token: minting does, in the same step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mintage import Client, Publisher, Reason, Verification

from ._errors import InvalidPublisherError
from ._publishers import candidate
from ._requests import requester

Claims = dict[str, Any]

LookUp = Callable[[Claims, bool], Any]
"""From claims, and whether a pending one is wanted, to a publisher's row; raises
InvalidPublisherError where there is none. `find_publisher_by_issuer` without its session."""


class MintageOIDCPublisherService:
    """Drop-in for the verifying half of `OIDCPublisherService`."""

    def __init__(
        self,
        client: Client,
        issuer_url: str,
        look_up: LookUp,
        *,
        request: Any = None,
        index: str = "",
    ) -> None:
        self._client = client
        self._issuer_url = issuer_url
        self._look_up = look_up
        self._request = request
        self._index = index
        self._verified: tuple[str, Claims] | None = None

    def verify_jwt_signature(self, unverified_token: str, issuer_url: str) -> Claims | None:
        """The claims of an ID token that is good but for its publisher; None otherwise."""
        self._verified = None
        answer = self._verify_identity(unverified_token)
        identity = answer.identity
        # Without a candidate the one thing that may be wrong is that there was none.
        only_unmatched = all(
            denial.reason is Reason.PUBLISHER_NOT_FOUND for denial in answer.denials
        )
        if identity is None or not only_unmatched or identity.issuer != issuer_url:
            return None
        claims = dict(identity.claims)
        self._verified = (unverified_token, claims)
        return claims

    def find_publisher(self, signed_claims: Claims, *, pending: bool = False) -> Any:
        """The row of the publisher that matches. Raises InvalidPublisherError."""
        if self._verified is None or self._verified[1] is not signed_claims:
            raise InvalidPublisherError("these claims were not verified here")
        row = self._look_up(signed_claims, pending)
        answer = self._verify_identity(self._verified[0], self.candidate(row))
        if not answer:
            raise InvalidPublisherError("; ".join(_told(denial) for denial in answer.denials))
        return row

    def candidate(self, row: Any) -> Publisher:
        """A publisher's row as Mintage's candidate."""
        return candidate(row, self._issuer_url)

    def _verify_identity(self, id_token: str, *candidates: Publisher) -> Verification:
        return self._client.verify_identity(
            id_token, candidates, requester=requester(self._request), index=self._index
        )


def _told(denial: Any) -> str:
    mismatch = denial.mismatch
    if mismatch is None:
        return str(denial.message)
    return f"claim {mismatch.claim!r}: expected {mismatch.expected!r}, found {mismatch.found!r}"
