"""A job: an ID token, an upload token for it, an upload or two; and somebody who wants them too.

What fails is tried again as uv and an index would, under the same `request_id`.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import mintage
from callers import Caller
from mintage import Minted, Publisher, Reason, Refused, Unavailable, Verification
from seen import Call, Seen
from support import AUDIENCE, Issuer
from support.examples import publisher, upload

Answer = TypeVar("Answer")

ATTEMPTS = 4
"""How often uv sends the same ID token."""

PAUSE = 0.1
"""Seconds before the next attempt, where the service names no time."""

PUBLISHERS = 64
"""So many that none of them spends its limit."""

KNOWN = 500
"""Of so many jobs somebody else knows the tokens: of the last half minute, or thereabouts."""


@dataclass
class Loot:
    """ID tokens and single-use tokens that somebody else has seen, once their job is through with
    them."""

    id_tokens: deque[tuple[str, Publisher]] = field(default_factory=lambda: deque(maxlen=KNOWN))
    single_use: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=KNOWN))


@dataclass
class Jobs:
    """What all jobs of a test share. `now` tells what is done meanwhile."""

    issuer: Issuer
    seen: Seen
    now: Callable[[], str]
    loot: Loot = field(default_factory=Loot)

    def job(self, caller: Caller, number: int) -> Job:
        id_ = str(number % PUBLISHERS)
        return Job(self, caller, publisher(self.issuer, id=id_), single_use=number % 2 == 0)


@dataclass
class Job:
    """One job. `clean` until a call of it fails, or hears a no that it shouldn't."""

    jobs: Jobs
    caller: Caller
    publisher: Publisher
    single_use: bool
    clean: bool = True

    async def run(self) -> bool:
        """Whether it was as it should be."""
        token = await self._mint()
        if token is not None:
            await self._upload(token)
        await self._steal_id_token()
        await self._steal_use()
        return self.clean

    async def _mint(self) -> str | None:
        id_token, call = self.jobs.issuer.id_token(AUDIENCE), secrets.token_hex(16)
        features = [mintage.SINGLE_USE if self.single_use else mintage.MULTI_USE]
        answer = await self._told(
            lambda: self.caller.mint(id_token, self.publisher, features, call)
        )
        self.jobs.loot.id_tokens.append((id_token, self.publisher))
        if isinstance(answer, Minted):
            self._grant(id_token, answer.token)
            return answer.token
        if answer is not None:
            self._wrong(f"Mint: {answer.reason}")
        return None

    async def _upload(self, token: str) -> None:
        answer = await self._verify(token, self.publisher.id, self.single_use)
        if self.single_use:
            self.jobs.loot.single_use.append((token, self.publisher.id))
        if isinstance(answer, Refused):
            self._wrong(f"Verify: {answer.reason}")
        elif answer is not None and not answer:
            self._wrong(f"Verify: {answer.denials[0].reason}")

    async def _steal_id_token(self) -> None:
        """As a call of its own: it may succeed only where the job's own never did."""
        id_token, known = random.choice(self.jobs.loot.id_tokens)
        call = secrets.token_hex(16)
        answer = await self._told(lambda: self.caller.mint(id_token, known, [], call))
        if isinstance(answer, Minted):
            self._grant(id_token, answer.token)
        elif answer is not None and answer.reason is not Reason.ID_TOKEN_REUSED:
            self._wrong(f"Mint again: {answer.reason}")

    async def _steal_use(self) -> None:
        if self.jobs.loot.single_use:
            token, publisher_id = random.choice(self.jobs.loot.single_use)
            answer = await self._verify(token, publisher_id, single_use=True)
            if isinstance(answer, Refused):
                self._wrong(f"Verify again: {answer.reason}")

    async def _verify(
        self, token: str, publisher_id: str, single_use: bool
    ) -> Verification | Refused | None:
        call = secrets.token_hex(16)
        access = upload(publisher_ids=(publisher_id,))
        answer = await self._told(lambda: self.caller.verify(token, access, call))
        if single_use and isinstance(answer, Verification) and answer.allowed:
            self._grant(token, call)
        return answer

    async def _told(self, call: Callable[[], Awaitable[Answer]]) -> Answer | Refused | None:
        """The answer, or the no; None where there was neither, attempt after attempt."""
        for _ in range(ATTEMPTS):
            began = time.monotonic()
            try:
                answer: Answer | Refused = await call()
            except Refused as no:
                answer = no
            except Unavailable as failure:
                self._note(began, _status(failure), failure.retry_after)
                self.clean = False
                await asyncio.sleep(failure.retry_after or PAUSE)
                continue
            self._note(began)
            return answer
        return None

    def _note(self, began: float, failed: str = "", retry_after: float | None = None) -> None:
        took = time.monotonic() - began
        call = Call(self.jobs.now(), self.caller.kind, took, failed, retry_after)
        self.jobs.seen.calls.append(call)

    def _grant(self, token: str, good_for: str) -> None:
        self.jobs.seen.granted[token].add(good_for)

    def _wrong(self, what: str) -> None:
        self.clean = False
        self.jobs.seen.wrong.append((self.jobs.now(), what))


def _status(failure: Unavailable) -> str:
    code = getattr(failure.__cause__, "code", None)
    return str(code().name) if code is not None else "an unreadable answer"
