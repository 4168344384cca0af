"""Lost answers, dead and draining replicas, deadlines: what both clients do about them."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import Any

import grpc
import pytest
from support import AUDIENCE, Front, Issuer, Service, eventually
from support.examples import publisher, upload

import mintage
import mintage.aio
from mintage import Reason, _transport
from mintage.v1 import token_service_pb2 as pb


def test_a_lost_answer_redeems_no_id_token_twice(
    make_client: Any, service: Service, issuer: Issuer
) -> None:
    with Front(service.address) as front:
        front.answers_to_lose = 2
        client = make_client(front.address)
        minted = client.mint_for_publisher(issuer.id_token(AUDIENCE), [publisher(issuer)])
        assert client.verify(minted.token, upload())
    requests = [request for method, _, request in front.calls if method == "Mint"]
    assert len(requests) == 3 and len(set(requests)) == 1


def test_a_lost_answer_spends_no_use_twice(
    make_client: Any, service: Service, issuer: Issuer
) -> None:
    with Front(service.address) as front:
        client = make_client(front.address)
        minted = client.mint_for_publisher(
            issuer.id_token(AUDIENCE), [publisher(issuer)], features=[mintage.SINGLE_USE]
        )
        front.answers_to_lose = 1
        assert client.verify(minted.token, upload())
        assert not client.verify(minted.token, upload()), "another call is another use"


def test_every_call_has_a_request_id_of_its_own_where_it_spends_something(
    make_client: Any, service: Service, issuer: Issuer
) -> None:
    with Front(service.address) as front:
        client = make_client(front.address)
        for _ in range(2):
            id_token = issuer.id_token(AUDIENCE)
            token = client.mint_for_publisher(id_token, [publisher(issuer)]).token
            client.verify(token, upload())
        client.verify(token, upload(), request_id="given")
    minted = [pb.MintRequest.FromString(sent) for name, _, sent in front.calls if name == "Mint"]
    verified = [
        pb.VerifyRequest.FromString(sent) for name, _, sent in front.calls if name == "Verify"
    ]
    ids = [request.request_id for request in (*minted, *verified)]
    assert len(set(ids)) == 5 and ids[-1] == "given"
    assert all(16 <= len(one) <= 128 for one in ids[:-1])


def test_no_is_not_asked_for_again(make_client: Any, service: Service) -> None:
    with Front(service.address) as front:
        client = make_client(front.address)
        with pytest.raises(mintage.Refused):
            client.mint_for_user("")
        assert len(front.calls) == 1


def test_a_call_is_given_up_after_four_attempts(make_client: Any) -> None:
    def unavailable(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAVAILABLE, "down, says 10.1.2.3")
        raise AssertionError

    with Front(answer=unavailable) as front:
        client = make_client(front.address)
        with pytest.raises(mintage.Unavailable) as failed:
            client.mint_for_user("42")
        assert len(front.calls) == 4
    assert failed.value.reason is Reason.UNAVAILABLE
    assert "10.1.2.3" not in str(failed.value)


def test_no_call_fails_while_one_of_two_replicas_is_killed(make_client: Any, serve: Any) -> None:
    first, second = serve(), serve()
    client = make_client(first.address, second.address)
    token = client.mint_for_user("42").token
    eventually(
        lambda: client.verify(token, upload())
        and first.answered("Verify") > 2
        and second.answered("Verify") > 2,
        "both replicas are asked",
    )
    first.kill()
    for _ in range(50):
        assert client.verify(token, upload())


def test_no_call_fails_while_one_of_two_replicas_drains(make_client: Any, serve: Any) -> None:
    first, second = serve(), serve()
    client = make_client(first.address, second.address)
    token = client.mint_for_user("42").token
    for _ in range(20):
        assert client.verify(token, upload())
    first.begin_to_stop()
    eventually(
        lambda: client.verify(token, upload()) and first.process.poll() is not None,
        "the first replica ends, while calls go on",
    )
    before = second.answered("Verify")
    for _ in range(20):
        assert client.verify(token, upload())
    eventually(lambda: second.answered("Verify") >= before + 20, "the other one answers them all")


def test_a_replica_that_comes_back_is_used_again(make_client: Any, serve: Any) -> None:
    first, second = serve(), serve()
    client = make_client(first.address, second.address)
    token = client.mint_for_user("42").token
    first.kill()
    assert client.verify(token, upload())
    again = serve(port=first.port)
    before = again.answered("Verify")
    eventually(
        lambda: client.verify(token, upload()) and again.answered("Verify") > before,
        "it is asked again",
    )


def test_a_replica_that_says_it_is_not_ready_is_left(make_client: Any, service: Service) -> None:
    with (
        Front(service.address, healthy=True) as ready,
        Front(service.address, healthy=True) as unready,
    ):
        client = make_client(ready.address, unready.address)
        eventually(lambda: client.mint_for_user("42") and ready.calls and unready.calls, "both")
        unready.set_healthy(False)
        calls = _until_left(client, unready)
        for _ in range(20):
            client.mint_for_user("42")
        assert len(unready.calls) == calls
        unready.set_healthy(True)
        eventually(
            lambda: client.mint_for_user("42") and len(unready.calls) > calls, "it is back"
        )


def test_a_replica_that_stands_still_is_left_when_it_answers_no_ping(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked after a second here, not after 30; the ten seconds for the answer are real. One
    client does, since both have the same channel."""
    options = dict(_transport._OPTIONS) | {"grpc.keepalive_time_ms": 1_000}
    monkeypatch.setattr(_transport, "_OPTIONS", tuple(options.items()))
    first, second = serve(), serve()
    with mintage.Client(first.address, second.address, timeout=1) as client:
        token = client.mint_for_user("42", timeout=60).token
        eventually(
            lambda: (
                _verifies(client, token)
                and first.answered("Verify")
                and second.answered("Verify")
            ),
            "both replicas are asked",
        )
        first.process.send_signal(signal.SIGSTOP)
        try:
            # gRPC's own patience with a ping is a minute.
            eventually(lambda: all(_verifies(client, token) for _ in range(10)), "it is left", 45)
        finally:
            first.process.send_signal(signal.SIGCONT)


