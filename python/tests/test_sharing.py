"""One client, many threads; and what a fork, an event loop or a second one does to it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support import Front, Service
from support.examples import upload

import mintage
import mintage.aio
from mintage import _transport

# A server that makes its client and forks its workers afterwards, as `gunicorn --preload` does.
FORKING = """
import os, sys
import mintage
client = mintage.Client(sys.argv[1], timeout=30)
if sys.argv[2] == "used":
    client.mint_for_user("42")
workers = []
for _ in range(3):
    worker = os.fork()
    if worker == 0:
        client.mint_for_user("42")
        client.close()
        os._exit(0)
    workers.append(worker)
ended = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
client.mint_for_user("42")
sys.exit(max(ended))
"""


def test_many_threads_share_a_client(service: Service) -> None:
    def use(user: int) -> None:
        token = client.mint_for_user(str(user)).token
        for _ in range(5):
            facts = client.verify(token, upload()).token
            assert facts is not None and facts.subject == mintage.Subject(user_id=str(user))

    with mintage.Client(service.address) as client, ThreadPoolExecutor(16) as threads:
        list(threads.map(use, range(1, 65)))


def test_threads_that_come_at_once_open_one_connection(service: Service) -> None:
    with mintage.Client(service.address) as client, ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda _: client.mint_for_user("42"), range(64)))
        assert len(client._open) == 1


@pytest.mark.parametrize("before", ["made", "used"])
def test_a_client_from_before_a_fork_works_in_every_worker(service: Service, before: str) -> None:
    path = [entry for entry in sys.path if entry]
    code = f"import sys; sys.path[:0] = {path!r}\n{FORKING}"
    with Front(service.address) as front:
        fork = [sys.executable, "-c", code, front.address, before]
        subprocess.run(fork, check=True, timeout=120)
        assert len(front.calls) == (4 if before == "made" else 5)
        # The parent's first and last call, where it made two, came over one connection, which no
        # worker has touched.
        assert len(set(front.peers)) == 4
        if before == "used":
            assert front.peers[0] == front.peers[-1]


def test_tasks_share_a_client(service: Service) -> None:
    async def use(client: mintage.aio.Client, user: int) -> None:
        token = (await client.mint_for_user(str(user))).token
        facts = (await client.verify(token, upload())).token
        assert facts is not None and facts.subject == mintage.Subject(user_id=str(user))

    async def main() -> None:
        async with mintage.aio.Client(service.address) as client:
            await asyncio.gather(*(use(client, user) for user in range(1, 65)))

    asyncio.run(main())


def test_a_client_made_outside_of_a_loop_serves_one_after_the_other(service: Service) -> None:
    client = mintage.aio.Client(service.address)
    for _ in range(3):
        assert asyncio.run(_mint(client)).token


def test_a_client_of_a_running_loop_is_not_for_another_one(service: Service) -> None:
    client = mintage.aio.Client(service.address)
    first = asyncio.new_event_loop()
    first.run_until_complete(client.mint_for_user("42"))
    with pytest.raises(RuntimeError, match="one event loop"):
        asyncio.run(_mint(client))
    first.run_until_complete(client.close())
    first.close()


def test_what_reads_tokens_offline_does_not_import_grpc() -> None:
    path = [entry for entry in sys.path if entry]
    code = f"import sys; sys.path[:0] = {path!r}\nimport mintage\nassert 'grpc' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "targets",
    [
        (),
        ("",),
        ("127.0.0.1:1", "mintage.internal:1"),
        ("127.0.0.1:1", "[::1]:1"),
        ("127.0.0.1", "127.0.0.2"),
        ("127.0.0.1:1", "127.0.0.2:70000"),
        ("dns:///a:1", "dns:///b:1"),
    ],
)
def test_targets_that_gRPC_could_not_reach_are_a_mistake(targets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        mintage.Client(*targets)


def test_several_addresses_are_one_target() -> None:
    assert _transport.target(["10.0.0.1:1", "10.0.0.2:2"]) == "ipv4:10.0.0.1:1,10.0.0.2:2"
    assert _transport.target(["[::1]:1", "[2001:db8::1]:2"]) == "ipv6:[::1]:1,[2001:db8::1]:2"
    assert _transport.addresses(["ipv6:[::1]:1,[::2]:2"]) == ("[::1]:1", "[::2]:2")


@pytest.mark.parametrize("form", ["{}", "dns:///{}", "ipv4:{}", "ipv4:{},127.0.0.1:1"])
def test_every_form_of_a_target_is_reached(make_client: Any, service: Service, form: str) -> None:
    assert make_client(form.format(service.address)).mint_for_user("42").token


async def _mint(client: mintage.aio.Client) -> mintage.Minted:
    return await client.mint_for_user("42")
