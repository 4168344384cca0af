"""Stand-ins for Warehouse's exceptions of the same names; in Warehouse, import those.

They carry Mintage's reasons beside the text that Warehouse shows.
"""

from __future__ import annotations

from mintage import Reason


class InvalidMacaroonError(Exception):
    """The token isn't good for this request. Its text may be shown to the bearer."""

    def __init__(self, message: str, *reasons: Reason) -> None:
        super().__init__(message)
        self.reasons = reasons


class InvalidPublisherError(Exception):
    """No publisher matches the ID token."""


class ReusedTokenError(InvalidPublisherError):
    """The ID token was redeemed before."""
