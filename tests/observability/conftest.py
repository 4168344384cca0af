"""Fixtures of the tests of alerts and dashboard, and the way to the end-to-end tests' kit."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import yaml

from places import E2E, RULES
from programs import program

sys.path.append(str(E2E))


@pytest.fixture(scope="session")
def promtool() -> str:
    return program("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    return program("prometheus")


@pytest.fixture(scope="session")
def rules() -> list[dict[str, Any]]:
    """Every rule, in order."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="session")
def alerts(rules: list[dict[str, Any]]) -> dict[str, dict[str, object]]:
    """The alerts by their names."""
    return {rule["alert"]: rule for rule in rules if "alert" in rule}
