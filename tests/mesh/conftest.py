"""Replicas under load, and what is between them and their callers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "python" / "tests"), str(REPOSITORY / "python" / "tests" / "e2e")]

from kit.mintage import Redis, redis_server  # noqa: E402  (found above)
from support import Issuer, Keyring  # noqa: E402

pytest.register_assert_rewrite("seen")

import seen  # noqa: E402
from replicas import Replicas  # noqa: E402


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """An OIDC issuer on loopback."""
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="session")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    """One for all services of a run, so that all of them are replicas."""
    return Keyring(tmp_path_factory.mktemp("mintage") / "keys")


@pytest.fixture(scope="session")
def redis_program() -> str:
    program = redis_server()
    if program is None:
        pytest.skip("NOT TESTED: there is no redis-server; see scripts/redis-server")
    return program


@pytest.fixture
def redis(tmp_path: Path, redis_program: str) -> Iterator[Redis]:
    """The store of all replicas, which keeps nothing on disk."""
    server = Redis(redis_program, tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def replicas(
    tmp_path: Path, keyring: Keyring, issuer: Issuer, redis: Redis
) -> Iterator[Replicas]:
    """Three, and the store that they share."""
    replicas = Replicas(tmp_path, keyring, issuer.url, redis.store)
    yield replicas
    replicas.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The tables of what was seen, whether the tests passed or not."""
    for line in seen.tables():
        terminalreporter.write_line(line)
