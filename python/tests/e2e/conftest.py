"""Fixtures for tests with the real uploading tools against real index servers.

Whatever serves is started once and shared: a test takes a project name of its own. Where a test
needs a service that fails, it starts one for itself with `start_mintage` and `start_index`.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from install_tools import install
from kit import places
from kit.certificates import Authority, Certificate
from kit.identities import GitHubJob, GitLabJob, Issuer
from kit.index import ExampleIndex
from kit.mintage import AUDIENCE, Mintage, Redis, redis_server
from kit.samples import sdist, wheel
from kit.scene import Scene
from kit.tools import Tools
from mintage import Client


@pytest.fixture(scope="session")
def installed_tools() -> Path:
    """The folder of the tools' venvs; installs what is missing."""
    install(places.TOOLS)
    return places.TOOLS


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Certificate:
    """For servers on loopback."""
    return authority.certificate("localhost", "127.0.0.1")


@pytest.fixture
def tools(tmp_path: Path, installed_tools: Path, authority: Authority) -> Tools:
    """uv, twine, pdm and pip, which trust the tests' authority and know nothing else."""
    home = tmp_path / "home"
    home.mkdir()
    return Tools(home, authority.file)


@pytest.fixture(scope="session")
def github() -> Iterator[Issuer]:
    """GitHub's issuer, as far as anybody here can tell."""
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="session")
def gitlab() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def github_job(github: Issuer) -> Iterator[Callable[..., GitHubJob]]:
    """Starts jobs: `github_job("octo/project", environment="release")`."""
    jobs: list[GitHubJob] = []

    def start(repository: str, **claims: str) -> GitHubJob:
        jobs.append(GitHubJob(github, repository, **claims))
        return jobs[-1]

    yield start
    for job in jobs:
        job.close()


@pytest.fixture
def gitlab_job(gitlab: Issuer) -> Callable[..., GitLabJob]:
    """Starts jobs: `gitlab_job("group/project")`."""

    def start(project_path: str, **claims: str) -> GitLabJob:
        return GitLabJob(gitlab, project_path, AUDIENCE, **claims)

    return start


@pytest.fixture(scope="session")
def start_mintage(
    tmp_path_factory: pytest.TempPathFactory, github: Issuer, gitlab: Issuer
) -> Iterator[Callable[..., Mintage]]:
    """Starts services of their own: `start_mintage(store=…, settings=…)`."""
    started: list[Mintage] = []
    issuers = {github.url: "github", gitlab.url: "gitlab"}

    def start(**options: Any) -> Mintage:
        started.append(Mintage(tmp_path_factory.mktemp("mintage"), issuers, **options))
        return started[-1]

    yield start
    for mintage in started:
        mintage.stop()


@pytest.fixture(scope="session")
def mintage(start_mintage: Callable[..., Mintage]) -> Mintage:
    """The service that the tests share, with its marks in memory."""
    return start_mintage()


@pytest.fixture(scope="session")
def mintage_client(mintage: Mintage) -> Iterator[Client]:
    """A client of the service that the tests share."""
    with Client(mintage.address) as client:
        yield client


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    program = redis_server()
    if program is None:
        pytest.skip("NOT TESTED with Redis: there is no redis-server; see scripts/redis-server")
    server = Redis(program, tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def start_index(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., ExampleIndex]]:
    """Starts indexes of their own: `start_index(mintage.address, certificate=…)`."""
    started: list[ExampleIndex] = []

    def start(mintage: str, **options: Any) -> ExampleIndex:
        started.append(ExampleIndex(tmp_path_factory.mktemp("index"), mintage, **options))
        return started[-1]

    yield start
    for index in started:
        index.stop()


@pytest.fixture(scope="session")
def index(
    start_index: Callable[..., ExampleIndex], mintage: Mintage, certificate: Certificate
) -> ExampleIndex:
    """The example index over HTTPS, which the tests share."""
    return start_index(mintage.address, certificate=certificate)


@pytest.fixture(scope="session")
def plain_index(start_index: Callable[..., ExampleIndex], mintage: Mintage) -> ExampleIndex:
    """The example index over plain HTTP on loopback."""
    return start_index(mintage.address)


@pytest.fixture
def dist(tools: Tools) -> Callable[..., Path]:
    """Makes `dist/` for a project: `dist("name")` holds a wheel and an sdist of it."""
    counter = itertools.count()

    def make(project: str, version: str = "1.0", *, both: bool = True, text: str = "") -> Path:
        root = tools.home / f"{project}-{next(counter)}"
        folder = root / "dist"
        folder.mkdir(parents=True)
        wheel(folder, project, version, text)
        if both:
            sdist(folder, project, version)
        lines = ["[project]", f'name = "{project}"', f'version = "{version}"']
        lines += ['requires-python = ">=3.8"', ""]
        (root / "pyproject.toml").write_text("\n".join(lines))
        # Or else pdm makes a venv for the project, and talks about it.
        (root / ".pdm-python").write_text(sys.executable)
        return folder

    return make


@pytest.fixture
def make_scene(
    tools: Tools,
    github: Issuer,
    gitlab: Issuer,
    github_job: Callable[..., GitHubJob],
    gitlab_job: Callable[..., GitLabJob],
    dist: Callable[..., Path],
) -> Callable[[ExampleIndex], Scene]:
    """A scene before an index of the test's choice."""

    def make(index: ExampleIndex) -> Scene:
        return Scene(index, tools, github, gitlab, github_job, gitlab_job, dist)

    return make


@pytest.fixture
def scene(make_scene: Callable[[ExampleIndex], Scene], index: ExampleIndex) -> Scene:
    """A scene before the example index over HTTPS."""
    return make_scene(index)
