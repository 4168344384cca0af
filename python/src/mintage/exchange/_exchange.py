"""The steps of the exchange: discover, ask for the audience, get an ID token, mint."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .._model import MULTI_USE, SINGLE_USE
from ..tokens._show import quoted
from ._failed import Failed
from ._http import Http
from ._origin import UploadUrl

__all__ = ["Exchanged", "Wanted", "exchange"]

_CREDENTIAL = re.compile(r"[A-Za-z0-9_][!-~]{0,16383}")
"""An ID token or an upload token: one line, and none that a CI's log would take for a command."""

_AUDIENCE = re.compile(r"[!-~]{1,512}")


@dataclass(frozen=True)
class Wanted:
    """What to ask the index for.

    With `root_paths` the index isn't asked whether its upload URL has trusted publishing: the
    paths that PyPI has at the root of its host are taken.
    """

    single_use: bool = False
    root_paths: bool = False


@dataclass(frozen=True)
class Exchanged:
    """An upload token. `expires` is its end in Unix seconds, where the index told it."""

    token: str = field(repr=False)
    expires: int | None
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Endpoints:
    audience: str
    mint: str
    features: tuple[str, ...] = ()
    default_features: tuple[str, ...] = (MULTI_USE,)


def exchange(
    upload_url: UploadUrl,
    wanted: Wanted,
    *,
    http: Http,
    identify: Callable[[str], str],
    conceal: Callable[[str], None],
) -> Exchanged:
    """Exchanges the CI's identity for an upload token.

    `identify` gets an ID token for an audience, and `conceal` hears every secret before
    anything else is done with it. Raises `Failed`.
    """
    endpoints = _root(upload_url) if wanted.root_paths else _discover(upload_url, http)
    features = _features(endpoints, wanted)
    audience = _audience(endpoints, http)
    id_token = identify(audience)
    conceal(id_token)
    if not _CREDENTIAL.fullmatch(id_token):
        raise Failed("what the CI gave is no ID token")
    request: dict[str, Any] = {"token": id_token}
    if features is not None:
        request["features"] = features
    answer = http.post(endpoints.mint, request, "the index's mint endpoint")
    if answer.status != 200:
        raise answer.refusal("the index's mint endpoint")
    return _minted(answer.json("the index's mint endpoint"), features or endpoints.default_features)


def _discover(upload_url: UploadUrl, http: Http) -> _Endpoints:
    what = "the index's discovery"
    answer = http.get(upload_url.discovery(), what)
    if answer.status == 404:
        if answer.is_problem():
            # The index knows PEP 807, and says no. Another index of the same host may live at
            # the root, and its token must not reach this one.
            raise Failed(
                f"the index has no trusted publishing for the path {quoted(upload_url.path)} of "
                "the upload URL: a slash too many or too few at its end makes it another one"
            )
        http.say("the index doesn't know PEP 807's discovery: its root paths /_/oidc/ are taken")
        return _root(upload_url)
    if answer.status != 200:
        raise answer.refusal(what)
    document = answer.json(what)
    return _Endpoints(
        upload_url.admit(document.get("audience-endpoint"), "audience-endpoint"),
        upload_url.admit(document.get("token-mint-endpoint"), "token-mint-endpoint"),
        _names(document, "features", ()),
        _names(document, "default-features", (MULTI_USE,)),
    )


def _root(upload_url: UploadUrl) -> _Endpoints:
    """What PyPI had before PEP 807, and all indices that do as it does."""
    return _Endpoints(
        upload_url.root("/_/oidc/audience"),
        upload_url.root("/_/oidc/mint-token"),
    )


def _names(document: dict[str, Any], name: str, absent: tuple[str, ...]) -> tuple[str, ...]:
    names = document.get(name)
    if names is None:
        return absent
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise Failed(f'the "{name}" of the index\'s discovery document is no list of strings')
    return tuple(names)


def _features(endpoints: _Endpoints, wanted: Wanted) -> list[str] | None:
    """Those to ask for; None for the index's own defaults."""
    if wanted.single_use:
        # An index that doesn't know the feature would ignore it, and give more than was asked.
        if SINGLE_USE not in (*endpoints.features, *endpoints.default_features):
            raise Failed("the index doesn't say that it has single-use tokens: don't ask for one")
        return [SINGLE_USE]
    if MULTI_USE in endpoints.features and MULTI_USE not in endpoints.default_features:
        return [MULTI_USE]
    return None


def _audience(endpoints: _Endpoints, http: Http) -> str:
    what = "the index's audience endpoint"
    answer = http.get(endpoints.audience, what)
    if answer.status == 404:
        raise Failed(
            f"the index has no trusted publishing: {endpoints.audience} is not there"
        )
    if answer.status != 200:
        raise answer.refusal(what)
    audience = answer.json(what).get("audience")
    if not isinstance(audience, str) or not _AUDIENCE.fullmatch(audience):
        raise Failed(f"{what} named no audience that an ID token could have")
    return audience


def _minted(document: dict[str, Any], features: tuple[str, ...] | list[str]) -> Exchanged:
    token, expires = document.get("token"), document.get("expires")
    if not isinstance(token, str) or not _CREDENTIAL.fullmatch(token) or "##" in token:
        raise Failed("the index's mint endpoint answered 200 without an upload token")
    if expires is not None and type(expires) is not int:
        raise Failed('the index\'s mint endpoint answered with an "expires" that is no integer')
    return Exchanged(token, expires, tuple(features))
