"""What can go wrong: one base class, and the reasons that the service gives."""

from __future__ import annotations

from enum import Enum

__all__ = ["Error", "Reason", "Refused", "Unavailable"]


class Reason(str, Enum):
    """Why Mintage said no. `proto/mintage/v1/error_reason.proto` says what each means."""

    UNSPECIFIED = "UNSPECIFIED"
    """A reason that this version of the package doesn't know."""

    REQUEST_INVALID = "REQUEST_INVALID"
    INDEX_UNKNOWN = "INDEX_UNKNOWN"
    CALLER_UNKNOWN = "CALLER_UNKNOWN"
    CALLER_FORBIDDEN = "CALLER_FORBIDDEN"
    FEATURE_UNSUPPORTED = "FEATURE_UNSUPPORTED"
    RATE_LIMITED = "RATE_LIMITED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"

    ID_TOKEN_MALFORMED = "ID_TOKEN_MALFORMED"
    ISSUER_UNKNOWN = "ISSUER_UNKNOWN"
    ISSUER_DISABLED = "ISSUER_DISABLED"
    ID_TOKEN_KEY_UNKNOWN = "ID_TOKEN_KEY_UNKNOWN"
    ID_TOKEN_SIGNATURE = "ID_TOKEN_SIGNATURE"
    ID_TOKEN_EXPIRED = "ID_TOKEN_EXPIRED"
    ID_TOKEN_NOT_YET_VALID = "ID_TOKEN_NOT_YET_VALID"
    ID_TOKEN_AUDIENCE = "ID_TOKEN_AUDIENCE"
    ID_TOKEN_CLAIMS = "ID_TOKEN_CLAIMS"
    ID_TOKEN_REUSED = "ID_TOKEN_REUSED"
    EVENT_FORBIDDEN = "EVENT_FORBIDDEN"
    PUBLISHER_NOT_FOUND = "PUBLISHER_NOT_FOUND"
    NO_ELIGIBLE_PROJECT = "NO_ELIGIBLE_PROJECT"

    TOKEN_MALFORMED = "TOKEN_MALFORMED"
    TOKEN_KEY_UNKNOWN = "TOKEN_KEY_UNKNOWN"
    TOKEN_SIGNATURE = "TOKEN_SIGNATURE"
    TOKEN_TOO_LARGE = "TOKEN_TOO_LARGE"
    TOKEN_REVOKED = "TOKEN_REVOKED"
    CAVEAT_UNREADABLE = "CAVEAT_UNREADABLE"
    CAVEAT_NOT_OFFERED = "CAVEAT_NOT_OFFERED"
    CAVEAT_EXPIRED = "CAVEAT_EXPIRED"
    CAVEAT_NOT_YET_VALID = "CAVEAT_NOT_YET_VALID"
    CAVEAT_PROJECT = "CAVEAT_PROJECT"
    CAVEAT_USER = "CAVEAT_USER"
    CAVEAT_PUBLISHER = "CAVEAT_PUBLISHER"
    CAVEAT_USES_SPENT = "CAVEAT_USES_SPENT"
    CAVEAT_VERSION = "CAVEAT_VERSION"
    CAVEAT_FILENAME = "CAVEAT_FILENAME"
    CAVEAT_DIGEST = "CAVEAT_DIGEST"
    CAVEAT_CLIENT_NETWORK = "CAVEAT_CLIENT_NETWORK"
    CAVEAT_ACTION = "CAVEAT_ACTION"

    def __str__(self) -> str:
        return self.value


class Error(Exception):
    """Whatever keeps a call from its answer. Its text is one sentence without secrets.

    `reason` tells programs why, `retry_after` after how many seconds it is worth to try
    again (None: it isn't known), and `field` which field of the request is at fault.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: Reason = Reason.UNSPECIFIED,
        retry_after: float | None = None,
        field: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.retry_after = retry_after
        self.field = field


class Refused(Error):
    """The service answered, and the answer is no: asking again alone changes nothing, but
    for RATE_LIMITED after `retry_after`."""


class Unavailable(Error):
    """There was no answer: the service, its store or an issuer is out of reach, too much was
    asked at once, or the deadline passed. The same call may be made again."""
