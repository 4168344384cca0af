"""Replicas without a mesh: clients that know three addresses and balance by themselves."""

from __future__ import annotations

from callers import OpenCaller, Tasks, Threads
from load import Load
from replicas import Replicas
from seen import nobody_noticed
from support import Issuer


def test_clients_that_know_three_addresses_see_no_restart_and_no_kill(
    replicas: Replicas, issuer: Issuer
) -> None:
    callers: list[OpenCaller] = [lambda: Tasks(*replicas.addresses)] * 2
    callers += [lambda: Threads(*replicas.addresses)] * 2
    with Load("Three replicas, no mesh", issuer, callers) as load:
        with load.during("restart of each in turn, 3 times"):
            for _ in range(3):
                replicas.restart_in_turn()
        nobody_noticed(load.seen, "restart of each in turn, 3 times")

        with load.during("kill -9 of one"):
            replicas.kill(0)
            load.goes_on()
            replicas.start(0)
        nobody_noticed(load.seen, "kill -9 of one")
