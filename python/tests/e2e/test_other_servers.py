"""The real tools publish to pypiserver and devpi-server; what is refused says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.certificates import Certificate
from kit.identities import GitHubJob, GitLabJob, Issuer
from kit.mintage import AUDIENCE, Mintage
from kit.processes import wait_until
from kit.servers import Devpi, IndexServer, PyPIServer
from kit.tls import TlsFront
from kit.tools import Run, Tools
from kit.uploaders import Pdm, Twine, Uv

PROJECTS = ["by-uv", "by-twine", "by-pdm", "by-gitlab", "first", "second", "again", "down"]


@pytest.fixture(scope="module")
def service(start_mintage: Callable[..., Mintage]) -> Mintage:
    """One that takes no second mint-token for a retry, and may be stopped."""
    return start_mintage(settings='retry_window = "0s"')


@pytest.fixture(scope="module", params=[PyPIServer, Devpi], ids=["pypiserver", "devpi"])
def server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    service: Mintage,
    github: Issuer,
    gitlab: Issuer,
) -> Iterator[IndexServer]:
    folder = tmp_path_factory.mktemp("server")
    running = request.param(
        folder, service.address, AUDIENCE, github.url, PROJECTS, gitlab=gitlab.url
    )
    yield running
    running.stop()


@pytest.fixture
def front(server: IndexServer, certificate: Certificate) -> Iterator[str]:
    """The upload URL by HTTPS, which uv insists on."""
    front = TlsFront(server.port, certificate)
    yield front.url + server.upload_path
    front.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(server: IndexServer, folder: Path, runs: list[Run], sentence: str) -> None:
    """The tool failed, printed a sentence, and nothing was stored."""
    assert runs[-1].code != 0, runs[-1].output
    assert sentence in runs[-1].output, runs[-1].output
    assert not contents(folder).keys() & server.stored().keys()
    assert "pypi-" not in server.log()


def test_uv_publishes_and_pip_gets_the_files_back(
    server: IndexServer,
    front: str,
    tools: Tools,
    github_job: Callable[..., GitHubJob],
    dist: Callable[..., Path],
) -> None:
    files = dist("by-uv")
    (run,) = Uv(tools).publish(front, files, github_job("octo/by-uv").environment)
    assert run.code == 0, run.output
    assert fetched(server, tools, "by-uv", "1.0").items() <= contents(files).items()
    assert contents(files).items() <= server.stored().items()


def test_uv_publishes_from_gitlab(
    server: IndexServer,
    front: str,
    tools: Tools,
    gitlab_job: Callable[..., GitLabJob],
    dist: Callable[..., Path],
) -> None:
    files = dist("by-gitlab")
    (run,) = Uv(tools).publish(front, files, gitlab_job("group/by-gitlab").environment)
    assert run.code == 0, run.output
    assert contents(files).items() <= server.stored().items()


def test_pdm_publishes(
    server: IndexServer,
    tools: Tools,
    github_job: Callable[..., GitHubJob],
    dist: Callable[..., Path],
) -> None:
    files = dist("by-pdm")
    runs = Pdm(tools).publish(server.upload_url, files, github_job("octo/by-pdm").environment)
    assert runs[-1].code == 0, runs[-1].output
    assert contents(files).items() <= server.stored().items()


def test_twine_publishes_what_the_exchange_narrowed_its_token_to(
    server: IndexServer,
    tools: Tools,
    github_job: Callable[..., GitHubJob],
    dist: Callable[..., Path],
) -> None:
    files, others = dist("by-twine"), dist("by-twine", "1.1")
    twine, job = Twine(tools), github_job("octo/by-twine").environment
    exchange = twine.exchange(
        server.upload_url, files, job, "--only", *map(str, sorted(files.glob("*")))
    )
    assert exchange.code == 0, exchange.output
    token = exchange.stdout.strip()
    (run,) = twine.upload(server.upload_url, files, token)
    assert run.code == 0, run.output
    assert fetched(server, tools, "by-twine", "1.0").items() <= contents(files).items()
    assert contents(files).items() <= server.stored().items()
    refused(server, others, twine.upload(server.upload_url, others, token), "version")


def test_a_job_publishes_its_own_project_and_no_other(
    server: IndexServer,
    front: str,
    tools: Tools,
    github_job: Callable[..., GitHubJob],
    dist: Callable[..., Path],
) -> None:
    job, files = github_job("octo/first").environment, dist("second")
    sentence = 'registered to the project "second"'
    refused(server, files, Uv(tools).publish(front, files, job), sentence)
    refused(server, files, Twine(tools).publish(server.upload_url, files, job), sentence)


def test_a_job_of_nobodys_gets_no_token(
    server: IndexServer,
    front: str,
    tools: Tools,
    github_job: Callable[..., GitHubJob],
    dist: Callable[..., Path],
) -> None:
    job, files = github_job("octo/somebody").environment, dist("first", "2.0")
    refused(server, files, Uv(tools).publish(front, files, job), "publisher")
    refused(server, files, Twine(tools).publish(server.upload_url, files, job), "publisher")


def test_an_id_token_is_good_for_one_upload_token(
    server: IndexServer,
    front: str,
    tools: Tools,
    github_job: Callable[..., GitHubJob],
    dist: Callable[..., Path],
) -> None:
    job = github_job("octo/again")
    job.replay = True
    first, second = dist("again"), dist("again", "2.0")
    (run,) = Uv(tools).publish(front, first, job.environment)
    assert run.code == 0, run.output
    sentence = "used before"
    refused(server, second, Uv(tools).publish(front, second, job.environment), sentence)
    runs = Twine(tools).publish(server.upload_url, second, job.environment)
    refused(server, second, runs, sentence)


def test_a_token_of_another_maker_is_refused(
    server: IndexServer, tools: Tools, dist: Callable[..., Path]
) -> None:
    files = dist("first", "3.0")
    token = "pypi-AgEIcHlwaS5vcmcAAAYgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    refused(server, files, Twine(tools).upload(server.upload_url, files, token), "403")


def test_nothing_is_stored_while_mintage_is_down(
    server: IndexServer,
    service: Mintage,
    tools: Tools,
    github_job: Callable[..., GitHubJob],
    dist: Callable[..., Path],
) -> None:
    files, twine, job = dist("down"), Twine(tools), github_job("octo/down")
    exchange = twine.exchange(server.upload_url, files, job.environment)
    assert exchange.code == 0, exchange.output
    token = exchange.stdout.strip()
    service.stop()
    try:
        runs = twine.upload(server.upload_url, files, token)
        refused(server, files, runs, "503")
        runs = twine.publish(server.upload_url, files, job.environment)
        refused(server, files, runs, "reach")
    finally:
        service.start()
    # The server's connection comes back in a while of its own.
    done = lambda: twine.upload(server.upload_url, files, token)[0].code == 0  # noqa: E731
    wait_until(done, "uploads work again")
    assert contents(files).items() <= server.stored().items()


def fetched(server: IndexServer, tools: Tools, project: str, version: str) -> dict[str, bytes]:
    """What pip downloads: the wheel."""
    folder = tools.home / "fetched"
    options = ["--no-deps", "--only-binary=:all:", "--index-url", server.simple_url]
    run = tools.run("pip", "download", "--dest", folder, *options, f"{project}=={version}")
    assert run.code == 0, run.output
    found = contents(folder)
    assert len(found) == 1
    return found
