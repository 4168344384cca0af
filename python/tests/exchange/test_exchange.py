"""`python -m mintage.exchange`, run as a CI job would: what a maintainer gives, gets and reads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from exchange_index import SOURCE, GitHub, Pep807, Reply, Run, jwt, problem, refused, said

from mintage import Digests, Expiration, Filenames, ProjectNames, Versions
from mintage.tokens import Token


def test_standard_output_is_the_upload_token_and_nothing_else(
    command: Run, index: Pep807, upload_token: str, github: GitHub
) -> None:
    done = command(index.upload_url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == upload_token + "\n"
    assert "got an upload token, good until 20" in said(done)
    (mint,) = index.minted()
    assert mint.json() == {"token": github.issued[0]}
    assert mint.headers["content-type"] == "application/json"


# The CI.


def test_gitlab_gives_its_id_token_by_a_variable(
    run: Run, index: Pep807, upload_token: str
) -> None:
    token = jwt("pypi", iss="https://gitlab.example")
    done = run(index.upload_url, GITHUB_ACTIONS="", GITLAB_CI="true", PYPI_ID_TOKEN=token)
    assert done.stdout == upload_token + "\n"
    assert index.minted()[0].json()["token"] == token
    assert "::add-mask::" not in done.stderr and token not in done.stderr
    refused(
        run(index.upload_url, GITHUB_ACTIONS="", GITLAB_CI="true"),
        "Environment variable PYPI_ID_TOKEN not found",
    )


def test_a_job_without_the_right_is_told_which_one(run: Run, index: Pep807) -> None:
    done = run(index.upload_url, ACTIONS_ID_TOKEN_REQUEST_TOKEN="")
    refused(done, "it needs `permissions: id-token: write`")


def test_outside_of_a_ci_the_sentence_says_so(run: Run, index: Pep807) -> None:
    refused(run(index.upload_url, GITHUB_ACTIONS=""), "this is no CI job")


@pytest.mark.filterwarnings("ignore:URLs without a scheme")
@pytest.mark.parametrize("url", ["http://127.0.0.1:1/id", "http://[/", "nonsense", "http://a b/"])
def test_a_ci_that_gives_no_answer_is_a_sentence(run: Run, index: Pep807, url: str) -> None:
    refused(run(index.upload_url, ACTIONS_ID_TOKEN_REQUEST_URL=url), "the CI gave no ID token")


def test_without_the_package_id_the_sentence_says_what_to_install(
    command: Run, index: Pep807, tmp_path: Path
) -> None:
    (tmp_path / "id.py").write_text("raise ImportError")
    done = command(index.upload_url, PYTHONPATH=f"{tmp_path}:{SOURCE}")
    refused(done, "python -m pip install 'mintage[exchange]'")


# Narrowing.


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    dist = tmp_path / "dist"
    dist.mkdir()
    (dist / "Sample_Project-1.0.tar.gz").write_bytes(b"sdist")
    (dist / "sample_project-1.0-py3-none-any.whl").write_bytes(b"wheel")
    return dist


def test_only_binds_the_token_to_the_files(run: Run, index: Pep807, dist: Path) -> None:
    (dist / "sample_project-1.0-py3-none-any.whl.publish.attestation").write_bytes(b"{}")
    files = sorted(dist.iterdir())
    done = run(index.upload_url, "--only", *files)
    assert done.returncode == 0, done.stderr
    narrower = Token.parse(done.stdout.strip())
    digests = tuple(hashlib.sha256(one).digest() for one in (b"sdist", b"wheel"))
    assert narrower.caveats[1:] == (
        ProjectNames(("sample-project",)),
        Versions(("1.0",)),
        Filenames((files[0].name, files[1].name)),
        Digests(digests),
    )
    assert "goes along with its file" in said(done)


def test_a_pattern_that_no_shell_expanded_is_expanded(
    run: Run, index: Pep807, dist: Path
) -> None:
    done = run(index.upload_url, "--only", f"{dist}/*.whl")
    names = [one for one in Token.parse(done.stdout.strip()).caveats if isinstance(one, Filenames)]
    assert names == [Filenames(("sample_project-1.0-py3-none-any.whl",))]


@pytest.mark.parametrize(
    "name, words",
    [
        ("nothing-here/*", "there is no file"),
        ("notes.txt", '"notes.txt" is not named as a wheel or an sdist'),
        ("sample-1.0.exe", "is not named as a wheel or an sdist"),
        ("directory-1.0.tar.gz", "can't be read"),
    ],
)
def test_files_that_can_not_be_named_are_told_before_anybody_is_asked(
    run: Run, index: Pep807, dist: Path, name: str, words: str
) -> None:
    (dist / "notes.txt").write_bytes(b"")
    (dist / "sample-1.0.exe").write_bytes(b"")
    (dist / "directory-1.0.tar.gz").mkdir()
    refused(run(index.upload_url, "--only", dist / name), words)
    assert not index.server.asked


def test_a_token_that_can_not_be_narrowed_is_not_printed_at_all(
    run: Run, index: Pep807, dist: Path
) -> None:
    index.mint = [Reply(document={"token": "glpat-something-else"})]
    refused(run(index.upload_url, "--only", f"{dist}/*"), "can't be narrowed here")


def test_an_earlier_end_can_be_asked_for(run: Run, index: Pep807) -> None:
    done = run(index.upload_url, "--expires-in", "5m")
    last = Token.parse(done.stdout.strip()).caveats[-1]
    assert isinstance(last, Expiration) and last.not_before == 0
    for wrong in ("5", "0m", "-1m", "5d", ""):
        assert run(index.upload_url, f"--expires-in={wrong}").returncode == 2


# Secrets and logs.


def test_in_github_actions_every_secret_is_masked_before_anything_is_said_of_it(
    run: Run, index: Pep807, github: GitHub, dist: Path, upload_token: str
) -> None:
    done = run(index.upload_url, "--only", f"{dist}/*")
    masks = [line for line in done.stderr.splitlines() if line.startswith("::")]
    expected = [github.issued[0], upload_token, done.stdout.strip()]
    assert masks == [f"::add-mask::{secret}" for secret in expected]
    for secret in expected:
        assert secret not in said(done)


def test_an_index_that_sends_the_id_token_back_does_not_get_it_into_the_log(
    run: Run, index: Pep807, github: GitHub
) -> None:
    def echo(asked: Any) -> Reply:
        if asked.method == "POST":
            token = asked.json()["token"]
            return problem(422, "x" * 300 + f" bad token {token}")
        return index._answer(asked)

    index.server.answer = echo
    done = run(index.upload_url)
    refused(done, "bad token (a secret)")
    assert github.issued[0][:40] not in said(done)


def test_an_index_can_not_command_the_ci_through_the_log(run: Run, index: Pep807) -> None:
    hostile = "x\n::add-path::/tmp\r::set-env name=a::b ##[add-path]/tmp \x1b[2J\u202e\u2028::z"
    index.mint = [problem(422, hostile, title=hostile, message=hostile)]
    done = run(index.upload_url)
    assert done.returncode == 1
    (line,) = said(done).splitlines()
    assert line.startswith("mintage.exchange: ") and "##" not in line and line.isprintable()


# The command line.


@pytest.mark.parametrize(
    "arguments",
    [(), ("https://a.example/", "b"), ("https://a.example/", "--onl", "x"), ("--only", "x")],
)
def test_a_wrong_command_line_ends_with_2(command: Run, arguments: tuple[str, ...]) -> None:
    assert command(*arguments).returncode == 2


def test_help_explains_every_option(command: Run) -> None:
    done = command("--help")
    assert done.returncode == 0
    for word in ("UPLOAD_URL", "--only", "--single-use", "--trust-host", "SSL_CERT_FILE", "twine"):
        assert word in done.stdout
