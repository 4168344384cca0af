"""A collector that keeps what it is sent: OTLP over gRPC, as the real one takes it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from types import TracebackType
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2 as metrics,
    metrics_service_pb2_grpc as metrics_grpc,
)
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2 as traces,
    trace_service_pb2_grpc as traces_grpc,
)

from support.service import free_port


class Collector:
    """Listens from the start. `credentials` are for TLS."""

    def __init__(
        self, port: int | None = None, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.port = free_port() if port is None else port
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        self._traces: list[Any] = []
        self._metrics: list[Any] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        # The generated modules are not typed.
        serve_traces: Any = traces_grpc.add_TraceServiceServicer_to_server
        serve_traces(_Traces(self), self._server)
        serve_metrics: Any = metrics_grpc.add_MetricsServiceServicer_to_server
        serve_metrics(_Metrics(self), self._server)
        address = f"127.0.0.1:{self.port}"
        if credentials is None:
            self._server.add_insecure_port(address)
        else:
            self._server.add_secure_port(address, credentials)
        self._server.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keep(self, into: str, request: Any, context: grpc.ServicerContext) -> None:
        with self._lock:
            headers = context.invocation_metadata()
            self.headers.append({str(name): str(value) for name, value in headers})
            getattr(self, into).append(request)

    def spans(self, trace_id: int | None = None) -> list[Span]:
        """All spans so far, or those of one trace."""
        found = [
            Span(span, attributes(resource.resource.attributes))
            for request in self._kept("_traces")
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return [span for span in found if trace_id in (None, span.trace_id)]

    def metrics(self) -> Iterator[Any]:
        """Every metric of every export."""
        for request in self._kept("_metrics"):
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    yield from scope.metrics

    def metric_names(self) -> set[str]:
        """The names of the last export's metrics, as Prometheus would have them."""
        last = self._kept("_metrics")[-1:]
        return {
            prometheus_name(metric)
            for request in last
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def everything(self) -> bytes:
        """All that was exported, as it came."""
        kept = [*self._kept("_traces"), *self._kept("_metrics")]
        return b"\n".join(request.SerializeToString() for request in kept)

    def close(self) -> None:
        self._server.stop(None).wait()

    def __enter__(self) -> Collector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _kept(self, which: str) -> list[Any]:
        with self._lock:
            return list(getattr(self, which))


class Span:
    """A span as it was exported, and the resource that it is of."""

    def __init__(self, span: Any, resource: dict[str, Any]) -> None:
        self.name: str = span.name
        self.kind: int = span.kind
        self.trace_id = int.from_bytes(span.trace_id, "big")
        self.span_id = int.from_bytes(span.span_id, "big")
        self.parent_id = int.from_bytes(span.parent_span_id, "big")
        self.failed = bool(span.status.code == 2)
        self.attributes = attributes(span.attributes)
        self.resource = resource

    def __repr__(self) -> str:
        return f"{self.name} {self.span_id:x} below {self.parent_id:x}: {self.attributes}"


class Silent:
    """A collector to which one can connect, and that never says a word."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.close()


def attributes(given: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in given}


_UNITS = {"s": "seconds", "By": "bytes"}


def prometheus_name(metric: Any) -> str:
    """As OpenTelemetry's specification has it."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", metric.name)
    if metric.unit:
        name = f"{name}_{_UNITS[metric.unit]}"
    counter = metric.WhichOneof("data") == "sum" and metric.sum.is_monotonic
    return f"{name}_total" if counter else name


class _Traces(traces_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._collector.keep("_traces", request, context)
        return traces.ExportTraceServiceResponse()


class _Metrics(metrics_grpc.MetricsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._collector.keep("_metrics", request, context)
        return metrics.ExportMetricsServiceResponse()
