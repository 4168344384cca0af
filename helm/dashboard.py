"""dashboard.py [--check]: makes `mintage/files/dashboard.json`, the Grafana dashboard of the chart.

What is asked stands in `ROWS`, from what an on-call wants to know first to what explains it. The
rest of the file says how Grafana wants it told. `--check` only says whether the JSON is fresh.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent / "mintage" / "files" / "dashboard.json"

Json = dict[str, Any]

GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"

RATE = "$__rate_interval"
# Every query is about the installation that is chosen above; `OF_INDEX` about the index too.
OURS = 'namespace=~"$namespace", job=~"$job"'
OF_INDEX = f'{OURS}, index=~"$index"'
MINTS = f'{OF_INDEX}, rpc="Mint"'
NO_ANSWER = 'rpc_response_status_code=~"UNAVAILABLE|INTERNAL|UNKNOWN|DEADLINE_EXCEEDED"'
UNANSWERED = f"{OURS}, {NO_ANSWER}"
METHOD = '"rpc_method", "$1", "rpc_method", ".*/(.*)"'
"""`label_replace`'s arguments that leave `Mint` of `mintage.v1.TokenService/Mint`."""
ISSUER = '"issuer", "(not proven)", "issuer", ""'
"""Nobody knows whose an ID token is whose signature didn't hold."""


