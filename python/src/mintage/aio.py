"""The client for asyncio: `mintage.aio.Client`, method for method `mintage.Client`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import grpc
import grpc.aio

from ._calls import Call, Calls
from ._caveats import Caveat
from ._failures import error_of
from ._model import (
    Access,
    Attenuated,
    KeptToken,
    Minted,
    Publisher,
    Requester,
    Revoked,
    Verification,
)
from ._transport import Connection, connection, deadline
from .v1.token_service_pb2_grpc import TokenServiceStub

__all__ = ["Client"]

Answer = TypeVar("Answer")


class Client:
    """A client of Mintage for asyncio. What `mintage.Client` says of itself holds here too.

    It belongs to the event loop of its first call. It may be made where no loop runs yet.
    """

    def __init__(
        self,
        *targets: str,
        index: str = "",
        caller_token: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = 10.0,
        server_name: str = "",
        health_checks: bool = True,
    ) -> None:
        self._connection = connection(
            targets, caller_token, credentials, server_name, health_checks
        )
        self._calls = Calls(index)
        self._timeout = deadline(timeout)
        self._open: _Open | None = None
        self._closed = False

    async def mint_for_publisher(
        self,
        id_token: str,
        candidates: Iterable[Publisher],
        *,
        projects: Iterable[str] = (),
        caveats: Iterable[Caveat] = (),
        lifetime: timedelta | None = None,
        features: Iterable[str] = (),
        request_id: str = "",
        requester: Requester = Requester(),
        index: str | None = None,
        timeout: float | None = None,
    ) -> Minted:
        """As `mintage.Client.mint_for_publisher`."""
        call = self._calls.mint_for_publisher(
            id_token,
            candidates,
            projects,
            caveats,
            lifetime,
            features,
            request_id,
            requester,
            index,
        )
        return await self._ask(call, timeout)

    async def mint_for_user(
        self,
        user_id: str,
        *,
        caveats: Iterable[Caveat] = (),
        lifetime: timedelta | None = None,
        features: Iterable[str] = (),
        request_id: str = "",
        requester: Requester = Requester(),
        index: str | None = None,
        timeout: float | None = None,
    ) -> Minted:
        """As `mintage.Client.mint_for_user`."""
        call = self._calls.mint_for_user(
            user_id, caveats, lifetime, features, request_id, requester, index
        )
        return await self._ask(call, timeout)

    async def verify(
        self,
        token: str,
        access: Access,
        *,
        stored_caveats: Iterable[Caveat] = (),
        kept: KeptToken | None = None,
        dry_run: bool = False,
        request_id: str = "",
        requester: Requester = Requester(),
        index: str | None = None,
        timeout: float | None = None,
    ) -> Verification:
        """As `mintage.Client.verify`."""
        call = self._calls.verify(
            token, access, stored_caveats, kept, dry_run, request_id, requester, index
        )
        return await self._ask(call, timeout)

    async def verify_identity(
        self,
        id_token: str,
        candidates: Iterable[Publisher] = (),
        *,
        requester: Requester = Requester(),
        index: str | None = None,
        timeout: float | None = None,
    ) -> Verification:
        """As `mintage.Client.verify_identity`."""
        call = self._calls.verify_identity(id_token, candidates, requester, index)
        return await self._ask(call, timeout)

    async def attenuate(
        self,
        token: str,
        caveats: Iterable[Caveat],
        *,
        index: str | None = None,
        timeout: float | None = None,
    ) -> Attenuated:
        """As `mintage.Client.attenuate`."""
        return await self._ask(self._calls.attenuate(token, caveats, index), timeout)

    async def revoke(
        self,
        token: str | None = None,
        *,
        token_id: str | None = None,
        kept: KeptToken | None = None,
        cause: str = "",
        requester: Requester = Requester(),
        index: str | None = None,
        timeout: float | None = None,
    ) -> Revoked:
        """As `mintage.Client.revoke`."""
        call = self._calls.revoke(token, token_id, kept, cause, requester, index)
        return await self._ask(call, timeout)

    async def close(self) -> None:
        """Ends the connection, and calls that wait for an answer. Safe to repeat."""
        self._closed = True
        here, self._open = self._open, None
        if here is not None:
            await here.channel.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<mintage.aio.Client of {self._connection.target}>"

    def __reduce__(self) -> Any:
        raise TypeError("a client can't be pickled: make one in each process")

    async def _ask(self, call: Call[Answer], timeout: float | None) -> Answer:
        seconds = self._timeout if timeout is None else deadline(timeout)
        method = getattr(self._here().stub, call.method)
        try:
            answer = await method(
                call.request, timeout=seconds, metadata=self._connection.metadata()
            )
        except grpc.RpcError as failure:
            raise error_of(failure) from failure
        return call.answered(answer)

    def _here(self) -> _Open:
        """The running loop's channel; one of a loop that has ended is left behind."""
        if self._closed:
            raise ValueError("the client is closed")
        loop = asyncio.get_running_loop()
        if self._open is None or self._open.loop.is_closed():
            self._open = _Open.of(self._connection, loop)
        if self._open.loop is not loop:
            raise RuntimeError("a client belongs to one event loop: make one for each")
        return self._open


@dataclass(frozen=True)
class _Open:
    loop: asyncio.AbstractEventLoop
    channel: grpc.aio.Channel
    stub: TokenServiceStub

    @classmethod
    def of(cls, connection: Connection, loop: asyncio.AbstractEventLoop) -> _Open:
        target, options = connection.target, connection.options
        if connection.credentials is None:
            channel = grpc.aio.insecure_channel(target, options)
        else:
            channel = grpc.aio.secure_channel(target, connection.credentials, options)
        return cls(loop, channel, TokenServiceStub(channel))
