"""What is said where the answer is no: the table, the bodies, the sentences."""

from __future__ import annotations

import json
import logging
import math

import pytest

from mintage import Denial, Error, Reason, Refused, Unavailable, Verification
from mintage.pep807 import Response, refused
from mintage.pep807._problems import ANSWERS, as_sentence, problem
from mintage.pep807._values import TITLES

TABLE = """\
UNSPECIFIED            500 internal
REQUEST_INVALID        422 invalid-payload
INDEX_UNKNOWN          500 internal
CALLER_UNKNOWN         500 internal
CALLER_FORBIDDEN       500 internal
FEATURE_UNSUPPORTED    422 invalid-payload
RATE_LIMITED           429 rate-limited
UNAVAILABLE            503 unavailable
INTERNAL               500 internal
ID_TOKEN_MALFORMED     422 invalid-payload
ISSUER_UNKNOWN         422 invalid-payload
ISSUER_DISABLED        422 not-enabled
ID_TOKEN_KEY_UNKNOWN   422 invalid-token
ID_TOKEN_SIGNATURE     422 invalid-token
ID_TOKEN_EXPIRED       422 invalid-token
ID_TOKEN_NOT_YET_VALID 422 invalid-token
ID_TOKEN_AUDIENCE      422 invalid-token
ID_TOKEN_CLAIMS        422 invalid-token
ID_TOKEN_REUSED        422 invalid-reuse-token
EVENT_FORBIDDEN        422 invalid-publisher
PUBLISHER_NOT_FOUND    422 invalid-publisher
NO_ELIGIBLE_PROJECT    422 invalid-publisher
TOKEN_MALFORMED        403 invalid-upload-token
TOKEN_KEY_UNKNOWN      403 invalid-upload-token
TOKEN_SIGNATURE        403 invalid-upload-token
TOKEN_TOO_LARGE        403 invalid-upload-token
TOKEN_REVOKED          403 invalid-upload-token
CAVEAT_UNREADABLE      403 forbidden-by-upload-token
CAVEAT_NOT_OFFERED     403 forbidden-by-upload-token
CAVEAT_EXPIRED         403 forbidden-by-upload-token
CAVEAT_NOT_YET_VALID   403 forbidden-by-upload-token
CAVEAT_PROJECT         403 forbidden-by-upload-token
CAVEAT_USER            403 forbidden-by-upload-token
CAVEAT_PUBLISHER       403 forbidden-by-upload-token
CAVEAT_USES_SPENT      403 forbidden-by-upload-token
CAVEAT_VERSION         403 forbidden-by-upload-token
CAVEAT_FILENAME        403 forbidden-by-upload-token
CAVEAT_DIGEST          403 forbidden-by-upload-token
CAVEAT_CLIENT_NETWORK  403 forbidden-by-upload-token
CAVEAT_ACTION          403 forbidden-by-upload-token
"""

SECRET_SENTENCE = 'the caller "web" does not have the right "mint-publisher"'


def body(response: Response) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(response.body)
    return loaded


def test_every_reason_has_a_status_and_a_code() -> None:
    told = [f"{reason:<22} {ANSWERS[reason][0]} {ANSWERS[reason][1]}\n" for reason in Reason]
    assert "".join(told) == TABLE
    assert {status for status, _ in ANSWERS.values()} <= set(TITLES)


@pytest.mark.parametrize(
    ("retry_after", "header"),
    [
        (None, "5"),
        (0.0, "1"),
        (0.001, "1"),
        (1.0, "1"),
        (1.001, "2"),
        (59.9, "60"),
        (-3.0, "1"),
        (1e12, "3600"),
        (math.inf, "5"),
        (math.nan, "5"),
    ],
)
def test_retry_after_is_whole_seconds_rounded_up(retry_after: float | None, header: str) -> None:
    for error in (
        Refused("too many requests", reason=Reason.RATE_LIMITED, retry_after=retry_after),
        Unavailable("out of reach", reason=Reason.UNAVAILABLE, retry_after=retry_after),
    ):
        assert dict(refused(error).headers)["Retry-After"] == header


