"""Fixtures of the exchange's tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exchange_index import Authority, GitHub, Pep807

UPLOAD_TOKEN = (
    "pypi-AgENaW5kZXguZXhhbXBsZQINYW4gaWRlbnRpZmllcgACCVswLDIwLDEwXQAABiDadYNRf7IB81Q8gJ6y_tZ7"
    "FZppRrf_bT9GVz8H3qCTJw"
)
"""Of the test vectors, under a test key."""

SOURCE = Path(__file__).resolve().parents[2] / "src"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def upload_token() -> str:
    return UPLOAD_TOKEN


@pytest.fixture
def index(upload_token: str) -> Iterator[Pep807]:
    """An index over plain HTTP on loopback."""
    index = Pep807(upload_token)
    yield index
    index.server.close()


@pytest.fixture
def github() -> Iterator[GitHub]:
    github = GitHub()
    yield github
    github.server.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def run(github: GitHub) -> Run:
    """Runs the command as a job of GitHub would; further environment by keyword."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {
            name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ
        }
        return subprocess.run(
            [sys.executable, "-m", "mintage.exchange", *map(str, arguments)],
            env={**inherited, "PYTHONPATH": str(SOURCE), **github.environment(), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    return run
