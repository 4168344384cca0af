"""Tests that run where twine's own host is the example index; `test_twine_alone.py` starts them.

twine does trusted publishing with no index but PyPI and TestPyPI. In this namespace their names
lead to the example index, which has certificates of the tests' authority. twine is as PyPI has it
and is told nothing: what it does here is what it does there.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from kit import transcripts
from kit.certificates import Authority
from kit.index import ExampleIndex
from kit.mintage import Mintage
from kit.scene import Scene
from kit.tools import Run, twines_hosts


@pytest.fixture(scope="session")
def service(start_mintage: Callable[..., Mintage]) -> Mintage:
    """Without a retry window, so that the same ID token again is not taken for a retry."""
    return start_mintage(settings='retry_window = "0s"')


@pytest.fixture(scope="session")
def worlds_index(
    service: Mintage,
    installed_tools: Path,
    authority: Authority,
    start_index: Callable[..., ExampleIndex],
) -> ExampleIndex:
    """The example index in the place of PyPI."""
    hosts = twines_hosts(installed_tools)
    certificate = authority.certificate(*hosts)
    return start_index(service.address, certificate=certificate, host=hosts[0], port=443)


@pytest.fixture
def twine(
    make_scene: Callable[[ExampleIndex], Scene], worlds_index: ExampleIndex
) -> Callable[[Path, Mapping[str, str]], Run]:
    """`twine upload dist/*` in a job, and not a word more."""

    def upload(dist: Path, job: Mapping[str, str], *options: str) -> Run:
        tools = make_scene(worlds_index).tools
        files = sorted(f"dist/{path.name}" for path in dist.iterdir())
        return tools.run("twine", "upload", *options, *files, cwd=dist.parent, env=job)

    return upload


@pytest.fixture
def scene(make_scene: Callable[[ExampleIndex], Scene], worlds_index: ExampleIndex) -> Scene:
    return make_scene(worlds_index)


def test_nothing_leaves_the_namespace() -> None:
    """192.0.2.1 is for documentation (RFC 5737): nobody would answer, but here nobody is asked."""
    with pytest.raises(OSError, match="Network is unreachable"):
        socket.create_connection(("192.0.2.1", 443), timeout=5)


@pytest.mark.parametrize("repository", ["pypi", "testpypi"])
def test_twine_publishes_by_its_own_trusted_publishing(
    scene: Scene, twine: Callable[..., Run], repository: str
) -> None:
    name = f"alone-to-{repository}"
    scene.project(name)
    files = scene.dist(name)
    options = [] if repository == "pypi" else ["--repository", repository]
    run = twine(files, scene.github_job(name).environment, *options)
    assert run.code == 0, run.output
    assert "Minted upload token for trusted publishing" in run.output
    assert scene.has(files)


def test_twine_itself_says_why_it_was_refused(
    scene: Scene, twine: Callable[..., Run], service: Mintage
) -> None:
    scene.project("choosy", environment="release")
    files = scene.dist("choosy")
    before = scene.index.uploads()
    elsewhere = twine(files, scene.github_job("choosy", environment="staging").environment)

    scene.project("replayed")
    job = scene.github_job("replayed")
    job.replay = True
    assert twine(scene.dist("replayed"), job.environment).code == 0
    uploaded = scene.index.uploads()
    again = twine(scene.dist("replayed", "2.0"), job.environment)

    scene.project("other")
    wrong = twine(scene.dist("other"), scene.github_job("replayed").environment)
    service.stop()
    down = twine(files, scene.github_job("choosy", environment="release").environment)
    service.start()
    assert scene.index.uploads() == uploaded and len(uploaded) == len(before) + 2
    refused = {
        "must be \"release\", and the ID token has \"staging\"": elsewhere,
        "The ID token was used before": again,
        "registered to the project \"other\"": wrong,
        "The token service can't be reached at present.": down,
    }
    for sentence, run in refused.items():
        assert run.code != 0 and sentence in " ".join(run.output.split()), run.output
    transcripts.hold("twine_itself", *(scene.transcript([run]) for run in refused.values()))