def test_health_is_not_asked_for_where_nobody_wants_it(
    make_client: Any, service: Service
) -> None:
    with Front(service.address, healthy=False) as unready:
        assert make_client(unready.address, health_checks=False).mint_for_user("42").token
        with pytest.raises(mintage.Unavailable):
            make_client(unready.address).mint_for_user("42")


def test_a_deadline_ends_a_call_that_gets_no_answer(make_client: Any) -> None:
    stuck = threading.Event()

    def never(_: bytes, context: grpc.ServicerContext) -> bytes:
        stuck.wait(60)
        return b""

    with Front(answer=never) as front:
        client = make_client(front.address, timeout=0.2)
        for timeout in (None, 0.1):
            began = time.monotonic()
            with pytest.raises(mintage.Unavailable, match="in time") as failed:
                client.mint_for_user("42", timeout=timeout)
            assert time.monotonic() - began < 30
            assert failed.value.reason is Reason.UNAVAILABLE
        stuck.set()


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_call_never_waits_for_ever(make_client: Any, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        make_client("127.0.0.1:1", timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        make_client("127.0.0.1:1").mint_for_user("42", timeout=timeout)


def test_closing_ends_calls_that_wait() -> None:
    begun, stuck = threading.Event(), threading.Event()

    def never(_: bytes, context: grpc.ServicerContext) -> bytes:
        begun.set()
        stuck.wait(60)
        return b""

    with Front(answer=never) as front:
        client = mintage.Client(front.address, timeout=60)

        def close() -> None:
            begun.wait(60)
            client.close()

        threading.Thread(target=close).start()
        with pytest.raises(mintage.Unavailable):
            client.mint_for_user("42")
        stuck.set()


def test_a_cancelled_task_stays_cancelled() -> None:
    stuck = threading.Event()

    def never(_: bytes, context: grpc.ServicerContext) -> bytes:
        stuck.wait(60)
        return b""

    async def cancel(address: str) -> None:
        async with mintage.aio.Client(address, timeout=60) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.mint_for_user("42"), 0.2)

    with Front(answer=never) as front:
        asyncio.run(cancel(front.address))
        stuck.set()


def _verifies(client: Any, token: str) -> bool:
    """Whether there is an answer before the deadline."""
    try:
        return bool(client.verify(token, upload()))
    except mintage.Unavailable:
        return False


def _until_left(client: Any, front: Front) -> int:
    """Calls until none goes to this front any more; then how many it had."""

    def left() -> bool:
        before = len(front.calls)
        for _ in range(10):
            client.mint_for_user("42")
        return len(front.calls) == before

    eventually(left, "the replica is left")
    return len(front.calls)
