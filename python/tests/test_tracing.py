"""Trace context goes along where OpenTelemetry is there, and nothing breaks where it isn't."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from support import Front, Service

# Hides OpenTelemetry, which another test of this process may have imported.
WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
import mintage
with mintage.Client(sys.argv[1]) as client:
    client.mint_for_user("42")
"""


def test_the_active_span_is_passed_on_and_its_baggage_is_not(
    make_client: Any, service: Service
) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="tracing is tested where OpenTelemetry is")
    from opentelemetry import baggage, context, trace
    from opentelemetry.sdk.trace import TracerProvider

    held = context.attach(baggage.set_baggage("customer", "secret"))
    with Front(service.address) as front:
        client = make_client(front.address, caller_token="of-the-web-tier")
        with TracerProvider().get_tracer("tests").start_as_current_span("upload") as span:
            client.mint_for_user("42")
        client.mint_for_user("42")
    context.detach(held)
    within, without = (headers for _, headers, _ in front.calls)
    trace_id = trace.format_trace_id(span.get_span_context().trace_id)
    assert within["traceparent"].split("-")[1] == trace_id
    assert within["authorization"] == "Bearer of-the-web-tier"
    assert "baggage" not in within
    assert "traceparent" not in without


def test_calls_work_without_opentelemetry(service: Service) -> None:
    path = [entry for entry in sys.path if entry]
    code = f"import sys; sys.path[:0] = {path!r}\n{WITHOUT}"
    with Front(service.address) as front:
        subprocess.run([sys.executable, "-c", code, front.address], check=True, timeout=120)
    assert "traceparent" not in front.calls[0][1]
