"""The gate before devpi's views: PEP 807's endpoints, and the check of uploads by token.

It stands outside devpi's transaction, which for a POST is the one that writes: nobody has to
wait while Mintage is asked. The form is parsed by the request object that the view uses
afterwards, so what was checked is what is stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pyramid.authentication import extract_http_basic_credentials
from pyramid.response import Response

import mintage
from mintage import pep807, uploads
from mintage.pep807._peer import peer
from mintage.publishers import Publishers

from ._identity import TrustedPublisher, admit

__all__ = ["Gate", "factory"]

_TOKEN_USER = "__token__"
_INDEX_PATH = re.compile(r"/([^/]+)/([^/]+)/?")
_MAX_BODY = 64 * 1024
"""Bytes; the endpoints refuse more."""

Handler = Callable[[Any], Any]


class Gate:
    """What the plugin knows: Mintage, and the publishers of each index (`user/index`).

    `trusts_its_proxy`: waitress was told of the proxy in front, so a request's remote address is
    that of the party that uploads. Else, behind a proxy, nobody's address is known.
    """

    def __init__(
        self,
        client: mintage.Client,
        publishers: Mapping[str, Publishers],
        audience: str,
        index: str,
        *,
        trusts_its_proxy: bool = False,
    ) -> None:
        self._client = client
        self._publishers = publishers
        self._index = index
        self._trusts_its_proxy = trusts_its_proxy
        self._endpoints = pep807.Endpoints(client, _indexes(publishers, audience, index))

    def endpoint(self, request: Any) -> Response | None:
        """The answer of one of PEP 807's endpoints; None for any other path."""
        path = request.script_name + request.path_info
        if not self._endpoints.owns(path):
            return None
        answer = self._endpoints.handle(
            pep807.Request(
                method=request.method,
                path=path,
                query=request.query_string,
                headers=request.headers,
                body=_body(request),
                client_ip=self._address(request),
                scheme=request.scheme,
            )
        )
        return None if answer is None else _response(answer)

    def check(self, request: Any) -> Response | None:
        """Lets an upload by token through, or answers why not. None: go on."""
        name = _upload_index(request)
        publishers = self._publishers.get(name)
        credentials = extract_http_basic_credentials(request)
        if publishers is None or credentials is None or credentials.username != _TOKEN_USER:
            return None
        try:
            publisher_id = uploads.admit(
                self._client,
                publishers,
                uploads.read_mixed(request.POST.items()),
                credentials.password,
                requester=uploads.requester(self._address(request), request.user_agent),
                index=self._index,
            )
        except uploads.NotAdmitted as refused:
            return _response(refused.response)
        admit(request, TrustedPublisher(publisher_id, *name.split("/")))
        return None

    def _address(self, request: Any) -> str:
        headers = dict(request.headers)
        if "X-Outside-Url" in headers and not self._trusts_its_proxy:
            # A proxy in front of devpi says by it under which URL clients see devpi. Its other
            # headers have been taken away by waitress, which wasn't told to trust it.
            headers["X-Forwarded-For"] = "somebody"
        lower = {name.lower(): value for name, value in headers.items()}
        return peer(request.remote_addr or "", lower)


def factory(handler: Handler, registry: Any) -> Handler:
    """Pyramid's way to make the gate part of the application."""
    gate: Gate = registry["mintage_gate"]
    # A replica hands uploads on to its primary, which checks them.
    takes_uploads = not registry["xom"].is_replica()

    def tween(request: Any) -> Any:
        answer = gate.endpoint(request)
        if answer is None and takes_uploads:
            answer = gate.check(request)
        return handler(request) if answer is None else answer

    return tween


def _indexes(publishers: Mapping[str, Publishers], audience: str, name: str) -> list[pep807.Index]:
    """One for each upload URL, with and without the slash at its end."""

    def index(path: str, found: Publishers, prefix: str) -> pep807.Index:
        def find(claims: Mapping[str, Any]) -> Iterable[mintage.Publisher]:
            return found.of_claims(claims)

        return pep807.Index(
            upload_path=path, audience=audience, find_publishers=find, name=name, prefix=prefix
        )

    indexes = []
    for where, found in publishers.items():
        # Today's clients know the host's own paths only, so a single index is there.
        prefix = "/_/oidc" if len(publishers) == 1 else f"/_/oidc/{where}"
        indexes.append(index(f"/{where}/", found, prefix))
        indexes.append(index(f"/{where}", found, f"{prefix}/bare"))
    return indexes


def _upload_index(request: Any) -> str:
    found = _INDEX_PATH.fullmatch(request.path_info)
    if request.method != "POST" or found is None:
        return ""
    return f"{found[1]}/{found[2]}"


def _body(request: Any) -> bytes:
    return bytes(request.body_file.read(_MAX_BODY + 1))


def _response(answer: pep807.Response) -> Response:
    response = Response(body=answer.body, status=answer.status_line)
    for name, value in answer.headers:
        response.headers[name] = value
    return response
