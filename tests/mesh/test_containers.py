"""Replicas in containers behind Envoy, each of them cut off from one of its networks under load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from callers import OpenCaller, Raw, Tasks, Threads
from containers import REDIS, REPLICAS, Containers, engine_is_here, running
from load import Load
from proxy import Envoy
from seen import nobody_was_misled
from support import Keyring, eventually

FROM_REDIS = "one replica cut off from Redis"
FROM_ENVOY = "one replica cut off from Envoy"
FROM_ALL = "Redis cut off from all"


@pytest.fixture
def containers(tmp_path: Path, keyring: Keyring, redis_program: str) -> Iterator[Containers]:
    if not engine_is_here():
        pytest.skip("NOT TESTED in containers: no Docker engine on this machine answers")
    folder = tmp_path / "mintage"
    folder.mkdir()
    with running(folder, keyring, redis_program) as containers:
        yield containers


@pytest.fixture
def envoy(tmp_path: Path, containers: Containers) -> Iterator[Envoy]:
    envoy = Envoy(tmp_path / "envoy", containers.addresses)
    yield envoy
    envoy.stop()


def test_replicas_that_are_cut_off_come_back_by_themselves_and_nothing_is_granted_twice(
    containers: Containers, envoy: Envoy
) -> None:
    callers: list[OpenCaller] = [lambda: Tasks(envoy.address), lambda: Threads(envoy.address)]
    callers += [lambda: Raw(envoy.address)]
    with Load("Three containers behind Envoy", containers.issuer, callers) as load:
        seen = load.seen
        with load.during(FROM_REDIS):
            containers.cut_off(containers.store, REPLICAS[0])
            envoy.sees_healthy(2)
            load.goes_on()
            containers.reconnect(containers.store, REPLICAS[0])
            envoy.sees_healthy(3)
        nobody_was_misled(seen, FROM_REDIS)

        with load.during(FROM_ENVOY):
            containers.cut_off(containers.front, REPLICAS[1])
            envoy.sees_healthy(2)
            load.goes_on()
            containers.reconnect(containers.front, REPLICAS[1])
            envoy.sees_healthy(3)
        nobody_was_misled(seen, FROM_ENVOY)

        with load.during(FROM_ALL):
            containers.cut_off(containers.store, REDIS)
            eventually(lambda: seen.failures(FROM_ALL), "callers notice")
            envoy.sees_healthy(0)
            containers.reconnect(containers.store, REDIS)
            envoy.sees_healthy(3)
        nobody_was_misled(seen, FROM_ALL)

    # Redis has lost nothing: every no was one that had to be.
    assert not seen.wrong
    assert containers.never_ended()
