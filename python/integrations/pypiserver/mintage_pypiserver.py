"""Trusted publishing (PEP 807) for pypiserver.

`trusted_publishing` makes pypiserver's application with PEP 807's endpoints in front of it and
`Auther` in it. pypiserver asks an auther with nothing but a user's name and a password, which
would let a token for one project upload any other; so this one also reads the form that
pypiserver has just parsed, from the request that pypiserver is working on, and asks Mintage
about that project, version, file name and SHA-256. What is stored is what was asked about:
there is no second parser.

People with a password go on as before. It holds no state, and it isn't a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

import pypiserver
from pypiserver.bottle_wrapper import HTTPResponse, request
from pypiserver.pkg_helpers import guess_pkgname_and_version, normalize_pkgname

import mintage
from mintage import pep807, uploads
from mintage.pep807._peer import peer
from mintage.publishers import Publishers
from mintage.wsgi import Application

__all__ = ["Auther", "trusted_publishing"]

_TOKEN_USER = "__token__"
_UPLOAD_PATHS = {"/": "/_/oidc", "": "/_/oidc/bare"}
"""Upload URLs with and without the slash at the end, and where their endpoints are."""

ClientIp = Callable[[dict[str, Any]], str]
"""From a WSGI environment to the address of the party that uploads, "" where it isn't known."""

OtherAuther = Callable[[str, str], bool]


def trusted_publishing(
    client: mintage.Client,
    publishers: Publishers,
    *,
    audience: str,
    index: str = "",
    features: tuple[str, ...] = (mintage.MULTI_USE,),
    client_ip: ClientIp | None = None,
    base_url: str | None = None,
    **options: Any,
) -> Application:
    """pypiserver with trusted publishing, as a WSGI application.

    `audience` and `index` are the index's audience and name in Mintage's configuration,
    `features` are PEP 807's that it offers there, the default first. `client_ip` and `base_url`
    are as for `mintage.wsgi.Application`, and `options` those of `pypiserver.app`. Raises
    ValueError where pypiserver would take uploads without asking.
    """
    app = pypiserver.app(**options)
    config = app._pypiserver_config
    if "update" not in config.authenticate:
        raise ValueError("`authenticate` must contain 'update', or anybody may upload")
    config.auther = Auther(
        client, publishers, index=index, otherwise=config.auther, client_ip=client_ip
    )

    def find(claims: Mapping[str, Any]) -> Iterable[mintage.Publisher]:
        return publishers.of_claims(claims)

    indexes = [
        pep807.Index(
            upload_path=path,
            audience=audience,
            find_publishers=find,
            name=index,
            features=features,
            default_features=features[:1],
            prefix=prefix,
        )
        for path, prefix in _UPLOAD_PATHS.items()
    ]
    return Application(client, indexes, app=app, client_ip=client_ip, base_url=base_url)


class Auther:
    """Whether whoever sends the request that pypiserver is working on may do what it says.

    For the user `__token__` only: anybody else is `otherwise`'s, pypiserver's own auther for
    instance; without one they may nothing. A refusal is an HTTP response with a reason.
    """

    def __init__(
        self,
        client: mintage.Client,
        publishers: Publishers,
        *,
        index: str = "",
        otherwise: OtherAuther | None = None,
        client_ip: ClientIp | None = None,
    ) -> None:
        self._client = client
        self._publishers = publishers
        self._index = index
        self._otherwise = otherwise
        self._client_ip = client_ip or _remote_address

    def __call__(self, username: str, password: str) -> bool:
        if username != _TOKEN_USER:
            return self._otherwise is not None and self._otherwise(username, password)
        if request.method != "POST" or request.route.rule != "/":
            # An upload token reads nothing.
            return False
        try:
            upload = uploads.read(_fields(), _files())
            _held_to_pypiserver(upload)
            uploads.admit(
                self._client,
                self._publishers,
                upload,
                password,
                requester=uploads.requester(
                    self._client_ip(request.environ), request.get_header("User-Agent")
                ),
                index=self._index,
            )
        except uploads.NotAdmitted as refused:
            raise _response(refused.response) from refused
        return True


def _remote_address(environ: dict[str, Any]) -> str:
    headers = {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    return peer(environ.get("REMOTE_ADDR", ""), headers)


def _fields() -> list[tuple[str, str]]:
    return [(field, value) for field, value in request.forms.allitems()]


def _files() -> list[tuple[str, str, BinaryIO]]:
    return [(field, part.raw_filename, part.file) for field, part in request.files.allitems()]


def _held_to_pypiserver(upload: uploads.Upload) -> None:
    """pypiserver serves a file under the project that *it* reads from the name, by rules of its
    own: `a-1.0-b-2.0.tar.gz` is `a` to it."""
    guessed = guess_pkgname_and_version(upload.filename)
    if guessed is None or normalize_pkgname(guessed[0]) != upload.project:
        raise uploads.mistaken("pypiserver would serve a file of this name as another project's")


def _response(answer: pep807.Response) -> HTTPResponse:
    return HTTPResponse(answer.body, status=answer.status_line, headers=dict(answer.headers))
