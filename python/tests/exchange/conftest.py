"""Fixtures of the exchange's tests."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import unittest.mock
from collections.abc import Iterator

import pytest
from exchange_index import SOURCE, Authority, GitHub, Pep807, Run

from mintage.exchange import __main__ as command_line
from mintage.exchange._http import Http

UPLOAD_TOKEN = (
    "pypi-AgENaW5kZXguZXhhbXBsZQINYW4gaWRlbnRpZmllcgACCVswLDIwLDEwXQAABiDadYNRf7IB81Q8gJ6y_tZ7"
    "FZppRrf_bT9GVz8H3qCTJw"
)
"""Of the test vectors, under a test key."""

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
def environment(github: GitHub) -> dict[str, str]:
    """That of a job of GitHub."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    return {**kept, "PYTHONPATH": str(SOURCE), **github.environment()}


@pytest.fixture
def command(environment: dict[str, str]) -> Run:
    """Runs the command as a process of its own; further environment by keyword."""

    def command(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mintage.exchange", *map(str, arguments)],
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    return command


@pytest.fixture
def pauses() -> list[float]:
    """How long `run` would have waited between attempts."""
    return []


@pytest.fixture
def run(
    environment: dict[str, str],
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """The same in this process, which takes a tenth of the time, and without the pauses."""
    monkeypatch.setattr(command_line, "Http", functools.partial(Http, sleep=pauses.append))

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        with unittest.mock.patch.dict(os.environ, {**environment, **more}, clear=True):
            try:
                code = command_line.main(list(map(str, arguments)))
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess([*map(str, arguments)], code, out, err)

    return run
