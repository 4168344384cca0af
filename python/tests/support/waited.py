"""An asyncio client that waits, so that one test holds both clients to the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import mintage.aio


class Waited:
    """`mintage.aio.Client` with an event loop of its own, method for method as `mintage.Client`."""

    def __init__(self, *targets: str, **keywords: Any) -> None:
        self._client = mintage.aio.Client(*targets, **keywords)
        self._loop = asyncio.new_event_loop()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *given, **named: self._loop.run_until_complete(method(*given, **named))

    def __enter__(self) -> Waited:
        self._loop.run_until_complete(self._client.__aenter__())
        return self

    def __exit__(self, *raised: Any) -> None:
        self._loop.run_until_complete(self._client.__aexit__(*raised))
        self._loop.close()