def test_no_credentials_are_challenged() -> None:
    response = refused(None)
    assert response.status == 401
    assert dict(response.headers)["WWW-Authenticate"].startswith("Basic ")


def test_a_denied_upload_hears_every_reason() -> None:
    denied = Verification(
        allowed=False,
        denials=(
            Denial(Reason.CAVEAT_PROJECT, 'the token is for the project "a", and this is for "b"'),
            Denial(Reason.CAVEAT_EXPIRED, "the token expired"),
        ),
    )
    response = refused(denied)
    said = body(response)
    assert response.status == 403
    assert said["detail"] == said["message"] == (
        'The token is for the project "a", and this is for "b". The token expired.'
    )
    assert said["errors"] == [
        {
            "code": "forbidden-by-upload-token",
            "description": 'The token is for the project "a", and this is for "b".',
        },
        {"code": "forbidden-by-upload-token", "description": "The token expired."},
    ]
    assert "Retry-After" not in dict(response.headers)


def test_a_denial_without_reasons_is_still_a_refusal() -> None:
    response = refused(Verification(allowed=False))
    assert response.status == 403
    assert body(response)["errors"]


def test_what_is_allowed_cannot_be_refused() -> None:
    with pytest.raises(ValueError, match="not a denial"):
        refused(Verification(allowed=True))


@pytest.mark.parametrize(
    "error",
    [
        Refused(SECRET_SENTENCE, reason=Reason.CALLER_FORBIDDEN),
        Refused(SECRET_SENTENCE, reason=Reason.CALLER_UNKNOWN),
        Refused(SECRET_SENTENCE, reason=Reason.INDEX_UNKNOWN),
        Refused(SECRET_SENTENCE, reason=Reason.UNSPECIFIED),
        Unavailable(SECRET_SENTENCE, reason=Reason.INTERNAL),
        Refused(SECRET_SENTENCE, reason=Reason.REQUEST_INVALID, field="lifetime"),
        Refused(SECRET_SENTENCE, reason=Reason.REQUEST_INVALID),
        Refused(SECRET_SENTENCE, reason=Reason.CAVEAT_NOT_OFFERED),
    ],
)
def test_the_indexs_own_mistakes_are_logged_and_not_told(
    error: Error, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "mintage.pep807"):
        response = refused(error)
    assert response.status == 500
    assert "web" not in response.body.decode()
    assert SECRET_SENTENCE in caplog.text


@pytest.mark.parametrize("field", ["features", "trusted_publishing.id_token"])
def test_what_the_client_sent_is_told_to_the_client(field: str) -> None:
    error = Refused("it is out of bounds", reason=Reason.REQUEST_INVALID, field=field)
    assert refused(error).status == 422
    assert body(refused(error))["detail"] == "It is out of bounds."


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("the token expired", "The token expired."),
        ("Already one.", "Already one."),
        ('it is "x"', 'It is "x".'),
        ("  spaced  ", "Spaced."),
    ],
)
def test_messages_become_sentences(message: str, sentence: str) -> None:
    assert as_sentence(message) == sentence


@pytest.mark.parametrize(
    "sentence",
    ["a\r\nSet-Cookie: x=y", "a\0b", "émigré 🚀", "x" * 10_000, "\x1b[31mred", "\x7f"],
)
def test_a_status_line_is_one_short_printable_line(sentence: str) -> None:
    line = problem(403, "x", sentence).status_line
    assert line.startswith("403 ")
    assert len(line) <= 4 + 240
    assert all(" " <= c <= "~" for c in line)


def test_a_body_is_ascii_whatever_it_says() -> None:
    response = problem(404, "x", "émigré \u2028 \x1b")
    assert response.body.isascii()
    assert b"\x1b" not in response.body
    assert dict(response.headers)["Content-Length"] == str(len(response.body))


def test_secrets_are_not_in_reprs() -> None:
    assert "pypi-secret" not in repr(problem(404, "x", "y")) + repr(
        Response(200, (), b'{"token": "pypi-secret"}')
    )
