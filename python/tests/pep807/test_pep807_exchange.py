"""Our own uploading client against our own endpoints: `mintage.exchange` with real ID tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import served
from asking import PATIENCE, Host
from served import LEGACY, OTHER, Service

import mintage

TESTS = Path(__file__).parent.parent

sys.path.append(str(TESTS / "exchange"))

from exchange_index import GitHub  # noqa: E402  (found above)

Exchange = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def exchange(service: Service) -> Iterator[Exchange]:
    """Runs the command in a job of GitHub's whose ID tokens have these claims."""
    claims: dict[str, Any] = {}
    github = GitHub(lambda audience: str(service.issuer.id_token(audience, **claims)))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TESTS.parent / "src")}

    def run(host: Host, path: str, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
        claims.update(more)
        url = f"http://127.0.0.1:{host.port}{path}"
        return subprocess.run(
            [sys.executable, "-m", "mintage.exchange", *options, url],
            env={**environment, **github.environment()},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    yield run
    github.server.close()


@pytest.mark.parametrize(("path", "index"), [(LEGACY, "pypi"), (OTHER, "other")])
def test_each_index_of_the_host_gives_a_token_for_itself(
    host: Host, exchange: Exchange, client: mintage.Client, path: str, index: str
) -> None:
    done = exchange(host, path)
    assert done.returncode == 0, done.stderr
    token = done.stdout.strip().splitlines()[-1]
    assert client.verify(token, mintage.Access(served.PROJECT, ("p1",)), index=index)


@pytest.mark.parametrize("path", ["/legacy", "/elsewhere/"])
def test_an_upload_path_without_trusted_publishing_mints_nothing(
    host: Host, exchange: Exchange, path: str
) -> None:
    done = exchange(host, path)
    assert done.returncode != 0
    assert "pypi-" not in done.stdout
    assert path in done.stderr


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        (
            {"repository": "octo/other"},
            'the claim "repository" must be "octo/sampleproject", '
            'and the ID token has "octo/other".',
        ),
        (
            {"repository": "stranger/sampleproject"},
            "This index has no trusted publisher registered for this job, whose ID token says: "
            'repository "stranger/sampleproject", workflow '
            '"stranger/sampleproject/.github/workflows/release.yml@refs/heads/main".',
        ),
        (
            {"event_name": "workflow_run"},
            'ID tokens of jobs started by "workflow_run" are refused, '
            "because such jobs can run other people's code.",
        ),
    ],
)
def test_a_refused_job_reads_what_to_do(
    host: Host, exchange: Exchange, claims: dict[str, str], sentence: str
) -> None:
    done = exchange(host, LEGACY, **claims)
    assert done.returncode != 0
    assert done.stdout.strip() == "" or "::add-mask::" in done.stdout
    assert sentence in done.stderr
