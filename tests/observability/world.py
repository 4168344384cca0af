"""An installation as Prometheus sees it: two replicas, their series over some hours, and what befalls them.

The last sample is "now". A series is told from its end: `counter(60, (30, 0))` counted 60 a minute,
and in the last 30 minutes nothing. Everything is scraped once a minute; in stories of more than some
hours, every two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass



@dataclass(frozen=True)
class Span:
    """How long a story is, and how many minutes lie between two samples."""

    minutes: int
    step: int

    def phases(self, before: float, last: tuple[Phase, ...]) -> list[tuple[int, float]]:
        """The samples of each phase, from the beginning on."""
        # One more at the beginning, so that the last one lies at `minutes`.
        rest = self.minutes + self.step - sum(length for length, _ in last)
        return [(length // self.step, what) for length, what in [(rest, before), *last]]


Phase = tuple[int, float]
"""The last so many minutes, and what was then."""

Values = Callable[[Span], str]
"""Prometheus' notation of the samples."""

MINUTES = 75
LONG = 240
REPLICAS = ("a:9090", "b:9090")
INDEX = "pypi"
GITHUB = "https://token.actions.githubusercontent.com"
RPCS = {"Mint": 60, "Verify": 600, "Attenuate": 6, "Revoke": 30}
"""Calls a minute, of each replica."""

ABSENT = float("nan")


def gauge(value: float, *last: Phase) -> Values:
    """A value, and others in the last minutes; `ABSENT` for no sample at all."""

    def notation(span: Span) -> str:
        return " ".join(
            f"_x{length}" if math.isnan(now) else f"{now:.10g}x{length - 1}"
            for length, now in span.phases(value, last)
        )

    return notation


def counter(per_minute: float, *last: Phase) -> Values:
    """What counts so much a minute, from 0 on."""

    def notation(span: Span) -> str:
        parts, count = [], 0.0
        for length, rate in span.phases(per_minute, last):
            step = rate * span.step
            parts.append(f"{count + step:.10g}+{step:.10g}x{length - 1}")
            count += step * length
        return " ".join(parts)

    return notation


def burst(amount: float, minutes_ago: int) -> Values:
    """A counter that is there from its first count on, and counted once only."""
    return gauge(ABSENT, (minutes_ago, amount))


def clock(ahead: float, *last: Phase) -> Values:
    """A moment that is always so many seconds ahead of now. In the last minutes, for good: the
    moment that many seconds ahead of when they began."""

    def notation(span: Span) -> str:
        parts, at = [], 0
        for place, (length, seconds) in enumerate(span.phases(ahead, last)):
            step = 60 * span.step
            parts.append(f"{at * step + seconds:.10g}+{0 if place else step}x{length - 1}")
            at += length
        return " ".join(parts)

    return notation


def at_end(seconds: float) -> Values:
    """A moment that lies so many seconds after the last sample."""
    return lambda span: gauge(span.minutes * 60 + seconds)(span)


