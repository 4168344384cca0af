"""Fixtures for tests of the Helm chart, by both Helms that people use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# Processes, certificates and where things lie are those of the end-to-end tests.
PYTHON = HERE.parents[1] / "python"
sys.path[:0] = [str(HERE), *(str(PYTHON / part) for part in ("tests/e2e", "tests", "src"))]

from install_tools import HELMS, install  # noqa: E402
from kit.places import TOOLS  # noqa: E402
from rendered import Helm  # noqa: E402


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder of the tools; installs what is missing."""
    install(TOOLS)
    return TOOLS


@pytest.fixture(scope="session", params=HELMS)
def helm(request: pytest.FixtureRequest, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm 3, and Helm 4."""
    return Helm(tools / request.param / "helm", tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def helm4(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The newest, where one is enough."""
    return Helm(tools / "helm-4" / "helm", tmp_path_factory.mktemp("helm"))
