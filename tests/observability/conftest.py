"""Fixtures of the tests of alerts and dashboard, and the way to the end-to-end tests' kit."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

import pytest
import yaml

from places import E2E, RULES, VENV

sys.path.append(str(E2E))


def program(name: str) -> str:
    """Where `scripts/prometheus` leaves it, or on the PATH."""
    found = shutil.which(name, path=os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)]))
    if found is None and os.environ.get("CI"):
        pytest.fail(f"there is no {name}; see scripts/prometheus")
    if found is None:
        pytest.skip(f"NOT TESTED: there is no {name}; see scripts/prometheus")
    return found


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
