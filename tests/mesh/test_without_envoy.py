"""Replicas without a mesh: clients that know three addresses and balance by themselves."""

from __future__ import annotations

import functools

from callers import KINDS, OpenCaller, is_known
from load import Load
from replicas import Replicas
from seen import nobody_noticed
from support import Issuer


def test_clients_that_know_three_addresses_see_no_restart_and_no_kill(
    replicas: Replicas, issuer: Issuer
) -> None:
    callers: list[OpenCaller] = [functools.partial(kind, *replicas.addresses) for kind in KINDS]
    with Load("Three replicas, no mesh", issuer, callers) as load:
        with load.during("restart of each in turn, 3 times"):
            for _ in range(3):
                replicas.restart_in_turn(found=is_known)
        nobody_noticed(load.seen, "restart of each in turn, 3 times")

        with load.during("kill -9 of each in turn"):
            for at in range(3):
                replicas.kill(at)
                load.goes_on()
                is_known(replicas.start(at))
        nobody_noticed(load.seen, "kill -9 of each in turn")