class World:
    """The series of an installation. `busy` and healthy, or idle and just as healthy."""

    def __init__(self, *, busy: bool = True, minutes: int = MINUTES, evaluated: int = 0) -> None:
        """`evaluated`: every so many minutes the rules are; as often as they have to be, else."""
        self.span = Span(minutes, 1 if minutes <= LONG else 2)
        self.evaluated = evaluated or (1 if minutes <= LONG else 4)
        self._series: dict[tuple[str, tuple[tuple[str, str], ...]], Values] = {}
        self._states()
        self._calls(1 if busy else 0)
        self._issuer(GITHUB, busy)

    def set(self, metric: str, values: Values, **labels: str) -> World:
        """Changes every series of this name that has these labels."""
        wanted = labels.items()
        found = [key for key in self._series if key[0] == metric and wanted <= set(key[1])]
        assert found, f"no {metric} with {labels}: `add` it"
        for key in found:
            self._series[key] = values
        return self

    def add(self, metric: str, values: Values, **labels: str) -> World:
        """A series of each replica, or of the one that `instance` names."""
        instances = (labels.pop("instance"),) if "instance" in labels else REPLICAS
        for instance in instances:
            own = {"job": "mintage", "namespace": "index", "instance": instance} | labels
            self._series[metric, tuple(sorted(own.items()))] = values
        return self

    def drop(self, metric: str = "") -> World:
        """Takes away what has this name, or everything."""
        self._series = {key: v for key, v in self._series.items() if metric and key[0] != metric}
        return self

    def answers(self, rpc: str, code: str, values: Values, fast: Values | None = None) -> World:
        """Calls with this status; `fast` are those that took no more than 0.1 seconds."""
        labels = {
            "rpc_method": f"mintage.v1.TokenService/{rpc}",
            "rpc_response_status_code": code,
            "rpc_system_name": "grpc",
        }
        self.add("rpc_server_call_duration_seconds_count", values, **labels)
        return self.add("rpc_server_call_duration_seconds_bucket", fast or values, le="0.1", **labels)

    def store(self, operation: str, values: Values, fast: Values | None = None, error: str = "") -> World:
        labels = {"db_system_name": "redis", "db_operation_name": operation, "error_type": error}
        self.add("db_client_operation_duration_seconds_count", values, **labels)
        return self.add("db_client_operation_duration_seconds_bucket", fast or values, le="0.05", **labels)

    def test(self, expression: str, labels: list[str]) -> dict[str, object]:
        """As `promtool test rules` takes it: at the end the expression has 1 for each of the labels."""
        step = self.span.step
        samples = [{"labels": one, "value": 1} for one in labels]
        at = f"{self.span.minutes}m"
        return {
            "interval": f"{step}m",
            "input_series": self._input_series(),
            "promql_expr_test": [{"expr": expression, "eval_time": at, "exp_samples": samples}],
        }

    def _input_series(self) -> list[dict[str, str]]:
        return [
            {
                "series": metric + "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}",
                "values": values(self.span),
            }
            for (metric, labels), values in self._series.items()
        ]

    def _states(self) -> None:
        steady = {
            "up": 1, "mintage_ready": 1, "mintage_store_up": 1, "process_start_time_seconds": 1,
            "process_open_fds": 60, "process_max_fds": 1024, "mintage_connections": 8,
            "mintage_connections_limit": 512, "mintage_keyring_keys": 2, "mintage_panics_total": 0,
            "mintage_log_lines_lost_total": 0, "mintage_overload_refusals_total": 0,
        }
        for metric, value in steady.items():
            self.add(metric, gauge(value))
        for what in ("keyring", "configuration", "certificates"):
            self.add("mintage_reload_failed", gauge(0), what=what)
        self.add("mintage_tls_certificate_not_after_timestamp_seconds", at_end(60 * 86400))

    def _calls(self, busy: int) -> None:
        for rpc, per_minute in RPCS.items():
            self.answers(rpc, "OK", counter(busy * per_minute))
        for operation in ("redeem", "spend_uses", "revoke"):
            self.store(operation, counter(busy * 60))
        self.store("probe", counter(60))
        self.answers("Mint", "PERMISSION_DENIED", counter(busy * 1))
        minted = {"index": INDEX, "issuer": GITHUB, "subject": "publisher", "repeated": "false"}
        self.add("mintage_tokens_minted_total", counter(busy * 60), **minted)
        refused = {"rpc": "Mint", "index": INDEX, "issuer": GITHUB}
        self.add("mintage_refusals_total", counter(busy * 1), reason="PUBLISHER_NOT_FOUND", **refused)
        self.add("mintage_denials_total", counter(busy * 2), index=INDEX, reason="CAVEAT_EXPIRED")
        self.add("mintage_verdicts_total", counter(busy * 600), index=INDEX, verdict="allowed")

    def _issuer(self, issuer: str, busy: bool) -> None:
        """Its keys are asked for where there are calls; else those of the first minute grow old."""
        held = clock(-60) if busy else gauge(0)
        self.add("mintage_issuer_keys", gauge(3), issuer=issuer)
        self.add("mintage_issuer_fetches_total", counter(0.2 if busy else 0), issuer=issuer, outcome="fetched")
        self.add("mintage_issuer_keys_fetched_timestamp_seconds", held, issuer=issuer)
        for metric, seconds in (("fresh", 300), ("usable", 3600)):
            values = clock(seconds - 60) if busy else gauge(seconds)
            self.add(f"mintage_issuer_keys_{metric}_until_timestamp_seconds", values, issuer=issuer)
