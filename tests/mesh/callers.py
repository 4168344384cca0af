"""Who calls: both of the package's clients, and one that repeats nothing by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
import mintage
import mintage.aio
from mintage import Access, Minted, Publisher, Requester, Verification
from mintage._calls import Call, Calls
from mintage._failures import error_of
from mintage.v1.token_service_pb2_grpc import TokenServiceStub
from support import Service, eventually

Answer = TypeVar("Answer")

TIMEOUT = 60.0
"""Seconds. A web tier gives less; here only a machine that stalls needs more than a few."""


class Caller(Protocol):
    """What a job needs. `kind` is for the table, and as a user agent for the replicas' log."""

    kind: str

    async def mint(
        self, id_token: str, publisher: Publisher, features: list[str], request_id: str
    ) -> Minted: ...

    async def verify(self, token: str, access: Access, request_id: str) -> Verification: ...

    async def aclose(self) -> None: ...


OpenCaller = Callable[[], Caller]
"""A caller is opened in the event loop that uses it."""


class Tasks:
    """`mintage.aio.Client`."""

    kind = "asyncio"

    def __init__(self, *targets: str, **options: Any) -> None:
        self._client = mintage.aio.Client(*targets, timeout=TIMEOUT, **options)

    async def mint(
        self, id_token: str, publisher: Publisher, features: list[str], request_id: str
    ) -> Minted:
        return await self._client.mint_for_publisher(
            id_token,
            [publisher],
            features=features,
            request_id=request_id,
            requester=Requester(user_agent=self.kind),
        )

    async def verify(self, token: str, access: Access, request_id: str) -> Verification:
        requester = Requester(user_agent=self.kind)
        return await self._client.verify(
            token, access, request_id=request_id, requester=requester
        )

    async def aclose(self) -> None:
        await self._client.close()


class Threads:
    """`mintage.Client`, each call in a thread."""

    kind = "threads"

    def __init__(self, *targets: str, **options: Any) -> None:
        self._client = mintage.Client(*targets, timeout=TIMEOUT, **options)

    async def mint(
        self, id_token: str, publisher: Publisher, features: list[str], request_id: str
    ) -> Minted:
        return await asyncio.to_thread(
            self._client.mint_for_publisher,
            id_token,
            [publisher],
            features=features,
            request_id=request_id,
            requester=Requester(user_agent=self.kind),
        )

    async def verify(self, token: str, access: Access, request_id: str) -> Verification:
        requester = Requester(user_agent=self.kind)
        return await asyncio.to_thread(
            self._client.verify, token, access, request_id=request_id, requester=requester
        )

    async def aclose(self) -> None:
        self._client.close()


KINDS = (Tasks, Threads)
"""Those who find replicas by themselves."""


def is_known(replica: Service, within: float = 60.0) -> None:
    """Waits until clients of each of these kinds have called this replica."""

    def called() -> bool:
        log = replica.log()
        return all(f'user_agent="{kind.kind}"' in log for kind in KINDS)

    eventually(called, f"all clients call {replica.address}", within)


class Raw:
    """gRPC as it comes, to one address: nothing is repeated, and no health is looked at."""

    kind = "raw"

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, [("grpc.enable_retries", 0)])
        self._stub = TokenServiceStub(self._channel)
        self._calls = Calls("")

    async def mint(
        self, id_token: str, publisher: Publisher, features: list[str], request_id: str
    ) -> Minted:
        call = self._calls.mint_for_publisher(
            id_token, [publisher], (), (), None, features, request_id, Requester(), None
        )
        return await self._ask(call)

    async def verify(self, token: str, access: Access, request_id: str) -> Verification:
        call = self._calls.verify(token, access, (), None, False, request_id, Requester(), None)
        return await self._ask(call)

    async def aclose(self) -> None:
        await self._channel.close()

    async def _ask(self, call: Call[Answer]) -> Answer:
        try:
            answer = await getattr(self._stub, call.method)(call.request, timeout=TIMEOUT)
        except grpc.RpcError as failure:
            raise error_of(failure) from failure
        return call.answered(answer)
