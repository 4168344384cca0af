"""Refusals as bodies: one table from the service's reasons to HTTP, and what is said of them.

The bodies are RFC 9457 problem details with `message` and `errors` added, since twine and the
GitHub action read `errors[].code` and `errors[].description`, and uv prints the whole body:
therefore the sentence comes first.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from traceback import format_tb
from typing import Any

from .._errors import Error, Reason
from .._model import Verification
from ._values import Response, title

_logger = logging.getLogger("mintage.pep807")

PROBLEM = "application/problem+json"

DEFAULT_RETRY_AFTER = 5
"""Seconds, where waiting helps and nobody said how long."""

MAX_RETRY_AFTER = 3_600

INTERNAL = (500, "internal")
_PAYLOAD = (422, "invalid-payload")
_ID_TOKEN = (422, "invalid-token")
_PUBLISHER = (422, "invalid-publisher")
_UPLOAD_TOKEN = (403, "invalid-upload-token")
_FORBIDDEN = (403, "forbidden-by-upload-token")

ANSWERS: dict[Reason, tuple[int, str]] = {
    Reason.UNSPECIFIED: INTERNAL,
    Reason.REQUEST_INVALID: _PAYLOAD,
    Reason.INDEX_UNKNOWN: INTERNAL,
    Reason.CALLER_UNKNOWN: INTERNAL,
    Reason.CALLER_FORBIDDEN: INTERNAL,
    Reason.FEATURE_UNSUPPORTED: _PAYLOAD,
    Reason.RATE_LIMITED: (429, "rate-limited"),
    Reason.UNAVAILABLE: (503, "unavailable"),
    Reason.INTERNAL: INTERNAL,
    Reason.ID_TOKEN_MALFORMED: _PAYLOAD,
    Reason.ISSUER_UNKNOWN: _PAYLOAD,
    Reason.ISSUER_DISABLED: (422, "not-enabled"),
    Reason.ID_TOKEN_KEY_UNKNOWN: _ID_TOKEN,
    Reason.ID_TOKEN_SIGNATURE: _ID_TOKEN,
    Reason.ID_TOKEN_EXPIRED: _ID_TOKEN,
    Reason.ID_TOKEN_NOT_YET_VALID: _ID_TOKEN,
    Reason.ID_TOKEN_AUDIENCE: _ID_TOKEN,
    Reason.ID_TOKEN_CLAIMS: _ID_TOKEN,
    Reason.ID_TOKEN_REUSED: (422, "invalid-reuse-token"),
    Reason.EVENT_FORBIDDEN: _PUBLISHER,
    Reason.PUBLISHER_NOT_FOUND: _PUBLISHER,
    Reason.NO_ELIGIBLE_PROJECT: _PUBLISHER,
    Reason.TOKEN_MALFORMED: _UPLOAD_TOKEN,
    Reason.TOKEN_KEY_UNKNOWN: _UPLOAD_TOKEN,
    Reason.TOKEN_SIGNATURE: _UPLOAD_TOKEN,
    Reason.TOKEN_TOO_LARGE: _UPLOAD_TOKEN,
    Reason.TOKEN_REVOKED: _UPLOAD_TOKEN,
    Reason.CAVEAT_UNREADABLE: _FORBIDDEN,
    Reason.CAVEAT_NOT_OFFERED: _FORBIDDEN,
    Reason.CAVEAT_EXPIRED: _FORBIDDEN,
    Reason.CAVEAT_NOT_YET_VALID: _FORBIDDEN,
    Reason.CAVEAT_PROJECT: _FORBIDDEN,
    Reason.CAVEAT_USER: _FORBIDDEN,
    Reason.CAVEAT_PUBLISHER: _FORBIDDEN,
    Reason.CAVEAT_USES_SPENT: _FORBIDDEN,
    Reason.CAVEAT_VERSION: _FORBIDDEN,
    Reason.CAVEAT_FILENAME: _FORBIDDEN,
    Reason.CAVEAT_DIGEST: _FORBIDDEN,
    Reason.CAVEAT_CLIENT_NETWORK: _FORBIDDEN,
    Reason.CAVEAT_ACTION: _FORBIDDEN,
}
"""Status and `code` for every reason. The codes of 422 are those that PyPI answers with."""

DEFECT = "The index has a defect here; its operators can see it in their log."
_NO_CREDENTIALS = (
    'The upload needs credentials: the user name "__token__", and an upload token as password.'
)


def refused(why: Error | Verification | None = None) -> Response:
    """The answer of the upload endpoint to whoever may not upload.

    For a denied `Verification` 403 with a sentence for each denial; 401 for None, where the
    request had no credentials; 429 or 503 with `Retry-After` for a `mintage.Error` that means
    that no answer was given. What is the index's own mistake is logged, and answered by 500.
    """
    if why is None:
        challenge = ("WWW-Authenticate", 'Basic realm="upload", charset="UTF-8"')
        return problem(401, "no-credentials", _NO_CREDENTIALS, headers=(challenge,))
    if isinstance(why, Error):
        return of_error(why)
    if why.allowed:
        raise ValueError("the verification is not a denial")
    return _of_denials(why)


def of_error(error: Error, sentence: str = "") -> Response:
    """The answer for an error of the client, by the table; `sentence` replaces its message.

    A caveat's reason belongs to a denial: as an error it says what the index asked for wrongly.
    """
    status, code = ANSWERS[error.reason]
    if status == 500 or (status, code) == _FORBIDDEN:
        return internal("the service refused the index's own call: %s: %s", error.reason, error)
    if error.reason is Reason.REQUEST_INVALID and not _by_the_client(error.field):
        return internal("the service refused the index's own call: %s: %s", error.field, error)
    headers: tuple[tuple[str, str], ...] = ()
    if status in (429, 503):
        headers = (("Retry-After", str(_seconds(error.retry_after))),)
    return problem(status, code, as_sentence(sentence or error.message), headers=headers)


def internal(message: str, *arguments: object) -> Response:
    """500, and what happened in the log, where it must hold no credential."""
    _logger.error(message, *arguments)
    return problem(500, "internal", DEFECT)


def failed(what: str, error: Exception) -> Response:
    """500 for an exception that nobody foresaw. The log says where it was raised, and not its
    text, which may quote a token."""
    where = "".join(format_tb(error.__traceback__))
    return internal("%s failed with %s:\n%s", what, type(error).__qualname__, where)


def problem(
    status: int,
    code: str,
    sentence: str,
    *,
    errors: Sequence[tuple[str, str]] = (),
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    """A refusal with one sentence; `errors` are its parts, code and sentence, where it has many.

    `code` is a word for programs. What was sent must not come back in it: tools print it.
    """
    parts = errors or [(code, sentence)]
    body = {
        "detail": sentence,
        "status": status,
        "title": title(status),
        "type": "about:blank",
        "message": sentence,
        "errors": [{"code": code, "description": text} for code, text in parts],
    }
    return answer(status, body, PROBLEM, sentence=sentence, headers=headers)


def nothing_here() -> Response:
    """404, where no application stands behind the endpoints."""
    return problem(404, "not-found", "There is nothing at this path.")


def answer(
    status: int,
    body: dict[str, Any],
    content_type: str,
    *,
    sentence: str = "",
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    """Any answer of the endpoints. ASCII, so that no control character can leave it."""
    encoded = json.dumps(body).encode("ascii")
    return Response(
        status,
        (
            ("Content-Type", content_type),
            ("Content-Length", str(len(encoded))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *headers,
        ),
        encoded,
        sentence,
    )


def as_sentence(message: str) -> str:
    """The service's messages begin in lower case and have no stop: clients print them alone."""
    text = message.strip()
    if not text:
        return DEFECT
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _of_denials(verification: Verification) -> Response:
    errors = [
        (ANSWERS[denial.reason][1], as_sentence(denial.message)) for denial in verification.denials
    ]
    if not errors:
        errors = [_FORBIDDEN[1:] + ("The upload token is not good for this upload.",)]
    sentences = " ".join(dict.fromkeys(sentence for _, sentence in errors))
    return problem(403, errors[0][0], sentences, errors=errors)


def _by_the_client(field: str) -> bool:
    """Whether a field of Mint's request holds what the uploading client sent."""
    return field.startswith(("trusted_publishing.id_token", "features"))


def _seconds(retry_after: float | None) -> int:
    if retry_after is None or not math.isfinite(retry_after):
        return DEFAULT_RETRY_AFTER
    return min(max(math.ceil(retry_after), 1), MAX_RETRY_AFTER)
