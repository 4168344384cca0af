"""Replicas behind Envoy: what their callers see of restarts, kills, a freeze and a new store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from callers import OpenCaller, Raw, Tasks, Threads
from kit.mintage import Redis
from load import Load
from proxy import Envoy
from replicas import Replicas
from seen import nobody_noticed, nobody_was_misled
from support import Issuer

FROZEN = 10.0
"""Seconds. A process that hangs, or a machine that swaps, is a matter of so many."""

AWAY = 5.0
"""Seconds: long enough for every replica to say that it isn't ready."""


@pytest.fixture
def envoy(tmp_path: Path, replicas: Replicas) -> Iterator[Envoy]:
    envoy = Envoy(tmp_path / "envoy", replicas.addresses)
    yield envoy
    envoy.stop()


@pytest.fixture
def load(issuer: Issuer, envoy: Envoy) -> Iterator[Load]:
    callers: list[OpenCaller] = [
        lambda: Tasks(envoy.address),
        lambda: Tasks(envoy.address, health_checks=False),
        lambda: Threads(envoy.address),
        lambda: Threads(envoy.address, health_checks=False),
        lambda: Raw(envoy.address),
    ]
    with Load("Three replicas behind Envoy", issuer, callers) as load:
        yield load


def test_callers_behind_envoy_see_no_restart_and_no_kill_and_nothing_is_granted_twice(
    load: Load, envoy: Envoy, replicas: Replicas, redis: Redis
) -> None:
    seen = load.seen
    with load.during("restart of each in turn, 3 times"):
        for _ in range(3):
            replicas.restart_in_turn(found=lambda _: envoy.sees_healthy(3))
    nobody_noticed(seen, "restart of each in turn, 3 times")

    with load.during("kill -9 of each in turn"):
        for at in range(3):
            replicas.kill(at)
            load.goes_on()
            replicas.start(at)
            envoy.sees_healthy(3)
    nobody_noticed(seen, "kill -9 of each in turn")

    with load.during("SIGSTOP of one for 10 s"):
        replicas.freeze(1)
        time.sleep(FROZEN)
        replicas.thaw(1)
        envoy.sees_healthy(3)
    nobody_was_misled(seen, "SIGSTOP of one for 10 s")
    assert not seen.refused("SIGSTOP of one for 10 s")

    with load.during("Redis away for 5 s, then empty"):
        redis.stop()
        time.sleep(AWAY)
        redis.start()
        envoy.sees_healthy(3)
    nobody_was_misled(seen, "Redis away for 5 s, then empty")
    told = seen.failures("Redis away for 5 s, then empty")
    assert told and all(call.retry_after for call in told), "the service says when to come again"

    assert replicas.all_run()
    repeated = envoy.stat("upstream_rq_retry"), envoy.stat("upstream_rq_retry_success")
    seen.notes.append(f"Envoy made {repeated[0]} calls again, {repeated[1]} of them with success")
