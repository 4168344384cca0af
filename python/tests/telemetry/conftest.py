"""Fixtures of the tests of telemetry."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Service

import mintage
from collector import Collector
from redis_server import RedisServer, program

Sending = Callable[..., Service]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
def connect() -> Iterator[Callable[..., mintage.Client]]:
    """Makes clients, and closes them."""
    with contextlib.ExitStack() as stack:
        yield lambda *targets, **keywords: stack.enter_context(
            mintage.Client(*targets, **keywords)
        )


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A store's kind and its section."""
    if request.param == "memory":
        yield "memory", '[store]\nkind = "memory"'
        return
    found = program()
    if found is None:
        pytest.skip("NOT TESTED with Redis: there is no redis-server; see scripts/redis-server")
    server = RedisServer(found, tmp_path / "redis")
    yield "redis", server.store
    server.close()


@pytest.fixture
def sending(serve: Callable[..., Service]) -> Sending:
    """Starts a service that sends to this endpoint, with more keys of `[telemetry]`."""

    def start(endpoint: str, *, more: str = "", keywords: Any = None, **keys: Any) -> Service:
        keys = {"metrics_interval": "1h"} | keys | {"otlp_endpoint": endpoint}
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
        return serve(more=f"[telemetry]\n{lines}\n{more}", **(keywords or {}))

    return start
