"""What the endpoints do, step by step, without doing it.

`Plan.answer` is a generator: it yields what is to be asked for (a lookup of publishers, a call of
the service), is given the answer or the exception, and returns the response. `_endpoints.py`
does the asking, once in threads and once in an event loop; every decision is here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

from .._errors import Error, Reason
from .._model import Minted, Publisher, Requester, Verification
from . import _payload
from ._discovery import PATH as DISCOVERY_PATH
from ._discovery import Discovery
from ._negotiation import negotiate
from ._problems import ANSWERS, DEFECT, answer, failed, internal, of_error, problem
from ._unregistered import nobody_registered, shown
from ._values import MAX_BODY, Index, PendingPublisher, Request, Response

_logger = logging.getLogger("mintage.pep807")

MAX_CANDIDATES = 256
"""The service's bound."""


_CAUSE = "burned by its bearer"

_READ = ("GET", "HEAD")
_WRITE = ("POST",)


@dataclass(frozen=True)
class Find:
    """Ask the index for the publishers that may match; the answer is a tuple of them."""

    index: Index
    unverified_claims: Mapping[str, Any]


@dataclass(frozen=True)
class Mint:
    """Ask the service for an upload token; the answer is `Minted`. An empty `index` is that of
    the client.

    `on` makes the call on a client, of either kind: the asynchronous one's answer is awaitable.
    """

    index: str
    id_token: str = field(repr=False)
    candidates: tuple[Publisher, ...]
    features: tuple[str, ...]
    lifetime: timedelta | None
    request_id: str
    requester: Requester

    def on(self, client: Any) -> Any:
        return client.mint_for_publisher(
            self.id_token,
            self.candidates,
            lifetime=self.lifetime,
            features=self.features,
            request_id=self.request_id,
            requester=self.requester,
            index=self.index or None,
        )


@dataclass(frozen=True)
class Burn:
    """Ask the service to revoke an upload token; the answer is `Revoked`. `on`: as for Mint."""

    index: str
    token: str = field(repr=False)
    requester: Requester

    def on(self, client: Any) -> Any:
        return client.revoke(
            self.token, cause=_CAUSE, requester=self.requester, index=self.index or None
        )


@dataclass(frozen=True)
class Identify:
    """Ask the service whose ID token it is, which redeems nothing; the answer is a
    `Verification`. `on`: as for Mint."""

    index: str
    id_token: str = field(repr=False)
    candidates: tuple[Publisher, ...]
    requester: Requester

    def on(self, client: Any) -> Any:
        return client.verify_identity(
            self.id_token, self.candidates, requester=self.requester, index=self.index or None
        )


@dataclass(frozen=True)
class Tell:
    """Call a function of the index, which may wait for a database; the answer is its own."""

    function: Callable[[Any], Any]
    argument: Any


Step = Find | Mint | Burn | Identify | Tell
Steps = Generator[Step, Any, Response]
Handler = Callable[[Request, str], Response | Steps]
Route = tuple[tuple[str, ...], Handler]


class Plan:
    """The endpoints of the indexes of one host."""

    def __init__(self, indexes: Iterable[Index], base_url: str | None) -> None:
        discovery = Discovery(tuple(indexes), base_url)
        self.lookups = tuple(index.find_publishers for index in discovery.indexes)
        self._routes: dict[str, Route] = {DISCOVERY_PATH: (_READ, discovery.answer)}
        for index in discovery.indexes:
            routes = _routes(index)
            if not self._routes.keys().isdisjoint(routes):
                raise ValueError("two indexes of one host would answer for the same path")
            self._routes |= routes

    def owns(self, path: str) -> bool:
        """Whether a path, whole and decoded once, is one of these endpoints."""
        return path in self._routes

    def answer(self, request: Request) -> Steps:
        """The steps to the response for a path that it owns."""
        response = yield from self._respond(request)
        return replace(response, body=b"") if request.method == "HEAD" else response

    def _respond(self, request: Request) -> Steps:
        methods, handler = self._routes[request.path]
        if request.method not in methods:
            allow = ("Allow", ", ".join(methods))
            sentence = f"This endpoint takes {' and '.join(methods)} requests only."
            return problem(405, "method-not-allowed", sentence, headers=(allow,))
        media_type = negotiate(request.headers.get("accept"))
        if media_type is None:
            sentence = "The answers here are JSON, which the request's Accept header excludes."
            return problem(406, "not-acceptable", sentence)
        if len(request.body) > MAX_BODY:
            sentence = f"The request's body has more than {MAX_BODY} bytes."
            return problem(413, "content-too-large", sentence)
        handled = handler(request, media_type)
        return handled if isinstance(handled, Response) else (yield from handled)


def _routes(index: Index) -> dict[str, Route]:
    return {
        f"{index.prefix}/audience": (_READ, partial(_audience, index)),
        f"{index.prefix}/mint-token": (_WRITE, partial(_mint, index)),
        f"{index.prefix}/github/mint-token": (_WRITE, partial(_mint, index)),
        f"{index.prefix}/burn-token": (_WRITE, partial(_burn, index)),
    }


