"""The client for code that waits: `mintage.Client`. Its twin for asyncio is `mintage.aio`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import grpc

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

Answer = TypeVar("Answer")


class Client:
    """A client of Mintage, for the life of a process: opening one costs far more than a call.

    `targets` are where the service is: `"host:port"`, `"dns:///host:port"` for a name with several
    addresses, any other target that gRPC knows, or several IP addresses with ports. Calls go to
    the replicas in turn, and none to one that says it isn't ready; `health_checks=False` asks
    for no such word, so that what works without the store goes on while it is down.

    `index` is the index that calls are about, empty where the service has exactly one; a call
    may name another. `caller_token` proves who calls. `credentials` come from `mintage.tls`;
    without them nothing is encrypted, which is for loopback or a mesh. `server_name` is the name in
    the service's certificate where the targets are addresses. `timeout` is the deadline of a call
    in seconds, retries included; a call may have its own.

    A call that no replica took, or that one said UNAVAILABLE to, is made again, up to three times
    within its deadline. What can't be answered raises `Unavailable`, a no raises `Refused`; only
    Verify's no is a value.

    Threads may share a client. The connection is opened by the first call, and each process has its
    own, so a client may be made before a server forks its workers. One that was used before works in
    them too, unless GRPC_ENABLE_FORK_SUPPORT=0 takes that from gRPC.
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
        self._open: dict[int, _Open] = {}
        self._closed = False

    def mint_for_publisher(
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
        """Exchanges a CI job's ID token for an upload token; the ID token is redeemed by that.

        `candidates`, at most 256, are the publishers registered for what the ID token claims;
        the service verifies and matches them itself, and the most specific match wins. `projects`
        narrows the token to some of the publisher's, by name. `caveats`, at most 64, narrow it
        further. `lifetime` lies between 15 minutes and 6 hours; None is the index's default.
        `features` are PEP 807's, one of them at most.

        The same call with the same `request_id`, at most 128 bytes, gets the same token within the
        index's retry window: give one where *your* caller may repeat a request. Without it only
        this call's own retries are covered.
        """
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
        return self._ask(call, timeout)

    def mint_for_user(
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
        """Mints an upload token for a user of the index, whom the caller has signed in.

        Without `lifetime` it has no end. A retry may have minted a
        token that nobody ever saw.
        """
        call = self._calls.mint_for_user(
            user_id, caveats, lifetime, features, request_id, requester, index
        )
        return self._ask(call, timeout)

    def verify(
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
        """Answers whether an upload token is good for what its bearer wants to do.

        The answer is true or false, with every reason. `stored_caveats` are those that the index
        keeps outside of the token; `kept` is for a token that it minted itself. A token with
        limited uses spends one where it is allowed, none with `dry_run`; the same call with the
        same `request_id` spends it once.
        """
        call = self._calls.verify(
            token, access, stored_caveats, kept, dry_run, request_id, requester, index
        )
        return self._ask(call, timeout)

    def verify_identity(
        self,
        id_token: str,
        candidates: Iterable[Publisher] = (),
        *,
        requester: Requester = Requester(),
        index: str | None = None,
        timeout: float | None = None,
    ) -> Verification:
        """Checks an ID token and matches it, without redeeming it.

        For a pending publisher, before its project is made; and for a maintainer, to whom each
        denial's `mismatch` says in which claim a candidate differs.
        """
        call = self._calls.verify_identity(id_token, candidates, requester, index)
        return self._ask(call, timeout)

    def attenuate(
        self,
        token: str,
        caveats: Iterable[Caveat],
        *,
        index: str | None = None,
        timeout: float | None = None,
    ) -> Attenuated:
        """Narrows an upload token by 1 to 64 caveats. Its signature isn't checked, nor need be."""
        return self._ask(self._calls.attenuate(token, caveats, index), timeout)

    def revoke(
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
        """Ends an upload token and all that were narrowed from it; give it, or its id.

        Safe to repeat. `again` may also be true because an attempt of this very call had
        succeeded and its answer was lost. `cause`, at most 256 bytes, is for the audit trail.
        """
        call = self._calls.revoke(token, token_id, kept, cause, requester, index)
        return self._ask(call, timeout)

    def close(self) -> None:
        """Ends the connection, and calls that wait for an answer. Safe to repeat."""
        self._closed = True
        here = self._open.pop(os.getpid(), None)
        if here is not None:
            here.channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<mintage.Client of {self._connection.target}>"

    def __reduce__(self) -> Any:
        raise TypeError("a client can't be pickled: make one in each process")

    def _ask(self, call: Call[Answer], timeout: float | None) -> Answer:
        seconds = self._timeout if timeout is None else deadline(timeout)
        method = getattr(self._here().stub, call.method)
        try:
            answer = method(call.request, timeout=seconds, metadata=self._connection.metadata())
        except grpc.RpcError as failure:
            raise error_of(failure) from failure
        return call.answered(answer)

    def _here(self) -> _Open:
        """This process's channel. Without a lock, which a fork could catch held."""
        if self._closed:
            raise ValueError("the client is closed")
        process = os.getpid()
        present = self._open.get(process)
        if present is not None:
            return present
        made = _Open.of(self._connection)
        kept = self._open.setdefault(process, made)
        if kept is not made:
            made.channel.close()
        return kept


@dataclass(frozen=True)
class _Open:
    channel: grpc.Channel
    stub: TokenServiceStub

    @classmethod
    def of(cls, connection: Connection) -> _Open:
        target, options = connection.target, connection.options
        if connection.credentials is None:
            channel = grpc.insecure_channel(target, options)
        else:
            channel = grpc.secure_channel(target, connection.credentials, options)
        return cls(channel, TokenServiceStub(channel))
