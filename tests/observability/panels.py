"""The dashboard's panels, and what Prometheus answers to their queries."""

from __future__ import annotations

import json
from typing import Any

from fleet import Prometheus
from places import DASHBOARD

Json = dict[str, Any]


def panels() -> list[Json]:
    """All but the rows' headings."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions(panel: Json, *, interval: str = "1m", span: str = "10m") -> list[str]:
    """Its queries, as Grafana would send them with every variable at "All"."""
    variables = {"$namespace": ".*", "$job": ".*", "$index": ".*", "$__rate_interval": interval, "$__range": span}
    queries = []
    for target in panel["targets"]:
        expression = target["expr"]
        for name, value in variables.items():
            expression = expression.replace(name, value)
        assert "$" not in expression.replace('"$1"', ""), expression
        queries.append(expression)
    return queries


def answers_of(
    prometheus: Prometheus, panel: Json, *, start: float, end: float, step: float, interval: str
) -> list[list[Json]]:
    """For each query the series, over time or, for panels that show a moment, at the end."""
    span = f"{round(end - start)}s"
    return [
        prometheus.query(expression, time=end)
        if target["instant"]
        else prometheus.over_time(expression, start, end, step)
        for target, expression in zip(panel["targets"], expressions(panel, interval=interval, span=span))
    ]
