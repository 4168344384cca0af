"""Reading the upload token out of an `Authorization` header."""

from __future__ import annotations

import base64
import binascii

USER = "__token__"
"""The user name with which uploading tools say that the password is an upload token."""


def upload_token(authorization: str | None) -> str | None:
    """The upload token in an `Authorization` header, or None: then there are no credentials.

    Only `Basic` with the user name `__token__` counts. The token is returned as it was sent,
    unchecked: give it to `verify`.
    """
    scheme, _, encoded = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    user, _, token = text.partition(":")
    return token if user == USER and token else None
