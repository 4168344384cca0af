"""The whole exchange with the real service behind the index: what is printed is what Mintage
allows, for the files given and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from exchange_index import Asked, GitHub, Pep807, Reply, Run, problem
from support import AUDIENCE, Issuer
from support.service import Service

import mintage

PROJECT = mintage.Project("1", "sample-project")
OTHER = mintage.Project("2", "other-project")


class Index(Pep807):
    """One whose answer to a Mint may be lost on its way."""

    answers_to_lose = 0


@pytest.fixture
def client(service: Service) -> Iterator[mintage.Client]:
    with mintage.Client(service.address, timeout=60) as client:
        yield client


@pytest.fixture
def github(issuer: Issuer) -> Iterator[GitHub]:
    """A CI whose ID tokens the service trusts."""
    github = GitHub(issuer.id_token)
    yield github
    github.server.close()


@pytest.fixture
def index(client: mintage.Client, issuer: Issuer) -> Iterator[Index]:
    """An index whose mint endpoint asks Mintage."""
    publisher = mintage.Publisher(
        "p1",
        issuer.url,
        mintage.GitHub("octo", "1", "sampleproject", "release.yml"),
        (PROJECT, OTHER),
    )

    def answer(asked: Asked) -> Reply:
        if asked.method != "POST":
            return backed._answer(asked)
        document = asked.json()
        try:
            minted = client.mint_for_publisher(
                document["token"],
                [publisher],
                features=document.get("features", ()),
                request_id=hashlib.sha256(document["token"].encode()).hexdigest(),
            )
        except mintage.Refused as refused:
            return problem(422, refused.message)
        assert minted.expires_at is not None
        expires = int(minted.expires_at.timestamp())
        cut = 3 if backed.answers_to_lose else None
        backed.answers_to_lose = 0
        return Reply(document={"token": minted.token, "expires": expires}, cut=cut)

    backed = Index("unused")
    backed.audience = [Reply(document={"audience": AUDIENCE})]
    backed.server.answer = answer
    yield backed
    backed.server.close()


def access(
    content: bytes, project: mintage.Project = PROJECT, name: str = "sample_project-1.0.tar.gz"
) -> mintage.Access:
    return mintage.Access(project, ("p1",), "1.0", name, hashlib.sha256(content).digest())


def reasons(denied: mintage.Verification) -> set[str]:
    return {str(denial.reason) for denial in denied.denials}


def test_the_token_is_good_for_the_publisher_s_projects(
    run: Run, index: Pep807, client: mintage.Client
) -> None:
    token = run(index.upload_url).stdout.strip()
    assert client.verify(token, access(b"anything"))
    assert client.verify(token, access(b"anything", OTHER))


def test_the_token_is_good_for_the_files_given_and_nothing_else(
    run: Run, index: Pep807, client: mintage.Client, tmp_path: Path
) -> None:
    file = tmp_path / "sample_project-1.0.tar.gz"
    file.write_bytes(b"sdist")
    done = run(index.upload_url, "--only", file)
    token = done.stdout.strip()
    assert client.verify(token, access(b"sdist")), done.stderr
    assert reasons(client.verify(token, access(b"malware"))) == {"CAVEAT_DIGEST"}
    assert reasons(client.verify(token, access(b"sdist", OTHER))) == {"CAVEAT_PROJECT"}
    named = access(b"sdist", name="sample_project-1.0.zip")
    assert reasons(client.verify(token, named)) == {"CAVEAT_FILENAME"}


def test_a_single_use_token_is_good_once(run: Run, index: Pep807, client: mintage.Client) -> None:
    token = run(index.upload_url, "--single-use").stdout.strip()
    assert client.verify(token, access(b"a"))
    assert reasons(client.verify(token, access(b"a"))) == {"CAVEAT_USES_SPENT"}


def test_an_answer_that_is_lost_on_its_way_is_asked_for_again(
    run: Run, index: Index, client: mintage.Client, github: GitHub, pauses: list[float]
) -> None:
    index.answers_to_lose = 1
    token = run(index.upload_url).stdout.strip()
    assert client.verify(token, access(b"a"))
    assert len(github.issued) == 1 and len(index.minted()) == 2 and len(pauses) == 1


def test_a_reused_id_token_is_a_sentence(
    run: Run, index: Pep807, issuer: Issuer, client: mintage.Client
) -> None:
    id_token: Callable[[str], str] = issuer.id_token
    once = id_token(AUDIENCE)
    gitlab = {"GITHUB_ACTIONS": "", "GITLAB_CI": "true", "PYPI_ID_TOKEN": once}
    publisher = mintage.Publisher(
        "p1",
        issuer.url,
        mintage.GitHub("octo", "1", "sampleproject", "release.yml"),
        (PROJECT,),
    )
    client.mint_for_publisher(once, [publisher])
    done = run(index.upload_url, **gitlab)
    assert done.returncode == 1 and done.stdout == ""
    assert "the index's mint endpoint answered 422: " in done.stderr and once not in done.stderr
