"""Tests that run where twine's own host is pypiserver, or devpi-server; `test_twine_alone.py`
starts them.

As in `inside.py`, twine is told nothing. It uploads to `/legacy/` of that host, whatever stands
there; pypiserver takes uploads at `/`, devpi-server at `/USER/INDEX/`. So the front that ends TLS
before the server, as an operator's proxy would, gives `/legacy/` on as the server's own path. It
changes nothing else: the endpoints of trusted publishing are where twine looks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from kit import transcripts
from kit.certificates import Authority
from kit.fronts import MappingFront
from kit.identities import GitHubJob, Issuer
from kit.mintage import AUDIENCE, Mintage
from kit.servers import Devpi, IndexServer, PyPIServer
from kit.tools import Run, Tools, twines_hosts

PROJECTS = ["alone", "replayed", "other"]


@pytest.fixture(scope="module")
def service(start_mintage: Callable[..., Mintage]) -> Mintage:
    """Without a retry window, so that the same ID token again is not taken for a retry."""
    return start_mintage(settings='retry_window = "0s"')


@pytest.fixture(scope="module", params=[PyPIServer, Devpi], ids=["pypiserver", "devpi"])
def server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    service: Mintage,
    github: Issuer,
) -> Iterator[IndexServer]:
    folder = tmp_path_factory.mktemp("server")
    running = request.param(folder, service.address, AUDIENCE, github.url, PROJECTS)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def host(server: IndexServer, installed_tools: Path, authority: Authority) -> Iterator[str]:
    """The server in the place of PyPI."""
    hosts = twines_hosts(installed_tools)
    paths = {"/legacy/": server.upload_path}
    front = MappingFront(server.port, authority.certificate(*hosts), paths, port=443)
    yield f"https://{hosts[0]}"
    front.close()


@pytest.fixture
def twine(host: str, tools: Tools) -> Callable[[Path, Mapping[str, str]], Run]:
    """`twine upload dist/*` in a job, and not a word more."""

    def upload(dist: Path, job: Mapping[str, str]) -> Run:
        files = sorted(f"dist/{path.name}" for path in dist.iterdir())
        return tools.run("twine", "upload", *files, cwd=dist.parent, env=job)

    return upload


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_twine_publishes_by_its_own_trusted_publishing_and_pip_gets_the_file_back(
    server: IndexServer,
    host: str,
    twine: Callable[[Path, Mapping[str, str]], Run],
    tools: Tools,
    github_job: Callable[..., GitHubJob],
    dist: Callable[..., Path],
) -> None:
    files = dist("alone")
    run = twine(files, github_job("octo/alone").environment)
    assert run.code == 0, run.output
    assert "Minted upload token for trusted publishing" in run.output
    assert contents(files).items() <= server.stored().items()
    fetched = tools.home / "fetched"
    options = ["--no-deps", "--only-binary=:all:", "--index-url", simple(server, host)]
    run = tools.run("pip", "download", "--dest", fetched, *options, "alone==1.0")
    assert run.code == 0, run.output
    [wheel] = contents(fetched).items()
    assert wheel in contents(files).items()


def simple(server: IndexServer, host: str) -> str:
    """The simple index of the server, by the name of the host that it stands for."""
    return server.simple_url.replace(f"http://127.0.0.1:{server.port}", host)


def test_twine_itself_says_why_it_was_refused(
    server: IndexServer,
    twine: Callable[[Path, Mapping[str, str]], Run],
    tools: Tools,
    github_job: Callable[..., GitHubJob],
    dist: Callable[..., Path],
) -> None:
    job = github_job("octo/replayed")
    job.replay = True
    assert twine(dist("replayed"), job.environment).code == 0
    uploaded = server.stored()
    refused = {
        "no trusted publisher registered": twine(
            dist("other"), github_job("octo/nobodys").environment
        ),
        "The ID token was used before": twine(dist("replayed", "2.0"), job.environment),
        'registered to the project "other"': twine(
            dist("other"), github_job("octo/replayed").environment
        ),
    }
    assert server.stored() == uploaded
    for sentence, run in refused.items():
        assert run.code != 0 and sentence in " ".join(run.output.split()), run.output
    shown = (transcripts.transcript(run, tools.home) for run in refused.values())
    transcripts.hold(f"twine_itself_{server.name}", *shown)
