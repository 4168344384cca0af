"""Alerts and dashboard beside the real thing: replicas, Redis, issuers, calls, and a Prometheus that scrapes them."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator

import pytest
from kit.processes import wait_until

from fleet import Installation, Prometheus
from panels import expressions, panels
from traffic import Pace, Traffic, tried

SETTINGS = """
[limits]
mint_per_publisher = { burst = 30, count = 30, period = "1m" }

[server]
max_in_flight = 64
"""

SILENT = {
    "mintage_otlp_export_failures_total": "no collector is configured",
    "ALERTS": "none lasts long enough",
}
"""Metrics that there may be none of here, and why."""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with contextlib.ExitStack() as stack:
        yield Installation(tmp_path_factory.mktemp("installation"), stack, SETTINGS)


@pytest.fixture(scope="module")
def scraped(
    installation: Installation, prometheus: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("scraped") / "prometheus"
    server = Prometheus(prometheus, folder, installation.admins, seconds=1)
    yield server
    server.server.stop()


@pytest.fixture(scope="module")
def traffic(installation: Installation) -> Iterator[Traffic]:
    traffic = Traffic(installation)
    yield traffic
    traffic.close()


@pytest.fixture(scope="module")
def eventful(installation: Installation, scraped: Prometheus, traffic: Traffic) -> Prometheus:
    """Prometheus after a time in which everything happened that a panel is about."""
    assert tried(traffic.publish)
    token = traffic.long_lived()
    steady = Pace(
        publish=(2, traffic.publish), publish_once=(1, traffic.publish_once),
        gitlab=(2, traffic.publish_from_gitlab), user=(2, traffic.user),
        upload=(5, lambda: traffic.upload(token)), wrong_project=(1, traffic.wrong_project),
        misconfigured=(1, traffic.misconfigured), wrong_audience=(1, traffic.wrong_audience),
        forged=(1, traffic.forged), replayed=(1, traffic.replayed), chatty=(8, traffic.chatty),
        leaked=(1, traffic.leaked), unknown_caller=(1, traffic.unknown_caller),
    )
    with steady:
        wait_until(lambda: counted(scraped, "mintage_limits_reached_total"), "a limit is reached")
        with installation.paused_redis():
            wait_until(lambda: counted(scraped, "mintage_verified_without_store_total"), "a Verify without Redis")
            traffic.flood(token, 500)
            wait_until(lambda: scraped.query("mintage_overload_refusals_total > 0") != [], "too many calls at once")
            wait_until(lambda: "MintageStoreDown" in scraped.alerts(), "the store is missed")
        wait_until(lambda: scraped.query("min(mintage_store_up) == 1") != [], "the store is back")
        installation.redis.stop()
        installation.redis.start()
        wait_until(lambda: counted(scraped, "mintage_store_unremembered_total"), "lost memory is noticed")
        broken = installation.keys / "2026-broken"
        broken.write_text("not a key")
        wait_until(lambda: "MintageReloadFailed" in scraped.alerts(), "a broken key file is noticed")
        broken.unlink()
        wait_until(lambda: scraped.query("max(mintage_reload_failed) == 0") != [], "it is taken as mended")
    return scraped


def counted(scraped: Prometheus, metric: str) -> bool:
    """Twice, with different values: a rate needs that."""
    return bool(scraped.query(f"max(changes({metric}[1m])) > 0"))


def test_prometheus_reaches_every_replica_and_finds_nothing_wrong(
    installation: Installation, scraped: Prometheus
) -> None:
    wait_until(lambda: len(scraped.query('up{job="mintage"} == 1')) == 3, "all replicas are scraped")
    assert [rule["name"] for rule in scraped.rules() if rule["health"] == "err"] == []


def test_metrics_are_such_as_promtool_likes(installation: Installation, promtool: str, traffic: Traffic) -> None:
    assert tried(traffic.publish)
    for replica in installation.replicas:
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=replica.metrics(), capture_output=True, text=True, timeout=60
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_rule_can_be_evaluated(eventful: Prometheus) -> None:
    wait_until(lambda: all(rule["health"] != "unknown" for rule in eventful.rules()), "all rules were evaluated")
    assert [(rule["name"], rule.get("lastError")) for rule in eventful.rules() if rule["health"] != "ok"] == []


def test_every_panel_has_something_to_show(eventful: Prometheus) -> None:
    silent = [
        (panel["title"], expression)
        for panel in panels()
        for expression in expressions(panel)
        if not any(metric in expression for metric in SILENT) and eventful.query(expression) == []
    ]
    assert silent == []


def test_every_query_is_one_that_prometheus_takes(scraped: Prometheus) -> None:
    for panel in panels():
        for expression in expressions(panel):
            scraped.query(expression)  # raises what Prometheus has against it


def test_nothing_that_names_a_secret_or_a_stranger_is_a_label(installation: Installation, eventful: Prometheus) -> None:
    """Labels come from fixed sets: the configured issuers, indexes and callers, and the contract."""
    known = {"", installation.github.url, installation.gitlab.url}
    values = {series["metric"].get("issuer", "") for series in eventful.query('{issuer!=""}')}
    assert values <= known
    callers = {series["metric"]["caller"] for series in eventful.query('mintage_calls_total{caller!=""}')}
    assert callers == {"web", "scanner"}
