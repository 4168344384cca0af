"""Discovery: from an upload URL's path to the endpoints of its index."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote_to_bytes, urlsplit

from ._problems import answer, problem
from ._unregistered import shown
from ._values import Index, Request, Response

PATH = "/.well-known/pytp"

_HOST = re.compile(r"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_BASE_URL = re.compile(r"https?://[!-~]+")


class Discovery:
    """Which endpoints belong to which upload path of one host."""

    def __init__(self, indexes: tuple[Index, ...], base_url: str | None) -> None:
        if not indexes:
            raise ValueError("there is no index")
        self.indexes = indexes
        self._base_url = None if base_url is None else _checked(base_url)
        self._by_path = {index.upload_path.encode("ascii"): index for index in indexes}
        if len(self._by_path) != len(indexes):
            raise ValueError("two indexes of one host have the same upload_path")

    def answer(self, request: Request, media_type: str) -> Response:
        """Where an upload path's audience and upload tokens are to be had, or 404."""
        keys = [
            value
            for name, separator, value in map(_partition, request.query.split("&"))
            if name == "discover" and separator
        ]
        if len(keys) != 1:
            sentence = 'The query must have "discover" once: the percent-encoded upload path.'
            return problem(400, "invalid-payload", sentence)
        path = unquote_to_bytes(keys[0].encode("utf-8", "replace"))
        index = self._by_path.get(path)
        if index is None:
            told = shown(path.decode("utf-8", "replace"))
            sentence = f"No index with trusted publishing here has the upload path {told}."
            return problem(404, "not-found", sentence)
        base_url = self._base_url or _base_url(request)
        if base_url is None:
            return problem(400, "invalid-host", "The request's Host header is not a host.")
        body = {
            "audience-endpoint": f"{base_url}{index.prefix}/audience",
            "token-mint-endpoint": f"{base_url}{index.prefix}/mint-token",
            "features": list(index.features),
            "default-features": list(index.default_features),
        }
        return answer(200, body, media_type)


def _partition(pair: str) -> tuple[str, str, str]:
    return pair.partition("=")


def _base_url(request: Request) -> str | None:
    """The host that was asked, by HTTPS wherever clients would trust nothing else.

    A request that came over plain HTTP for another host than loopback has passed a proxy that
    ends TLS: every URL handed out must have a trustworthy origin.
    """
    host = request.headers.get("host", "")
    matched = _HOST.fullmatch(host)
    if matched is None:
        return None
    plain = request.scheme == "http" and _is_loopback(matched[1])
    return f"{'http' if plain else 'https'}://{host}"


def _is_loopback(host: str) -> bool:
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _checked(base_url: str) -> str:
    parts = urlsplit(base_url)
    if not _BASE_URL.fullmatch(base_url) or not parts.hostname or parts.path.strip("/"):
        raise ValueError("base_url is a scheme and a host, such as https://index.example")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("base_url is a scheme and a host, such as https://index.example")
    return base_url.rstrip("/")