@dataclass(frozen=True)
class Query:
    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """`kind` is Grafana's; colours are by legend, thresholds from which value on which colour."""

    title: str
    description: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 7
    stacked: bool = False
    thresholds: tuple[tuple[float | None, str], ...] = ((None, GREEN),)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Values that have a name and a colour."""
    colors: dict[str, str] = field(default_factory=dict)
    decimals: int | None = None


def rate(metric: str, labels: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}[{RATE}]))"


def quantile(part: float, metric: str, labels: str, by: str) -> str:
    buckets = rate(f"{metric}_bucket", labels, f"{by}, le" if by else "le")
    return f"histogram_quantile({part}, {buckets})"


CALLS = "rpc_server_call_duration_seconds"
STORE = "db_client_operation_duration_seconds"
UP = {"1": ("up", GREEN), "0": ("down", RED)}
STATUSES = {
    "OK": GREEN, "PERMISSION_DENIED": YELLOW, "ALREADY_EXISTS": YELLOW, "INVALID_ARGUMENT": YELLOW,
    "RESOURCE_EXHAUSTED": ORANGE, "UNAUTHENTICATED": "purple", "UNAVAILABLE": RED, "INTERNAL": "dark-red",
    "DEADLINE_EXCEEDED": "semi-dark-red",
}

IS_IT_UP = (
    Panel(
        "Replicas ready", "Those that say they should be sent calls. None: look at the store first.",
        (Query(f"sum(mintage_ready{{{OURS}}})"),),
        "stat", width=4, height=4, thresholds=((None, RED), (1, GREEN)),
    ),
    Panel(
        "Calls without an answer", "UNAVAILABLE, INTERNAL and the like, of all calls. Refusals are answers.",
        (Query(f"(sum(rate({CALLS}_count{{{OURS}, {NO_ANSWER}}}[{RATE}])) or vector(0))"
               f" / sum(rate({CALLS}_count{{{OURS}}}[{RATE}]))"),),
        "stat", "percentunit", width=4, height=4, decimals=2,
        thresholds=((None, GREEN), (0.001, YELLOW), (0.0144, RED)),
    ),
    Panel(
        "Mint, 99th percentile", "From the call's arrival to its answer, of all Mints.",
        (Query(quantile(0.99, CALLS, f'{OURS}, rpc_method=~".*/Mint"', "")),),
        "stat", "s", width=4, height=4, thresholds=((None, GREEN), (0.05, YELLOW), (0.1, RED)),
    ),
    Panel(
        "Store", "Whether any replica's last question was answered.",
        (Query(f"max(mintage_store_up{{{OURS}}})"),),
        "stat", width=4, height=4, thresholds=((None, RED), (1, GREEN)), names=UP,
    ),
    Panel(
        "Refused Mints", "Of all Mints that got an answer. Usual is what it was yesterday.",
        (Query(f"(sum(rate(mintage_refusals_total{{{OF_INDEX}, rpc=\"Mint\", reason!~\"UNAVAILABLE|INTERNAL\"}}[{RATE}]))"
               f" or vector(0)) / sum(rate({CALLS}_count{{{OURS}, rpc_method=~\".*/Mint\"}}[{RATE}]))"),),
        "stat", "percentunit", width=4, height=4, decimals=1,
        thresholds=((None, GREEN), (0.2, YELLOW), (0.5, RED)),
    ),
    Panel(
        "Issuers with stale keys", "What is held still serves, until `max_stale`. See Issuers.",
        (Query(f"sum(max by (issuer) (mintage_issuer_keys_fresh_until_timestamp_seconds{{{OURS}}}) < bool time()"
               f" and on (issuer) sum by (issuer) (increase(mintage_issuer_fetches_total"
               f"{{{OURS}, outcome=\"failed\"}}[5m])) > 0) or vector(0)"),),
        "stat", width=4, height=4, thresholds=((None, GREEN), (1, RED)),
    ),
    Panel(
        "Alerts", "Those of this installation that fire. docs/alerts.md says what to do.",
        (Query(f'max by (alertname) (ALERTS{{alertname=~"Mintage.*", alertstate="firing", {OURS}}})',
               "{{alertname}}"),),
        "state-timeline", width=24, height=7, names={"1": ("firing", RED)},
    ),
)

CALLS_ROW = (
    Panel(
        "Calls, by answer", "All four methods. Red gets no answer, yellow is a refusal, orange a limit.",
        (Query(rate(f"{CALLS}_count", OURS, "rpc_response_status_code"), "{{rpc_response_status_code}}"),),
        unit="reqps", stacked=True, colors=STATUSES,
    ),
    Panel(
        "Calls without an answer, by method", "The web tier answers 503, and uploaders try again.",
        (Query(f"label_replace({rate(f'{CALLS}_count', UNANSWERED, 'rpc_method, rpc_response_status_code')}"
               f", {METHOD})", "{{rpc_method}} {{rpc_response_status_code}}"),),
        unit="reqps", stacked=True,
    ),
    Panel(
        "Duration", "99th percentile of each method, and the median of Mint.",
        (Query(f"label_replace({quantile(0.99, CALLS, OURS, 'rpc_method')}, {METHOD})", "{{rpc_method}} p99"),
         Query(quantile(0.5, CALLS, f'{OURS}, rpc_method=~".*/Mint"', ""), "Mint p50")),
        unit="s",
    ),
    Panel(
        "Minted", "Upload tokens handed out, by issuer; without one they are users'.",
        (Query(f"label_replace({rate('mintage_tokens_minted_total', OF_INDEX, 'index, issuer')}"
               ', "issuer", "users", "issuer", "")', "{{index}} {{issuer}}"),),
        unit="reqps", stacked=True,
    ),
    Panel(
        "Verify", "Uploads allowed and denied. Allowed without the store: revocations weren't seen.",
        (Query(rate("mintage_verdicts_total", OF_INDEX, "verdict"), "{{verdict}}"),
         Query(rate("mintage_verified_without_store_total", OF_INDEX, "job"), "allowed without the store")),
        unit="reqps", colors={"allowed": GREEN, "denied": YELLOW, "allowed without the store": RED},
    ),
    Panel(
        "By caller", "Who calls, by the names in the configuration.",
        (Query(rate("mintage_calls_total", OURS, "caller, rpc"), "{{caller}} {{rpc}}"),),
        unit="reqps", stacked=True,
    ),
)

REFUSALS = (
    Panel(
        "Refused, by reason", "One reason that jumps: the README's table of refusals says whose fault it is.",
        (Query(rate("mintage_refusals_total", OF_INDEX, "rpc, reason"), "{{rpc}} {{reason}}"),),
        unit="reqps", stacked=True,
    ),
    Panel(
        "Refused Mints, by issuer", "One issuer only: it changed something, or a publisher of it is set up wrong.",
        (Query(f"label_replace({rate('mintage_refusals_total', MINTS, 'issuer')}, {ISSUER})", "{{issuer}}"),),
        unit="reqps", stacked=True,
    ),
    Panel(
        "Denied uploads, by reason", "A denial may have several reasons.",
        (Query(rate("mintage_denials_total", OF_INDEX, "reason"), "{{reason}}"),),
        unit="reqps", stacked=True,
    ),
    Panel(
        "Who was refused, and why", "In the time that is shown. For names see the audit lines of the log.",
        (Query(f"sort_desc(label_replace(sum by (rpc, index, issuer, reason) (increase(mintage_refusals_total"
               f"{{{OF_INDEX}}}[$__range])) > 0.5, {ISSUER}))"),),
        "table", width=16, height=8, decimals=0,
    ),
    Panel(
        "Limited", "Calls that were refused because a limit was spent. mint_per_publisher is often one project's CI.",
        (Query(rate("mintage_limits_reached_total", OURS, "limit"), "{{limit}}"),),
        unit="reqps", height=8,
    ),
)

ISSUERS = (
    Panel(
        "Keys are usable for", "What is left until `max_stale`, of the replica that has most. At 0, Mint fails.",
        (Query(f"max by (issuer) (mintage_issuer_keys_usable_until_timestamp_seconds{{{OURS}}}) - time() > -3600",
               "{{issuer}}"),),
        unit="s", thresholds=((None, RED), (1200, YELLOW), (2400, GREEN)),
    ),
    Panel(
        "Age of keys", "Since the issuer was last asked with success. It is asked only while there are calls.",
        (Query(f"time() - max by (issuer) (mintage_issuer_keys_fetched_timestamp_seconds{{{OURS}}} > 0)",
               "{{issuer}}"),),
        unit="s",
    ),
    Panel(
        "Fetches", "Within 5 minutes. Shared: taken over from another replica.",
        (Query(f"sum by (issuer, outcome) (increase(mintage_issuer_fetches_total{{{OURS}}}[5m]))",
               "{{issuer}} {{outcome}}"),),
    ),
    Panel(
        "Fetches take", "The slowest of each issuer, as far as the buckets tell.",
        (Query(quantile(1.0, "mintage_issuer_fetch_duration_seconds", OURS, "issuer"), "{{issuer}}"),),
        width=12, unit="s",
    ),
    Panel(
        "Keys held", "By the replica that has most: one that wasn't called holds none. Skipped: those that can't be used.",
        (Query(f"max by (issuer) (mintage_issuer_keys{{{OURS}}})", "{{issuer}}"),
         Query(f"max by (issuer) (mintage_issuer_keys_skipped{{{OURS}}})", "{{issuer}} skipped")),
        width=12,
    ),
)

STORE_ROW = (
    Panel(
        "Answers, by replica", "One only: the way from there. All: the store.",
        (Query(f"mintage_store_up{{{OURS}}}", "{{instance}}"),),
        "state-timeline", names=UP,
    ),
    Panel(
        "Store calls take", "99th percentile of those that were answered. Usual is a few milliseconds.",
        (Query(quantile(0.99, STORE, f'{OURS}, error_type=""', "db_operation_name"), "{{db_operation_name}}"),),
        unit="s",
    ),
    Panel(
        "Store calls", "Probes are left out.",
        (Query(rate(f"{STORE}_count", f'{OURS}, db_operation_name!="probe"', "db_operation_name"),
               "{{db_operation_name}}"),),
        unit="reqps", stacked=True,
    ),
    Panel(
        "Store calls that failed", "The log has the cause: \"calls get no answer from Redis\".",
        (Query(rate(f"{STORE}_count", f'{OURS}, error_type="failed"', "db_operation_name"),
               "{{db_operation_name}}"),),
        width=12, unit="reqps", stacked=True,
    ),
    Panel(
        "Refused for lost memory", "The store was restarted or failed over; older tokens are refused until they end.",
        (Query(rate("mintage_store_unremembered_total", OURS, "operation"), "{{operation}}"),),
        width=12, unit="reqps",
    ),
)

LOAD = (
    Panel(
        "Calls at once", "Those that have not ended, beside max_in_flight.",
        (Query(f"mintage_calls_in_flight{{{OURS}}}", "{{instance}}"),
         Query(f"min(mintage_calls_in_flight_limit{{{OURS}}})", "limit")),
        colors={"limit": RED},
    ),
    Panel(
        "Refused as too many at once", "More replicas or more cores; or one caller that runs wild.",
        (Query(rate("mintage_overload_refusals_total", OURS, "instance"), "{{instance}}"),),
        unit="reqps", stacked=True,
    ),
    Panel(
        "Connections", "Beside max_connections.",
        (Query(f"mintage_connections{{{OURS}}}", "{{instance}}"),
         Query(f"min(mintage_connections_limit{{{OURS}}})", "limit")),
        colors={"limit": RED},
    ),
    Panel(
        "Processor", "Cores in use by each replica.",
        (Query(rate("process_cpu_seconds_total", OURS, "instance"), "{{instance}}"),),
    ),
    Panel(
        "Memory", "Resident, of each replica.",
        (Query(f"process_resident_memory_bytes{{{OURS}}}", "{{instance}}"),),
        unit="bytes",
    ),
    Panel(
        "File descriptors", "Open, of those allowed.",
        (Query(f"process_open_fds{{{OURS}}} / process_max_fds{{{OURS}}}", "{{instance}}"),),
        unit="percentunit",
    ),
)

REPLICAS = (
    Panel(
        "Running for", "One that is much younger than the others was restarted.",
        (Query(f"time() - process_start_time_seconds{{{OURS}}}", "{{instance}}"),),
        unit="s",
    ),
    Panel(
        "Version", "Replicas of each version.",
        (Query(f"count by (version) (mintage_build_info{{{OURS}}})", "{{version}}"),),
    ),
    Panel(
        "Master keys", "Each replica must hold the same.",
        (Query(f"mintage_keyring_keys{{{OURS}}}", "{{instance}}"),),
    ),
    Panel(
        "Files that can't be taken", "The log says what is wrong with them; what was read before stays in use.",
        (Query(f"max by (what) (mintage_reload_failed{{{OURS}}})", "{{what}}"),),
        "state-timeline", names={"1": ("can't be taken", RED), "0": ("good", GREEN)},
    ),
    Panel(
        "Changes taken", "Within 5 minutes, of all replicas together.",
        (Query(f"sum by (what) (increase(mintage_reloads_total{{{OURS}}}[5m]))", "{{what}}"),),
    ),
    Panel(
        "Certificate ends in", "Nothing here without TLS.",
        (Query(f"mintage_tls_certificate_not_after_timestamp_seconds{{{OURS}}} - time()", "{{instance}}"),),
        unit="s",
    ),
    Panel(
        "What should never be", "Panics are defects; lost lines are gaps in the audit trail.",
        (Query(f"sum(increase(mintage_panics_total{{{OURS}}}[5m]))", "panics"),
         Query(f"sum(increase(mintage_log_lines_lost_total{{{OURS}}}[5m]))", "log lines lost"),
         Query(f"sum by (signal) (increase(mintage_otlp_export_failures_total{{{OURS}}}[5m]))",
               "{{signal}} not sent")),
        width=24, height=5, colors={"panics": RED, "log lines lost": ORANGE},
    ),
)

ROWS: dict[str, tuple[Panel, ...]] = {
    "Is it up?": IS_IT_UP,
    "Calls": CALLS_ROW,
    "Who is refused, and why?": REFUSALS,
    "Issuers": ISSUERS,
    "Store": STORE_ROW,
    "Load": LOAD,
    "Replicas and files": REPLICAS,
}

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> Json:
    return {
        "uid": "mintage",
        "title": "Mintage",
        "description": "Made by helm/dashboard.py.",
        "tags": ["mintage"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "templating": {"list": list(_variables())},
        "annotations": {"list": [_alerts()]},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[Json]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    labels = {"namespace": "", "job": '{namespace=~"$namespace"}', "index": f"{{{OURS}}}"}
    for label, chosen in labels.items():
        metric = "mintage_refusals_total" if label == "index" else "mintage_build_info"
        query = f"label_values({metric}{chosen}, {label})"
        yield {
            "name": label, "label": label.capitalize(), "type": "query", "datasource": DATASOURCE,
            "definition": query, "query": {"query": query, "refId": label}, "refresh": 2, "sort": 1,
            # Where there is no such label, `.*` fits too.
            "includeAll": True, "multi": True, "allValue": ".*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        }


def _alerts() -> Json:
    return {
        "name": "Alerts", "datasource": DATASOURCE, "enable": False, "iconColor": RED,
        "expr": f'ALERTS{{alertname=~"Mintage.*", alertstate="firing", {OURS}}}',
        "titleFormat": "{{alertname}}", "step": "30s",
    }


def _panels() -> Iterator[Json]:
    number, top = 0, 0
    for title, panels in ROWS.items():
        number += 1
        grid = {"x": 0, "y": top, "w": 24, "h": 1}
        yield {"id": number, "type": "row", "title": title, "gridPos": grid, "collapsed": False, "panels": []}
        top, left, height = top + 1, 0, 0
        for panel in panels:
            if left + panel.width > 24:
                top, left, height = top + height, 0, 0
            number += 1
            grid = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield _panel(number, panel, grid)
            left, height = left + panel.width, max(height, panel.height)
        top += height


def _panel(number: int, panel: Panel, grid: Json) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": grid,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _options(panel),
        "targets": [_target(place, panel, query) for place, query in enumerate(panel.queries)],
    } | _transformations(panel)


def _target(place: int, panel: Panel, query: Query) -> Json:
    now = panel.kind in ("stat", "table")
    return {
        "refId": chr(ord("A") + place),
        "datasource": DATASOURCE,
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "instant": now,
        "range": not now,
    } | ({"format": "table"} if panel.kind == "table" else {})


def _defaults(panel: Panel) -> Json:
    defaults: Json = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": color} for value, color in panel.thresholds],
        },
        "mappings": [
            {"type": "value", "options": {value: {"text": text, "color": color, "index": place}}}
            for place, (value, (text, color)) in enumerate(panel.names.items())
        ],
    }
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    if panel.kind == "timeseries":
        defaults["min"] = 0
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
    return defaults


def _overrides(panel: Panel) -> list[Json]:
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
        }
        for name, color in panel.colors.items()
    ]


def _options(panel: Panel) -> Json:
    match panel.kind:
        case "stat":
            reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
            return {"reduceOptions": reduce, "colorMode": "background", "graphMode": "none", "textMode": "value"}
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}
        case "state-timeline":
            return {"showValue": "never", "mergeValues": True, "rowHeight": 0.8,
                    "legend": {"showLegend": False, "displayMode": "list", "placement": "bottom"}}
        case _:
            legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def _transformations(panel: Panel) -> Json:
    if panel.kind != "table":
        return {}
    organize = {"excludeByName": {"Time": True}, "renameByName": {"Value": "calls"}, "indexByName": {}}
    return {"transformations": [{"id": "organize", "options": organize}]}


def main() -> int:
    text = json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"
    if "--check" in sys.argv[1:]:
        fresh = FILE.is_file() and FILE.read_text() == text
        if not fresh:
            print(f"{FILE.name} is not what helm/dashboard.py makes; run it", file=sys.stderr)
        return 0 if fresh else 1
    FILE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
