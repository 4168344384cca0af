"""Traces from the Python caller through the service to its store, at a collector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from support import AUDIENCE, Issuer, Service, eventually
from support.examples import publisher, upload

import mintage
from collector import Collector, Span
from mintage.v1 import token_service_pb2 as v1, token_service_pb2_grpc as v1_grpc

SERVER, CLIENT = 2, 3
MINT, VERIFY = "mintage.v1.TokenService/Mint", "mintage.v1.TokenService/Verify"

Sending = Callable[..., Service]

TRACER = TracerProvider().get_tracer("tests")


def ids(span: trace.Span) -> tuple[int, int]:
    context = span.get_span_context()
    return context.trace_id, context.span_id


def arrived(collector: Collector, trace_id: int, *names: str) -> dict[str, Span]:
    """The spans of a trace by name, once those are among them."""

    def of_trace() -> dict[str, Span]:
        spans = {span.name: span for span in collector.spans(trace_id)}
        return spans if set(names) <= set(spans) else {}

    return eventually(of_trace, f"spans of {names} arrive")


def test_the_callers_span_is_the_parent_of_the_calls_and_that_of_the_stores(
    sending: Sending, collector: Collector, make_client: Any, issuer: Issuer, store: Any
) -> None:
    system, section = store
    service = sending(collector.endpoint, service_name="mint", keywords={"store": section})
    client = make_client(service.address)
    with TRACER.start_as_current_span("publish") as publish:
        token = client.mint_for_publisher(issuer.id_token(AUDIENCE), [publisher(issuer)]).token
    with TRACER.start_as_current_span("upload") as uploading:
        assert client.verify(token, upload())

    for caller, rpc, operation in ((publish, MINT, "redeem"), (uploading, VERIFY, "spend_uses")):
        trace_id, caller_id = ids(caller)
        spans = arrived(collector, trace_id, rpc, operation)
        server, below = spans[rpc], spans[operation]
        assert (server.kind, server.parent_id, server.failed) == (SERVER, caller_id, False)
        assert server.attributes == {
            "rpc.system.name": "grpc",
            "rpc.method": rpc,
            "rpc.response.status_code": "OK",
            "server.address": "127.0.0.1",
            "server.port": service.port,
            "mintage.index": "pypi",
        }
        assert (below.kind, below.parent_id, below.failed) == (CLIENT, server.span_id, False)
        assert below.attributes == {"db.system.name": system, "db.operation.name": operation}
        assert set(server.resource) == {"service.name", "service.version", "service.instance.id"}
        assert server.resource["service.name"] == "mint"
        assert f"trace_id={trace_id:032x} span_id={server.span_id:016x}" in service.log()


def test_the_first_mint_fetches_the_issuers_keys_in_its_trace(
    sending: Sending, collector: Collector, connect: Any, issuer: Issuer, store: Any
) -> None:
    system, section = store
    client = connect(sending(collector.endpoint, keywords={"store": section}).address)
    with TRACER.start_as_current_span("publish") as publish:
        client.mint_for_publisher(issuer.id_token(AUDIENCE), [publisher(issuer)])
    expected = [MINT, "fetch key set"] + ["key_set_put"] * (system == "redis")
    spans = arrived(collector, ids(publish)[0], *expected)
    fetch = spans["fetch key set"]
    assert (fetch.kind, fetch.parent_id) == (CLIENT, spans[MINT].span_id)
    assert fetch.attributes == {"mintage.issuer": issuer.url}
    if system == "redis":
        assert spans["key_set_put"].parent_id == fetch.span_id


def test_a_refusal_and_a_denial_name_their_reasons(
    sending: Sending, collector: Collector, connect: Any, issuer: Issuer
) -> None:
    client = connect(sending(collector.endpoint).address)
    with TRACER.start_as_current_span("refused") as refused, pytest.raises(mintage.Error):
        client.mint_for_publisher("not.an.id-token", [publisher(issuer)])
    with TRACER.start_as_current_span("denied") as denied:
        assert not client.verify("pypi-none", upload())
    for caller, rpc, code, reason in (
        (refused, MINT, "INVALID_ARGUMENT", "ID_TOKEN_MALFORMED"),
        (denied, VERIFY, "OK", "TOKEN_MALFORMED"),
    ):
        span = arrived(collector, ids(caller)[0], rpc)[rpc]
        assert span.attributes["rpc.response.status_code"] == code
        assert span.attributes["mintage.reason"] == reason
        assert not span.failed, "the caller's fault is not the server's"


def test_what_was_not_sampled_leaves_no_span_and_yet_its_trace_id_in_the_log(
    sending: Sending, collector: Collector, connect: Any
) -> None:
    service = sending(collector.endpoint)
    client = connect(service.address)
    unsampled = TracerProvider(sampler=ALWAYS_OFF).get_tracer("tests")
    with unsampled.start_as_current_span("unseen") as unseen:
        client.mint_for_user("1")
    with TRACER.start_as_current_span("seen") as seen:
        client.mint_for_user("2")
    arrived(collector, ids(seen)[0], MINT)
    service.stop()
    assert {span.trace_id for span in collector.spans()} == {ids(seen)[0]}
    assert f"trace_id={ids(unseen)[0]:032x}" in service.log()


def test_traces_that_begin_here_are_recorded_as_configured(
    sending: Sending, collector: Collector, connect: Any
) -> None:
    none = connect(sending(collector.endpoint, trace_ratio=0).address)
    none.mint_for_user("1")
    with TRACER.start_as_current_span("a caller's own") as own:
        none.mint_for_user("2")
    arrived(collector, ids(own)[0], MINT)
    assert {span.trace_id for span in collector.spans()} == {ids(own)[0]}

    connect(sending(collector.endpoint, trace_ratio=1).address).mint_for_user("3")
    begun = eventually(
        lambda: [span for span in collector.spans() if span.trace_id != ids(own)[0]],
        "a trace that began at the service arrives",
    )
    assert [(span.name, span.parent_id) for span in begun] == [(MINT, 0)]


@pytest.mark.parametrize("traceparent", ["", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "1" * 4000])
def test_a_malformed_traceparent_is_none(
    sending: Sending, collector: Collector, traceparent: str
) -> None:
    service = sending(collector.endpoint)
    with grpc.insecure_channel(service.address) as channel:
        request = v1.MintRequest(index="pypi", user=v1.User(user_id="1"))
        headers = (("traceparent", traceparent),)
        v1_grpc.TokenServiceStub(channel).Mint(request, metadata=headers, timeout=60)
    spans = eventually(collector.spans, "the call's span arrives")
    assert [(span.name, span.parent_id) for span in spans] == [(MINT, 0)]


def test_health_and_reflection_are_not_traced(sending: Sending, collector: Collector) -> None:
    service = sending(collector.endpoint)  # Its readiness was asked for, time and again.
    with grpc.insecure_channel(service.address) as channel:
        unheard: Any = channel.unary_unary("/mintage.v1.TokenService/Unheard")
        with pytest.raises(grpc.RpcError):
            unheard(b"", timeout=60)
    service.stop()
    assert collector.spans() == []
