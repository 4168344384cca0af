"""What the alerts and the dashboard speak of is documented, and what the documents speak of is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from panels import expressions, panels
from places import DASHBOARD_PAGE, METRICS, REPOSITORY, RUNBOOK

METRIC = re.compile(r"(?<![:\w])(?:mintage|rpc|db|process)_\w+(?=[{\[ )])")
SELECTOR = re.compile(r"(?<![:\w])((?:mintage|rpc|db|process)_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|on|without|ignoring) \(([^)]*)\)")
OF_PROMETHEUS = {"namespace", "job", "instance", "le", "alertname", "alertstate"}
"""Labels that Prometheus or a histogram brings."""


def documented() -> dict[str, set[str]]:
    """Each metric of docs/metrics.md, and what stands in backquotes in its row."""
    metrics: dict[str, set[str]] = {}
    for line in METRICS.read_text().splitlines():
        row = re.match(r"\| ((?:`\w+`(?:, )?)+) \|(.*)", line)
        if row:
            words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", row[2]))))
            for name in re.findall(r"`(\w+)`", row[1]):
                metrics[name] = words
    return metrics


def base(metric: str) -> str:
    return re.sub(r"_(bucket|count|sum)$", "", metric)


@pytest.fixture(scope="module")
def queries(rules: list[dict[str, Any]]) -> list[str]:
    """All that rules and panels ask."""
    return [rule["expr"] for rule in rules] + [one for panel in panels() for one in expressions(panel)]


def test_every_metric_that_is_asked_for_is_documented(queries: list[str]) -> None:
    asked = {base(metric) for query in queries for metric in METRIC.findall(query + " ")}
    asked -= {label for _, labels in selectors(queries) for label in labels}
    asked -= grouped(queries)
    assert len(asked) > 30
    assert not asked - documented().keys()


def test_every_label_that_is_asked_for_is_documented(queries: list[str]) -> None:
    rows = documented()
    for metric, labels in selectors(queries):
        assert labels - OF_PROMETHEUS <= rows[base(metric)], metric
    assert grouped(queries) - OF_PROMETHEUS <= set[str]().union(*rows.values())


def selectors(queries: list[str]) -> list[tuple[str, set[str]]]:
    """Each metric with the labels by which it is chosen."""
    return [
        (metric, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)))
        for query in queries
        for metric, matchers in SELECTOR.findall(query)
    ]


def grouped(queries: list[str]) -> set[str]:
    lists = [labels for query in queries for labels in GROUPED.findall(query)]
    return {label.strip() for labels in lists for label in labels.split(",")}


def test_every_alert_has_its_section_and_every_section_its_alert(alerts: dict[str, dict[str, object]]) -> None:
    assert sections().keys() == alerts.keys()
    for name, text in sections().items():
        severity = alerts[name]["labels"]["severity"]  # type: ignore[index]  # it is YAML
        assert text.lstrip().startswith(f"{severity}: "), name
        for word in ("**Noticed**", "**Look**", "**Do**"):
            assert word in text, (name, word)


@pytest.mark.parametrize("page", [RUNBOOK, DASHBOARD_PAGE], ids=["alerts", "dashboard"])
def test_the_panels_that_a_page_names_are_on_the_dashboard(page: Path) -> None:
    titles = {panel["title"] for panel in panels()}
    # `*`s that are neither bold nor in code.
    text = re.sub(r"```.*?```|`[^`]*`|\*\*[^*]*\*\*", "", page.read_text(), flags=re.DOTALL)
    named = {" ".join(name.split()) for name in re.findall(r"\*([^*]+)\*", text)}
    elsewhere = {"Slanted", "Failover", "What the log says"}
    assert len(named) > 10
    assert not named - titles - elsewhere


def test_the_log_lines_that_the_runbook_quotes_are_in_the_code() -> None:
    code = "\n".join(file.read_text() for file in (REPOSITORY / "src").rglob("*.rs"))
    quoted = re.findall(r"`([a-zA-Z][a-z']+(?:[:,]? [\w':]+){2,}[^`]*)`", RUNBOOK.read_text())
    lines = [line for line in quoted if not re.match(r"kubectl|curl|grpcurl|redis-cli|mintage|chronyc|maxmemory|on_store", line)]
    assert len(lines) > 10
    for line in lines:
        assert line in code, line


def sections() -> dict[str, str]:
    parts = re.split(r"^### (\w+)\n", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2]))
