"""A gRPC front before the real service: it ends TLS, notes headers, and loses what it is told to.

It passes bytes on without reading them, so that nothing about the contract is said twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from types import TracebackType
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICE = "mintage.v1.TokenService"


class Front(grpc.GenericRpcHandler):
    """Listens on loopback and calls `backend`. Without one, every call goes to `answer`."""

    def __init__(
        self,
        backend: str | None = None,
        *,
        credentials: grpc.ServerCredentials | None = None,
        answer: Callable[[bytes, grpc.ServicerContext], bytes] | None = None,
        healthy: bool | None = None,
    ) -> None:
        self.calls: list[tuple[str, dict[str, Any], bytes]] = []
        self.peers: list[str] = []
        self.answers_to_lose = 0
        self._lock = threading.Lock()
        self._answer = answer
        self._backend = None if backend is None else grpc.insecure_channel(backend)
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
        self._server.add_generic_rpc_handlers((self,))
        self._health = health.HealthServicer()
        if healthy is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
            self.set_healthy(healthy)
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    def set_healthy(self, healthy: bool) -> None:
        status = health_pb2.HealthCheckResponse
        self._health.set(SERVICE, status.SERVING if healthy else status.NOT_SERVING)

    def service(self, details: Any) -> Any:
        method = str(details.method)
        if not method.startswith(f"/{SERVICE}/"):
            return None
        headers = {item.key: item.value for item in details.invocation_metadata}

        def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
            with self._lock:
                self.calls.append((method.rpartition("/")[2], headers, request))
                self.peers.append(context.peer())
            return self._pass_on(method, headers, request, context)

        return grpc.unary_unary_rpc_method_handler(behave)

    def close(self) -> None:
        self._server.stop(None).wait()
        if self._backend is not None:
            self._backend.close()

    def __enter__(self) -> Front:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _pass_on(
        self, method: str, headers: dict[str, Any], request: bytes, context: grpc.ServicerContext
    ) -> bytes:
        if self._backend is None:
            assert self._answer is not None, "a front without a backend answers itself"
            return self._answer(request, context)
        passed = [(key, value) for key, value in headers.items() if key != "user-agent"]
        try:
            answer = self._backend.unary_unary(method)(request, timeout=20, metadata=passed)
        except grpc.RpcError as failure:
            _say(failure, context)
            raise AssertionError("unreachable") from failure
        if self._loses():
            context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost")
        assert isinstance(answer, bytes)
        return answer

    def _loses(self) -> bool:
        with self._lock:
            self.answers_to_lose -= 1
            return self.answers_to_lose >= 0


def _say(failure: Any, context: grpc.ServicerContext) -> None:
    context.set_trailing_metadata(tuple(failure.trailing_metadata() or ()))
    context.abort(failure.code(), failure.details())