class Progress:
    """A plan on its way: `step` is what to do next, and None when `response` is there."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.step: Step | None = None
        self.response: Response | None = None
        self._move(partial(next, steps))

    def done(self, answer: object) -> None:
        """Go on with the answer to `step`."""
        self._move(partial(self._steps.send, answer))

    def failed(self, error: Exception) -> None:
        """Go on with what `step` raised."""
        self._move(partial(self._steps.throw, error))

    def _move(self, move: Callable[[], Step]) -> None:
        try:
            self.step = move()
        except StopIteration as end:
            self.step, self.response = None, end.value


def _audience(index: Index, request: Request, media_type: str) -> Response:
    return answer(200, {"audience": index.audience}, media_type)


def _mint(index: Index, request: Request, media_type: str) -> Steps:
    try:
        payload = _payload.read_mint(request.body)
    except ValueError as error:
        return problem(422, "invalid-payload", str(error))
    unknown = [name for name in payload.features if name not in index.features]
    if unknown:
        sentence = f"This index does not offer the feature {shown(unknown[0])}."
        return problem(422, "invalid-payload", sentence)
    claims = _payload.unverified_claims(payload.id_token)
    candidates = yield from _candidates(index, claims)
    if isinstance(candidates, Response):
        return candidates
    requester = _payload.requester(request)
    asking = Identify(index.name, payload.id_token, candidates, requester)
    try:
        candidates = yield from _with_created(index, asking)
        minted: Minted = yield Mint(
            index=index.name,
            id_token=payload.id_token,
            candidates=candidates,
            features=payload.features or index.default_features,
            lifetime=index.lifetime,
            request_id=_payload.request_id(index.name, payload.id_token, requester.ip),
            requester=requester,
        )
    except Error as error:
        if error.reason is Reason.PUBLISHER_NOT_FOUND:
            yield from _reported(index, asking)
        return _not_minted(error, candidates, claims)
    except Exception as error:
        return failed("mint-token", error)
    return _minted(minted, media_type)


def _candidates(
    index: Index, unverified_claims: Mapping[str, Any] | None
) -> Generator[Step, Any, tuple[Publisher, ...] | Response]:
    """None for what is no readable ID token: then the service says what is wrong with it."""
    if unverified_claims is None:
        return ()
    try:
        candidates: tuple[Publisher, ...] = yield Find(index, unverified_claims)
    except Exception as error:
        _logger.error("find_publishers failed", exc_info=error)
        return problem(500, "internal", DEFECT)
    if len(candidates) > MAX_CANDIDATES:
        return internal("find_publishers returned more than %d publishers", MAX_CANDIDATES)
    return candidates


def _with_created(
    index: Index, asking: Identify
) -> Generator[Step, Any, tuple[Publisher, ...]]:
    """The candidates, once the projects are there that the job's publisher waited for."""
    pending = {one.id: one for one in asking.candidates if isinstance(one, PendingPublisher)}
    if not pending or index.create_pending is None:
        return asking.candidates
    who: Verification = yield asking
    if not who.allowed or who.publisher_id not in pending:
        return asking.candidates
    created: Publisher = yield Tell(index.create_pending, pending[who.publisher_id])
    return tuple(created if one.id == created.id else one for one in asking.candidates)


def _reported(index: Index, asking: Identify) -> Generator[Step, Any, None]:
    """Mismatches come only with an ID token that is good as such, so nobody makes them up."""
    if index.report_mismatch is None or not asking.candidates:
        return
    try:
        who: Verification = yield asking
        for denial in who.denials:
            if denial.mismatch is not None:
                yield Tell(index.report_mismatch, denial.mismatch)
    except Exception as error:
        failed("report_mismatch", error)


def _minted(minted: Minted, media_type: str) -> Response:
    body: dict[str, Any] = {"success": True, "token": minted.token}
    if minted.expires_at is not None:
        body["expires"] = int(minted.expires_at.timestamp())
    if minted.features:
        body["features"] = list(minted.features)
    return answer(200, body, media_type)


def _not_minted(
    error: Error, candidates: tuple[Publisher, ...], claims: Mapping[str, Any] | None
) -> Response:
    if ANSWERS[error.reason][0] == 403:
        return internal("mint-token got a reason of Verify: %s", error.reason)
    if error.reason is Reason.PUBLISHER_NOT_FOUND and not candidates:
        return of_error(error, nobody_registered(claims or {}))
    return of_error(error)


def _burn(index: Index, request: Request, media_type: str) -> Steps:
    """202 for any token, good or not, so that nothing is told about it."""
    try:
        token = _payload.read_burn(request.body)
    except ValueError as error:
        return problem(422, "invalid-payload", str(error))
    try:
        yield Burn(index.name, token, _payload.requester(request))
    except Error as error:
        if ANSWERS[error.reason][0] != 403:
            return of_error(error)
    except Exception as error:
        return failed("burn-token", error)
    return answer(202, {}, media_type)
