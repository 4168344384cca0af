"""The endpoints over a client: the same plan, carried out in threads or in an event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable
from datetime import timedelta
from itertools import islice
from typing import Any, Protocol

from .._model import Minted, Publisher, Requester, Revoked, Verification
from ._plan import MAX_CANDIDATES, Find, Plan, Progress, Step, Tell
from ._values import Index, Request, Response


class Minting(Protocol):
    """What is needed of `mintage.Client`."""

    def mint_for_publisher(
        self,
        id_token: str,
        candidates: Iterable[Publisher],
        *,
        lifetime: timedelta | None = ...,
        features: Iterable[str] = ...,
        request_id: str = ...,
        requester: Requester = ...,
        index: str | None = ...,
    ) -> Minted: ...

    def verify_identity(
        self,
        id_token: str,
        candidates: Iterable[Publisher] = ...,
        *,
        requester: Requester = ...,
        index: str | None = ...,
    ) -> Verification: ...

    def revoke(
        self, token: str, *, cause: str = ..., requester: Requester = ..., index: str | None = ...
    ) -> Revoked: ...


class AsyncMinting(Protocol):
    """What is needed of `mintage.aio.Client`."""

    async def mint_for_publisher(
        self,
        id_token: str,
        candidates: Iterable[Publisher],
        *,
        lifetime: timedelta | None = ...,
        features: Iterable[str] = ...,
        request_id: str = ...,
        requester: Requester = ...,
        index: str | None = ...,
    ) -> Minted: ...

    async def verify_identity(
        self,
        id_token: str,
        candidates: Iterable[Publisher] = ...,
        *,
        requester: Requester = ...,
        index: str | None = ...,
    ) -> Verification: ...

    async def revoke(
        self, token: str, *, cause: str = ..., requester: Requester = ..., index: str | None = ...
    ) -> Revoked: ...


class Endpoints:
    """The endpoints for threads, over a `mintage.Client`.

    `indexes` are all those of one host. `base_url`, such as `https://index.example`, is what the
    URLs of discovery begin with. Without it they have the host of the `Host` header, which is
    checked for its form only: where the server in front passes any `Host` on, set it.
    `ValueError` where two indexes would answer for the same path.

    twine waits 5 seconds for an answer: give the client a `timeout` below that, so that its user
    reads a sentence.
    """

    def __init__(
        self, client: Minting, indexes: Iterable[Index], *, base_url: str | None = None
    ) -> None:
        self._client = client
        self._plan = Plan(indexes, base_url)
        if any(inspect.iscoroutinefunction(find) for find in self._plan.lookups):
            raise TypeError("find_publishers is a coroutine function: use AsyncEndpoints")

    def owns(self, path: str) -> bool:
        """Whether a path, whole and percent-decoded once, is one of the endpoints."""
        return self._plan.owns(path)

    def handle(self, request: Request) -> Response | None:
        """The response; None where the path is not one of the endpoints. It never raises."""
        if not self.owns(request.path):
            return None
        progress = Progress(self._plan.answer(request))
        while progress.step is not None:
            try:
                done = self._do(progress.step)
            except Exception as error:
                progress.failed(error)
            else:
                progress.done(done)
        return progress.response

    def _do(self, step: Step) -> object:
        if isinstance(step, Find):
            return _few(step.index.find_publishers(step.unverified_claims))
        if isinstance(step, Tell):
            return step.function(step.argument)
        return step.on(self._client)


class AsyncEndpoints:
    """The endpoints for an event loop, over a `mintage.aio.Client`; otherwise as `Endpoints`.

    `find_publishers` may be a coroutine function. Any other runs in a thread of asyncio's
    default executor, so that it may wait for a database.
    """

    def __init__(
        self, client: AsyncMinting, indexes: Iterable[Index], *, base_url: str | None = None
    ) -> None:
        self._client = client
        self._plan = Plan(indexes, base_url)

    def owns(self, path: str) -> bool:
        """Whether a path, whole and percent-decoded once, is one of the endpoints."""
        return self._plan.owns(path)

    async def handle(self, request: Request) -> Response | None:
        """The response; None where the path is not one of the endpoints. It never raises."""
        if not self.owns(request.path):
            return None
        progress = Progress(self._plan.answer(request))
        while progress.step is not None:
            try:
                done = await self._do(progress.step)
            except Exception as error:
                progress.failed(error)
            else:
                progress.done(done)
        return progress.response

    async def _do(self, step: Step) -> object:
        if isinstance(step, Find):
            return await _found(step)
        if isinstance(step, Tell):
            return await asyncio.to_thread(step.function, step.argument)
        return await step.on(self._client)


async def _found(step: Find) -> tuple[Publisher, ...]:
    find: Any = step.index.find_publishers
    if inspect.iscoroutinefunction(find):
        return _few(await find(step.unverified_claims))

    def in_a_thread() -> Any:
        found = find(step.unverified_claims)
        return found if inspect.isawaitable(found) else _few(found)

    found = await asyncio.to_thread(in_a_thread)
    return _few(await found) if inspect.isawaitable(found) else found


def _few(publishers: Any) -> tuple[Publisher, ...]:
    """The publishers, fetched here and not later; one more than the service takes is enough."""
    return tuple(islice(publishers, MAX_CANDIDATES + 1))
