"""The one error of this package, and what it says of a token that can't be read.

The sentences are those of the service, so that a maintainer who searches for one finds both.
They hold positions and lengths, never a part of the token.
"""

from __future__ import annotations

from .._errors import Error, Reason

__all__ = ["TokenError", "asked", "damaged", "too_large"]


class TokenError(Error, ValueError):
    """A token that can't be read, or a caveat that can't be added to one.

    `reason` is TOKEN_MALFORMED or TOKEN_TOO_LARGE for a token, and REQUEST_INVALID for a caveat,
    with the caveat's place in `field`: what the service would answer.
    """


def damaged(what: str) -> TokenError:
    return TokenError(f"the upload token is damaged: {what}", reason=Reason.TOKEN_MALFORMED)


def too_large(what: str) -> TokenError:
    return TokenError(f"the upload token {what}", reason=Reason.TOKEN_TOO_LARGE)


def asked(what: str, *, field: str = "") -> TokenError:
    return TokenError(what, reason=Reason.REQUEST_INVALID, field=field)
