"""Replicas behind a name, as a headless Service in Kubernetes has them: their addresses change.

A client asks for the name again when a replica says goodbye: because it stops, or because the
connection is as old as it may get.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from callers import KINDS, OpenCaller, is_known
from kit.mintage import Redis
from kit.processes import free_port
from load import Load
from names import Names
from seen import nobody_noticed
from support import Issuer, Keyring, Service

Start = Callable[..., Service]

BOUND = 60.0
"""Seconds, for four replacements together. A machine that stalls has enough of them, and a client that
waits between two questions for as long as gRPC does by itself, 30 seconds, hasn't."""


@pytest.fixture
def start(tmp_path: Path, keyring: Keyring, issuer: Issuer, redis: Redis) -> Iterator[Start]:
    """Starts replicas, each with an address of its own; their port is the same."""
    started: list[Service] = []
    port, numbers = free_port(), itertools.count(1)

    def start(age: str = "30m") -> Service:
        service = Service(
            tmp_path,
            keyring,
            issuer.url,
            host=f"127.0.1.{next(numbers)}",
            port=port,
            store=f"[store]\n{redis.store}",
            more=f'[server]\nmax_connection_age = "{age}"',
        )
        started.append(service)
        return service

    yield start
    for service in started:
        service.stop()


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    names.close()


def test_a_replica_that_comes_later_gets_its_share_when_connections_are_old(
    start: Start, names: Names, issuer: Issuer
) -> None:
    what = "a third one comes"
    first, second = start(age="2s"), start(age="2s")
    names.addresses = [first.host, second.host]
    title = "Replicas behind a name, connections end after 2 s"
    with Load(title, issuer, callers(names, first)) as load:
        with load.during(what):
            third = start(age="2s")
            names.addresses.append(third.host)
            is_known(third)
        nobody_noticed(load.seen, what)


def test_clients_find_replicas_that_replace_those_they_know(
    start: Start, names: Names, issuer: Issuer
) -> None:
    what = "each replaced twice, at new addresses"
    present = [start(), start()]
    names.addresses = [service.host for service in present]
    with Load("Replicas behind a name", issuer, callers(names, present[0])) as load:
        end = time.monotonic() + BOUND
        with load.during(what):
            for at in (0, 1, 0, 1):
                old, present[at] = present[at], start()
                names.addresses = [service.host for service in present]
                old.stop()
                is_known(present[at], within=end - time.monotonic())
        nobody_noticed(load.seen, what)


def callers(names: Names, replica: Service) -> list[OpenCaller]:
    target = names.target(replica.port)
    return [functools.partial(kind, target) for kind in KINDS]
