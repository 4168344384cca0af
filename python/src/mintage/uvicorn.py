"""uvicorn, but with sentences in place of reason phrases.

twine and pdm show their users the status line's reason phrase and nothing of the body, so what
ought to be mended stands there too. ASGI has no place for it: an answer brings it in a header
(`mintage.asgi.headers`), which goes no further.

    uvicorn --http mintage.uvicorn:Protocol index:app
    uvicorn.run(app, http=mintage.uvicorn.Protocol)

HTTP/1.1 alone has reason phrases. Behind a proxy it is the proxy that writes the status line,
and most of them write their own words.
"""

from __future__ import annotations

import re
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .asgi import REASON
from .pep807._values import MAX_PHRASE

__all__ = ["Protocol"]


class Protocol(H11Protocol):
    """For uvicorn's option `http`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # The very connection that uvicorn has made, with the bounds that it was given.
        self.conn.__class__ = _Connection


class _Connection(h11.Connection):
    def send(self, event: Any) -> Any:
        if isinstance(event, h11.Response):
            event = _worded(event)
        return super().send(event)


def _worded(event: h11.Response) -> h11.Response:
    """The response with the sentence that it brings; printable ASCII, bounded."""
    name = REASON.lower().encode()
    said = b" ".join(value for header, value in event.headers if header == name)
    if not said:
        return event
    headers = [pair for pair in event.headers.raw_items() if pair[0].lower() != name]
    reason = re.sub(rb"[^ -~]", b"?", said)[:MAX_PHRASE]
    return h11.Response(status_code=event.status_code, headers=headers, reason=reason)
