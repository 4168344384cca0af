"""Which JSON media type a client takes (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re

PYTP = "application/vnd.pypi.pytp.v1+json"
"""PEP 807's media type: what is answered with, where nothing was asked for too."""

JSON = "application/json"

_WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_MAX_RANGES = 64


def negotiate(accept: str | None) -> str | None:
    """The media type to answer with; None where the client takes no JSON (406)."""
    if accept is None or not accept.strip():
        return PYTP
    weights = weights_in(accept)
    pytp, plain = weight_of(weights, PYTP), weight_of(weights, JSON)
    if pytp == plain == 0:
        return None
    return PYTP if pytp >= plain else JSON


def weight_of(weights: dict[str, float], media_type: str) -> float:
    """That of the most specific range which covers the type."""
    for media_range in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0.0


def weights_in(accept: str) -> dict[str, float]:
    """The media ranges of an `Accept` header, in lower case, and their weights."""
    weights: dict[str, float] = {}
    for element in accept.split(",")[:_MAX_RANGES]:
        media_range, *parameters = (part.strip().lower() for part in element.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                weight = float(value) if _WEIGHT.fullmatch(value.strip()) else 0.0
        if media_range:
            weights[media_range] = max(weight, weights.get(media_range, 0.0))
    return weights
