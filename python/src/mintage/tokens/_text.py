"""The text form of a token: `<prefix>-` and base64url.

What is read may be padded or not, since both are out there; what is written is not. Everything
else has one spelling: no white space, no other alphabet, no stray bits at the end.
"""

from __future__ import annotations

import base64
import re

from ._errors import damaged, too_large

__all__ = ["MAX_TOKEN_BYTES", "decode", "encode"]

MAX_TOKEN_BYTES = 16 * 1024
"""The most that common HTTP servers take in one header, and the service's own bound."""

_PREFIX = re.compile(r"[A-Za-z0-9_]{1,32}")
_BODY = re.compile(r"([A-Za-z0-9_-]*)(={0,2})")


def decode(text: str, expected: str | None) -> tuple[str, bytes]:
    """The prefix and the bytes. With `expected`, no other prefix will do."""
    if len(text) > MAX_TOKEN_BYTES or len(text.encode("utf-8", "replace")) > MAX_TOKEN_BYTES:
        raise too_large("is longer than 16 KiB")
    prefix, hyphen, body = text.partition("-")
    if expected is not None and (prefix != expected or not hyphen):
        raise damaged(f'it does not begin with "{expected}-"')
    if not hyphen or not _PREFIX.fullmatch(prefix):
        raise damaged('it does not begin with a prefix and a hyphen, such as "pypi-"')
    return prefix, _base64(body)


def encode(prefix: str, raw: bytes) -> str:
    """The token of these bytes."""
    return f"{prefix}-{_unpadded(raw)}"


def _base64(body: str) -> bytes:
    match = _BODY.fullmatch(body)
    if match is None:
        raise damaged("what follows the prefix is not base64url")
    symbols, padding = match.groups()
    missing = -len(symbols) % 4
    if missing == 3 or len(padding) > missing:
        raise damaged("what follows the prefix is not base64url")
    raw = base64.urlsafe_b64decode(symbols + "=" * missing)
    if _unpadded(raw) != symbols:
        raise damaged("what follows the prefix is not base64url")
    return raw


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
