"""The uploading tools, as PyPI has them, publish to the example index; pip gets the files back."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

import mintage
from kit.index import ExampleIndex
from kit.scene import ALICE, Scene
from kit.tools import Run
from kit.uploaders import Pdm, Twine, Uv
from mintage import Access, GitHub, Reason


def succeeded(runs: list[Run]) -> str:
    """All that the runs printed."""
    for run in runs:
        assert run.code == 0, run.output
    return "".join(run.output for run in runs)


def masked(output: str) -> str:
    """The upload token that a tool told GitHub to hide in its logs."""
    return str(re.findall(r"^::add-mask::(pypi-\S+)", output, re.MULTILINE)[-1])


def test_uv_publishes_from_github_over_https_then_burns_its_token(
    scene: Scene, mintage_client: mintage.Client
) -> None:
    project, files = scene.project("from-github"), scene.dist("from-github")
    job = scene.github_job("from-github").environment
    output = succeeded(Uv(scene.tools).publish(scene.index.upload_url, files, job))
    assert scene.has(files)
    access = Access(project, tuple(scene.index.database.publisher_ids(project)))
    verification = mintage_client.verify(masked(output), access)
    assert [denial.reason for denial in verification.denials] == [Reason.TOKEN_REVOKED]


def test_uv_publishes_from_gitlab(scene: Scene) -> None:
    scene.gitlab_project("from-gitlab")
    files = scene.dist("from-gitlab")
    job = scene.gitlab_job("from-gitlab").environment
    succeeded(Uv(scene.tools).publish(scene.index.upload_url, files, job))
    assert scene.has(files)


def test_pdm_publishes_over_plain_loopback(
    make_scene: Callable[[ExampleIndex], Scene], plain_index: ExampleIndex
) -> None:
    scene = make_scene(plain_index)
    scene.project("by-pdm")
    files = scene.dist("by-pdm")
    job = scene.github_job("by-pdm").environment
    succeeded(Pdm(scene.tools).publish(plain_index.upload_url, files, job))
    assert scene.has(files)


@pytest.mark.parametrize("options", [(), ("--only", "dist/*"), ("--root-paths",)])
def test_twine_publishes_with_a_token_of_mintage_exchange(
    scene: Scene, options: tuple[str, ...]
) -> None:
    name = "-".join(["by-twine", *(option.strip("-").replace("/*", "") for option in options)])
    scene.project(name)
    files = scene.dist(name)
    job = scene.github_job(name).environment
    succeeded(Twine(scene.tools).publish(scene.index.upload_url, files, job, *options))
    assert scene.has(files)


def test_pdm_takes_a_token_of_mintage_exchange_as_well(scene: Scene) -> None:
    """What its users need where it would say nothing but that it got no token."""
    scene.project("by-pdm-too")
    files = scene.dist("by-pdm-too")
    job = scene.github_job("by-pdm-too").environment
    exchanged = Twine(scene.tools).exchange(scene.index.upload_url, files, job)
    token = exchanged.stdout.strip()
    succeeded(Pdm(scene.tools).upload(scene.index.upload_url, files, token))
    assert scene.has(files)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_pip_downloads_what_was_uploaded_byte_for_byte(
    make_scene: Callable[[ExampleIndex], Scene],
    index: ExampleIndex,
    plain_index: ExampleIndex,
    scheme: str,
) -> None:
    scene = make_scene(index if scheme == "https" else plain_index)
    scene.project("Fetched.Back")
    files = scene.dist("Fetched.Back")
    job = scene.github_job("Fetched.Back").environment
    succeeded(Twine(scene.tools).publish(scene.index.upload_url, files, job))
    into = scene.tools.home / "fetched"
    succeeded([
        scene.tools.run(
            "pip", "download", "--no-deps", "--index-url", scene.index.simple_url,
            "--dest", into, "fetched_back==1.0",
        )
    ])
    [fetched] = into.iterdir()
    assert fetched.suffix == ".whl"
    assert fetched.read_bytes() == (files / fetched.name).read_bytes()


def test_the_first_publishing_of_a_pending_publisher_creates_the_project(scene: Scene) -> None:
    database = scene.index.database
    database.register(
        "To-Be", ALICE, scene.github.url, GitHub("to-be", "1", "to-be", "release.yml")
    )
    files = scene.dist("To-Be")
    stranger = scene.github_job("to-be", repository_owner_id="2").environment
    [refused] = Uv(scene.tools).publish(scene.index.upload_url, files, stranger)
    assert refused.code != 0 and database.project("to-be") is None

    job = scene.github_job("to-be").environment
    succeeded(Uv(scene.tools).publish(scene.index.upload_url, files, job))
    assert scene.has(files)
    project = database.project("to-be")
    assert project is not None and project.name == "To-Be"
    assert database.maintains(ALICE, project)
    again = scene.dist("To-Be", "2.0")
    job = scene.github_job("to-be").environment
    succeeded(Uv(scene.tools).publish(scene.index.upload_url, again, job))
    assert scene.has(again)
