"""Jobs all the time, while something befalls the replicas."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator, Sequence

from callers import OpenCaller
from jobs import Jobs
from kit.processes import wait_until
from seen import Seen
from support import Issuer

PACE = 0.15
"""Seconds between the jobs of one worker: some dozens of calls a second are asked for, not as many
as there can be."""


class Load:
    """Workers, each with a caller of its own, that do one job after the other.

    with Load("behind Envoy", issuer, callers) as load:
        with load.during("a restart"):
            …
    """

    def __init__(self, title: str, issuer: Issuer, callers: Sequence[OpenCaller]) -> None:
        self.seen = Seen(title)
        self._during = "start"
        self._jobs = Jobs(issuer, self.seen, lambda: self._during)
        self._callers = callers
        self._clean = [0] * len(callers)
        self._numbers = itertools.count()
        self._ending = threading.Event()
        self._broken: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        self.goes_on()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ending.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "the jobs don't end"

    @contextlib.contextmanager
    def during(self, what: str) -> Iterator[None]:
        """What is told from now on is told during this, until all jobs are as they should be."""
        self._during = what
        yield
        self.goes_on()

    def goes_on(self, jobs: int = 3) -> None:
        """Waits until every worker has done so many more jobs that were as they should be."""
        before = list(self._clean)

        def enough() -> bool:
            assert not self._broken, f"a job broke: {self._broken[0]!r}"
            return all(now >= then + jobs for now, then in zip(self._clean, before, strict=True))

        wait_until(enough, f"jobs succeed again ({self._during})")

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:
            # The test's own thread tells it.
            self._broken.append(error)

    async def _work(self) -> None:
        await asyncio.gather(*(self._worker(at) for at in range(len(self._callers))))

    async def _worker(self, at: int) -> None:
        async with contextlib.aclosing(self._callers[at]()) as caller:
            while not self._ending.is_set():
                clean = await self._jobs.job(caller, next(self._numbers)).run()
                self._clean[at] += clean
                await asyncio.sleep(PACE)
