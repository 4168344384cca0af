"""What a collector gets of metrics, and what becomes of calls where it gets nothing."""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from support import AUDIENCE, Issuer, Service, eventually
from support.certificates import Authority
from support.examples import publisher, upload
from support.service import free_port

import mintage
from collector import Collector, Silent
from redis_server import PASSWORD

Sending = Callable[..., Service]

OUTAGE = "the collector does not take what it is sent"

CALLER = "the-web-tiers-token-made-for-tests"

HEADER = "a-collectors-key-made-for-tests"


@pytest.fixture
def scraped(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What services that are started from now on show to Prometheus."""
    port = free_port()
    monkeypatch.setenv("MINTAGE__ADMIN_LISTEN", f"127.0.0.1:{port}")

    def scrape() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            return str(answer.read().decode())

    return scrape


def value(text: str, series: str) -> float:
    found = [line for line in text.splitlines() if line.startswith(series)]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


def names(text: str) -> set[str]:
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}


def test_metrics_have_the_names_at_a_collector_that_they_have_at_prometheus(
    sending: Sending,
    collector: Collector,
    connect: Any,
    issuer: Issuer,
    store: Any,
    scraped: Callable[[], str],
) -> None:
    service = sending(collector.endpoint, metrics_interval="1s", keywords={"store": store[1]})
    client = connect(service.address)
    client.mint_for_publisher(issuer.id_token(AUDIENCE), [publisher(issuer)])
    expected = {"db_client_operation_duration_seconds", "mintage_issuer_fetches_total"}
    expected |= {"mintage_store_up", "process_cpu_seconds_total", "mintage_build_info"}
    assert expected <= names(scraped())
    eventually(lambda: expected <= collector.metric_names(), "metrics arrive")
    eventually(lambda: collector.metric_names() == names(scraped()), "the names are the same")
    redeemed = f'db_operation_name="redeem",db_system_name="{store[0]}",error_type=""'
    assert value(scraped(), f"db_client_operation_duration_seconds_count{{{redeemed}}}") == 1


def test_prometheus_is_shown_no_label_that_is_the_same_everywhere(
    sending: Sending, collector: Collector, connect: Any, issuer: Issuer, scraped: Any
) -> None:
    client = connect(sending(collector.endpoint).address)
    client.mint_for_publisher(issuer.id_token(AUDIENCE), [publisher(issuer)])
    text = scraped()
    assert value(text, "mintage_build_info") == 1 and "otel_scope" not in text


def test_the_last_call_arrives_before_the_service_ends(
    sending: Sending, collector: Collector, connect: Any
) -> None:
    service = sending(collector.endpoint, metrics_interval="1h")
    client = connect(service.address)
    tracer = TracerProvider().get_tracer("tests")
    with tracer.start_as_current_span("the last") as last:
        client.mint_for_user("1")
    service.stop()
    [span] = collector.spans(last.get_span_context().trace_id)
    assert span.attributes["rpc.response.status_code"] == "OK"
    assert "db_client_operation_duration_seconds" in collector.metric_names()
    assert OUTAGE not in service.log()


def test_over_tls_with_headers_that_only_the_collector_sees(
    sending: Sending, connect: Any, tmp_path: Path
) -> None:
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "headers").write_text(f"x-key: {HEADER}\n")
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    with Collector(credentials=credentials) as collector:
        service = sending(
            collector.endpoint.replace("http:", "https:"),
            otlp_ca_file=str(tmp_path / "ca.pem"),
            otlp_headers_file=str(tmp_path / "headers"),
            keywords={"top": "[log]\nfilter = 'trace'"},
        )
        connect(service.address).mint_for_user("1")
        eventually(collector.spans, "the call's span arrives")
        service.stop()
    assert {headers["x-key"] for headers in collector.headers} == {HEADER}
    assert HEADER not in service.log() and HEADER.encode() not in collector.everything()


def test_no_secret_is_exported(
    sending: Sending, collector: Collector, connect: Any, issuer: Issuer, store: Any
) -> None:
    caller = f"""[[callers]]
name = "web"
token_sha256 = "{hashlib.sha256(CALLER.encode()).hexdigest()}"
may = ["mint-publisher", "mint-user", "verify", "attenuate", "revoke"]
"""
    service = sending(collector.endpoint, more=caller, keywords={"store": store[1]})
    tracer = TracerProvider().get_tracer("tests")
    client = connect(service.address, caller_token=CALLER)
    id_token = issuer.id_token(AUDIENCE)
    with tracer.start_as_current_span("everything") as span:
        token = client.mint_for_publisher(id_token, [publisher(issuer)]).token
        narrow = client.attenuate(token, [mintage.Actions(("upload",))]).token
        assert client.verify(narrow, upload())
        assert not client.verify(token + "A", upload())
        client.verify_identity(id_token, [publisher(issuer)])
        client.revoke(token)
        assert not client.verify(token, upload())
        with pytest.raises(mintage.Error):
            client.mint_for_publisher(id_token, [publisher(issuer)])
        with pytest.raises(mintage.Error):
            connect(service.address, caller_token=CALLER + "-almost").verify(token, upload())
    service.stop()
    found = collector.spans(span.get_span_context().trace_id)
    assert len([one for one in found if one.kind == 2]) == 9, found
    exported = collector.everything()
    for secret in (token, narrow, id_token, CALLER, PASSWORD):
        for part in (secret, secret[:24], secret[20:44], secret[-24:]):
            # The beginning of every ID token is its algorithm, and of every token its prefix.
            assert part.encode() not in exported, part
    assert b"almost" not in exported


@pytest.mark.parametrize("kind", ["down", "silent"])
def test_a_collector_that_takes_nothing_holds_up_nobody_and_is_told_once(
    sending: Sending, connect: Any, scraped: Callable[[], str], kind: str
) -> None:
    silent = Silent()
    endpoint = silent.endpoint
    if kind == "down":
        silent.close()
    service = sending(endpoint, metrics_interval="1s")
    client = connect(service.address)
    # More than the queue has room for.
    for _ in range(2_200):
        client.mint_for_user("1")
    lost = 'mintage_otlp_export_failures_total{signal="%s"}'
    for signal in ("traces", "metrics"):

        def twice(series: str = lost % signal) -> bool:
            return value(scraped(), series) >= 2

        eventually(twice, f"{signal} are lost twice")
    client.mint_for_user("2")
    service.begin_to_stop()
    # Long before its grace of 25 seconds has passed, and its collector would have answered.
    assert service.process.wait(timeout=20) == 0
    silent.close()
    assert service.log().count(OUTAGE) == 2, "once for traces, once for metrics"
    assert "stopped" in service.log()


def test_a_collector_that_comes_later_is_told_of_and_gets_what_comes_then(
    sending: Sending, connect: Any, scraped: Callable[[], str]
) -> None:
    port = free_port()
    service = sending(f"http://127.0.0.1:{port}", metrics_interval="1s")
    client = connect(service.address)
    client.mint_for_user("1")
    eventually(lambda: service.log().count(OUTAGE) == 2, "the outage of both is told")
    with Collector(port) as collector:

        def traced() -> Any:
            client.mint_for_user("2")
            return collector.spans()

        eventually(traced, "spans arrive")
        back = "the collector takes what it is sent again"
        eventually(lambda: service.log().count(back) == 2, "the end of both outages is told")
        service.stop()
    assert service.log().count(OUTAGE) == 2
