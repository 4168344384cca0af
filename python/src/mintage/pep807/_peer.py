"""Whose address a connection's other end is: the uploading party's, or that of a proxy.

By the client's address a repeated request is told from a stolen ID token, and limits are kept. If
all requests seemed to come from one proxy, the thief would pass for the job, and one stranger
could use up everybody's limit. A header can't be believed, but it shows that there is a proxy.

It shows only what is shown to it: a proxy with a public address looks like a client, and waitress
takes such headers away unless it was told of its proxy.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping
from functools import cache

_logger = logging.getLogger("mintage.pep807")

_FORWARDING = ("x-forwarded-for", "forwarded", "x-real-ip")


def peer(address: str, headers: Mapping[str, str]) -> str:
    """The address of the other end, or "" (not known) where it is that of an unknown proxy.

    That is one with a private or loopback address whose request brings an address in a header,
    unless it is this very address: then the server was told of the proxy and has put it there.
    """
    forwarded = ",".join(headers[name] for name in _FORWARDING if name in headers)
    if not forwarded or _is_public(address):
        return address
    if address in (part.strip() for part in forwarded.split(",")):
        return address
    _warn()
    return ""


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


@cache
def _warn() -> None:
    """Once for each process."""
    _logger.warning(
        "requests come through a proxy, so nobody's address is known: repeated requests of CI jobs "
        "are refused and limits by address don't apply; tell the application by client_ip= where "
        "to read the address, or the server to trust the proxy"
    )
