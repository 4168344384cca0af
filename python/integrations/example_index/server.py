"""uvicorn, but with sentences in place of reason phrases.

twine and pdm show their users the status line's reason phrase and nothing of the body, so what
ought to be mended stands there too. ASGI has no place for it: an answer brings it as the header
`X-Reason`.
"""

from __future__ import annotations

import re
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REASON = "x-reason"

MAX_REASON = 500
"""Characters. Clients bound the length of a status line, most of them at 8 KiB or more."""


def reason_phrase(sentence: str) -> str:
    """The sentence as far as a status line can hold it: printable ASCII, bounded."""
    return re.sub(r"[^ -~]", "?", sentence)[:MAX_REASON]


class _Connection(h11.Connection):
    def send(self, event: Any) -> Any:
        if isinstance(event, h11.Response):
            reason = dict(event.headers).get(REASON.encode())
            if reason:
                event = h11.Response(
                    status_code=event.status_code, headers=event.headers, reason=reason
                )
        return super().send(event)


class Protocol(H11Protocol):
    """For uvicorn's option `http`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = _Connection(h11.SERVER)
