"""Warehouse's two token services on Mintage: `docs/warehouse.md` explains the move.

Written against the shape of Warehouse's tables and interfaces, not against its code, so that it
runs without it: models and lookups come in as arguments. It isn't a fork of Warehouse.
"""

from ._errors import InvalidMacaroonError, InvalidPublisherError, ReusedTokenError
from ._macaroons import MintageMacaroonService
from ._oidc import MintageOIDCPublisherService
from ._publishers import candidate
from ._requests import access_for

__all__ = [
    "InvalidMacaroonError",
    "InvalidPublisherError",
    "MintageMacaroonService",
    "MintageOIDCPublisherService",
    "ReusedTokenError",
    "access_for",
    "candidate",
]
