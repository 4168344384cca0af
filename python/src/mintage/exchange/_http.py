"""Requests to the index: bounded in size and time, repeated where that can help, and never
redirected.

A request may be repeated with the same ID token: an index redeems one only when it answers
with success, and Mintage gives the same token again to a repeated request.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from ..tokens._show import harmless
from ._failed import Failed
from ._origin import is_loopback

__all__ = ["Answer", "Http"]

ACCEPT = "application/vnd.pypi.pytp.v1+json"
PROBLEM = "application/problem+json"

MAX_BODY_BYTES = 64 * 1024
"""Of an answer. An upload token has at most 16 KiB."""

_TIMEOUT_SECONDS = 30.0
_ATTEMPTS = 4
_MAX_WAIT_SECONDS = 60.0
"""All pauses between attempts together."""

_WORTH_REPEATING = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Answer:
    """What the index answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, what: str) -> dict[str, Any]:
        """The body of a success, which is a JSON object."""
        document = _json(self.body)
        if not isinstance(document, dict):
            raise Failed(f"{what} answered {self.status} with something else than a JSON object")
        return document

    def problem(self) -> str | None:
        """What a refusal says: an RFC 9457 problem, or PyPI's older form. None where the body
        is neither."""
        document = _json(self.body)
        if not isinstance(document, dict):
            return None
        errors = document.get("errors")
        reasons = [
            error["description"]
            for error in (errors if isinstance(errors, list) else [])
            if isinstance(error, dict) and isinstance(error.get("description"), str)
        ]
        said = [document.get(name) for name in ("detail", "message", "title")]
        said.insert(0, "; ".join(reasons))
        return next((text for text in said if isinstance(text, str) and text), None)

    def is_problem(self) -> bool:
        """Whether this is an answer of PEP 807, and not of a server that never heard of it."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind == PROBLEM and isinstance(_json(self.body), dict)

    def retry_after(self) -> float | None:
        """Seconds that the index asks to wait."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit():
            return float(value[:9])
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (TypeError, ValueError, OverflowError, OSError):
            return None

    def refusal(self, what: str) -> Failed:
        """The sentence for an answer that is no success."""
        answered = f"{what} answered {self.status}"
        if 300 <= self.status < 400:
            to = self.headers.get("location", "nowhere")
            return Failed(
                f"{answered}, a redirect to {to}, which is not followed: your ID token goes "
                "nowhere but to the upload URL that you give"
            )
        wait = self.retry_after()
        later = f" (it asks to wait for {wait:.0f} s)" if wait else ""
        said = self.problem()
        if said is None:
            phrase = http.client.responses.get(self.status, "an unknown status")
            return Failed(f"{answered} ({phrase}) and doesn't say why{later}")
        return Failed(f"{answered}: {said}{later}")


class _Again(Exception):
    """This attempt gave no answer, and another one may."""


class Http:
    """A client for one exchange. `say` hears why it waits; `sleep` is there for tests."""

    def __init__(
        self, say: Callable[[str], None], *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.say = say
        self._sleep = sleep
        self._tls = ssl.create_default_context()

    def get(self, url: str, what: str) -> Answer:
        """GET; `what` names the thing asked, for people."""
        return self._send(urllib.request.Request(url, headers=_headers()), what)

    def post(self, url: str, document: Mapping[str, Any], what: str) -> Answer:
        """POST of a JSON object."""
        body = json.dumps(document).encode("ascii")
        headers = {**_headers(), "Content-Type": "application/json"}
        return self._send(urllib.request.Request(url, body, headers, method="POST"), what)

    def _send(self, request: urllib.request.Request, what: str) -> Answer:
        budget = _MAX_WAIT_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            pause = float(2 ** (attempt - 1))
            last = attempt == _ATTEMPTS
            try:
                answer = self._once(request)
            except _Again as cause:
                if last:
                    raise Failed(f"{what} gives no answer: {cause}") from None
                why = str(cause)
            else:
                if answer.status not in _WORTH_REPEATING:
                    return answer
                pause = max(pause, answer.retry_after() or 0.0)
                if last or pause > budget:
                    return answer
                why = f"it answered {answer.status}"
            self.say(f"{what} is asked again in {pause:.0f} s, since {why}")
            self._sleep(pause)
            budget -= pause
        raise AssertionError("the last attempt returns or raises")

    def _once(self, request: urllib.request.Request) -> Answer:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        try:
            with self._opener(request).open(request, timeout=_TIMEOUT_SECONDS) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, headers, _body(response, deadline))
        except urllib.error.URLError as error:
            raise _cause(error.reason) from None
        except (OSError, http.client.HTTPException) as error:
            raise _cause(error) from None
        except ValueError as error:
            # A host name that no resolver takes.
            raise Failed(f"the index can't be reached: {error}") from None

    def _opener(self, request: urllib.request.Request) -> urllib.request.OpenerDirector:
        """Proxies as the environment says, but none to loopback, where a proxy would be the
        only one to see a plain ID token. No handler of redirects, and so none is followed."""
        host = (urlsplit(request.full_url).hostname or "").lower()
        opener = urllib.request.OpenerDirector()
        opener.add_handler(urllib.request.ProxyHandler({} if is_loopback(host) else None))
        opener.add_handler(urllib.request.HTTPHandler())
        opener.add_handler(urllib.request.HTTPSHandler(context=self._tls))
        return opener


def _headers() -> dict[str, str]:
    return {"Accept": ACCEPT, "User-Agent": "mintage-exchange"}


def _body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    body = b""
    while part := response.read1(MAX_BODY_BYTES):
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise Failed("the index's answer is longer than 64 KiB")
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(body, response.length)
    return body


def _cause(error: object) -> Exception:
    """Why there was no answer: for good, or for now."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failed(
            f"the index's certificate is not trusted ({harmless(error.verify_message)}): where "
            "it is of your own authority, name that one's file in SSL_CERT_FILE"
        )
    if isinstance(error, TimeoutError):
        return _Again(f"it took longer than {_TIMEOUT_SECONDS:.0f} s")
    if isinstance(error, (http.client.IncompleteRead, http.client.RemoteDisconnected)):
        return _Again("the connection was cut")
    return _Again(harmless(str(error)))


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
