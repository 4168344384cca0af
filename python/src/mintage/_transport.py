"""How a client reaches the service: its target, its channel's settings, its headers.

Both clients open their channels with these. There is no I/O here but reading certificates.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

import grpc

SERVICE = "mintage.v1.TokenService"

_MAX_ANSWER_BYTES = 32 << 20
"""A minted token's answer names its projects, up to 20,000 of them: more than gRPC's 4 MiB."""

_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}

# Once half of the tokens are spent by failures, a channel stops to retry: a service that is down
# for everybody isn't asked four times as often.
_RETRY_THROTTLING = {"maxTokens": 100, "tokenRatio": 0.1}

_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.primary_user_agent", "mintage-python"),
    ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
    # A service inside is not reached through the environment's proxy to the outside, which would
    # see every token.
    ("grpc.enable_http_proxy", 0),
    # A host that vanished without a word is noticed in 40 seconds. The last one is what newer
    # versions of gRPC go by, and a minute by itself.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    # gRPC's own backoff grows to two minutes, far longer than a replica takes to restart.
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A name is asked for again when a replica goes: the next one has another address. By itself
    # gRPC asks twice a minute at most, and a rollout may replace all that are known in between.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
)

Pem = Union[bytes, str, "os.PathLike[str]"]


class CallerToken:
    """The bearer token by which a caller proves itself. It can't be printed."""

    __slots__ = ("_header",)

    def __init__(self, token: str) -> None:
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise ValueError("a caller token is visible ASCII characters without spaces")
        self._header = ("authorization", f"Bearer {token}")

    @property
    def header(self) -> tuple[str, str]:
        return self._header

    def __repr__(self) -> str:
        return "CallerToken(…)"

    def __reduce__(self) -> Any:
        raise TypeError("a caller token can't be pickled")


@dataclass(frozen=True)
class Connection:
    """All that a channel and its calls need."""

    target: str
    options: tuple[tuple[str, Any], ...] = field(repr=False)
    credentials: grpc.ChannelCredentials | None = field(repr=False)
    caller_token: CallerToken | None = field(repr=False)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers of a call that is made now."""
        caller = () if self.caller_token is None else (self.caller_token.header,)
        return (*caller, *trace_context())


def connection(
    targets: Sequence[str],
    caller_token: str | None,
    credentials: grpc.ChannelCredentials | None,
    server_name: str,
    health_checks: bool,
) -> Connection:
    where = addresses(targets)
    if len(where) > 1 and credentials is not None and not server_name:
        raise ValueError("several targets with TLS need the server_name of their certificates")
    options = (*_OPTIONS, ("grpc.service_config", service_config(health_checks)))
    if server_name or len(where) > 1:
        # gRPC would send the whole list as the authority, which servers take for a broken header.
        options += (("grpc.default_authority", server_name or where[0]),)
    token = None if caller_token is None else CallerToken(caller_token)
    return Connection(target(where), options, credentials, token)


def service_config(health_checks: bool) -> str:
    """Every call to the next replica that is there, and again where one said UNAVAILABLE."""
    config: dict[str, Any] = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": [{"service": SERVICE}], "retryPolicy": _RETRY_POLICY}],
        "retryThrottling": _RETRY_THROTTLING,
    }
    if health_checks:
        config["healthCheckConfig"] = {"serviceName": SERVICE}
    return json.dumps(config)


def addresses(targets: Sequence[str]) -> tuple[str, ...]:
    """The targets one by one: a list in gRPC's own form, `ipv4:` or `ipv6:`, is taken apart."""
    if not targets or not all(isinstance(one, str) and one for one in targets):
        raise ValueError("a client needs at least one target, such as mintage.internal:50051")
    scheme, _, listed = targets[0].partition(":")
    if len(targets) == 1 and scheme in ("ipv4", "ipv6"):
        return tuple(listed.split(","))
    return tuple(targets)


def target(where: Sequence[str]) -> str:
    """One target for gRPC. Several have to be addresses, since it resolves one name only."""
    if len(where) == 1:
        return where[0]
    families = {_family(one) for one in where}
    if len(families) != 1:
        raise ValueError("several targets are all IPv4 or all IPv6")
    return f"{families.pop()}:{','.join(where)}"


def _family(address: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        version = ipaddress.ip_address(host.strip("[]")).version
        if not 0 < int(port) < 65536:
            raise ValueError
    except ValueError:
        sentence = "several targets are IP addresses with ports; give names as one dns:/// target"
        raise ValueError(f"{sentence}: {address!r}") from None
    return f"ipv{version}"


def tls(
    ca: Pem | None = None, certificate: Pem | None = None, key: Pem | None = None
) -> grpc.ChannelCredentials:
    """Credentials for `Client(credentials=…)`: TLS, and with `certificate` and `key` mutual TLS.

    `ca` is the authority that the service's certificate has to come from; None: the public
    ones that gRPC brings along. Each is PEM as `bytes`, or a file's path. Files are read once:
    a process that should use renewed ones makes a new client.
    """
    if (certificate is None) != (key is None):
        raise ValueError("a client certificate needs its key, and a key its certificate")
    return grpc.ssl_channel_credentials(_pem(ca), _pem(key), _pem(certificate))


def _pem(pem: Pem | None) -> bytes | None:
    return pem if pem is None or isinstance(pem, bytes) else Path(pem).read_bytes()


def trace_context() -> tuple[tuple[str, str], ...]:
    """`traceparent` and `tracestate` of the span that is active, where OpenTelemetry is there.

    Not its baggage, which may hold anything.
    """
    propagator = _propagator()
    if propagator is None:
        return ()
    carrier: dict[str, str] = {}
    propagator.inject(carrier)
    return tuple(carrier.items())


@functools.cache
def _propagator() -> Any:
    try:
        from opentelemetry.trace.propagation import tracecontext
    except ImportError:
        return None
    return tracecontext.TraceContextTextMapPropagator()


def deadline(timeout: float) -> float:
    """The seconds themselves, where a call may take so long."""
    if not 0 < timeout < float("inf"):
        raise ValueError("a timeout is a positive number of seconds")
    return float(timeout)
