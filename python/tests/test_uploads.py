"""Upload forms: one file whose name says what the form says, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from support import AUDIENCE, Issuer, Service
from support.examples import PROJECT, publisher

import mintage
import mintage.aio
from mintage import Access, Project, Subject
from mintage.uploads import (
    NotAdmitted,
    Upload,
    async_bearer,
    bearer,
    credentials,
    hold_length,
    read,
    read_mixed,
    requester,
)

CONTENT = b"content"
WHEEL = "sample_project-1.0-py3-none-any.whl"
FIELDS = [(":action", "file_upload"), ("name", "Sample.Project"), ("version", "1.0")]


def of(
    fields: list[tuple[str, str]] = FIELDS, filename: str = WHEEL, field: str = "content"
) -> Upload:
    return read(fields, [(field, filename, io.BytesIO(CONTENT))])


def said(name: str, version: str) -> list[tuple[str, str]]:
    return [(":action", "file_upload"), ("name", name), ("version", version)]


@pytest.mark.parametrize(
    ("name", "version", "filename"),
    [
        ("Sample.Project", "1.0", WHEEL),
        ("sample-project", "1", "Sample_Project-1.0-1-cp311-cp311-linux_x86_64.whl"),
        ("sample-project", "1.0", "sample_project-1.0.tar.gz"),
        ("sample-project", "1.0", "sample-project-1.0.0.zip"),
        ("a", "1!2.0rc1+local.1", "a-1!2.0rc1+local.1.tar.gz"),
    ],
)
def test_a_form_in_order_is_read(name: str, version: str, filename: str) -> None:
    content = io.BytesIO(CONTENT)
    content.seek(3)
    upload = read(said(name, version), [("content", filename, content)])
    assert upload.filename == filename
    assert upload.sha256 == hashlib.sha256(CONTENT).digest()
    assert upload.content is content
    assert content.tell() == 0, "the server has yet to store it"


def test_names_and_versions_are_normalized() -> None:
    upload = of(said("Sample__.Project", "1.0.0"))
    assert (upload.project, upload.version) == ("sample-project", "1.0")


@pytest.mark.parametrize(
    ("name", "version", "filename"),
    [
        ("other", "1.0", WHEEL),
        ("sample", "1.0", WHEEL),
        ("sample-project", "2.0", WHEEL),
        ("sample-project", "", WHEEL),
        ("", "1.0", WHEEL),
        ("a", "1.0-b-2.0", "a-1.0-b-2.0.tar.gz"),
        ("a", "2.0", "a-1.0-b-2.0.tar.gz"),
        ("sample-project", "1.0", "sample_project-1.0.tar.bz2"),
        ("sample-project", "1.0", "sample_project-1.0-py3.11.egg"),
        ("sample-project", "1.0", "sample_project-1.0.exe"),
        ("sample-project", "1.0", "sample_project-1.0.tar.gz.asc"),
        ("sample-project", "1.0", "sample_project.tar.gz"),
        ("sample-project", "1.0", "sample_project-1.0-none-any.whl"),
        ("sample-project", "1.0", "../" + WHEEL),
        ("sample-project", "1.0", "other/" + WHEEL),
        ("sample-project", "1.0", "other\\" + WHEEL),
        ("sample-project", "1.0", WHEEL + "\n"),
        ("sample-project", "1.0", WHEEL + "\0"),
        ("sample-project", "1.0", ""),
        ("sample-project", "1.0", "sample_project-1.0\u0660-py3-none-any.whl"),
        ("sample-project", "1.0", "s" * 300 + "-1.0.tar.gz"),
    ],
)
def test_a_file_of_another_name_is_refused(name: str, version: str, filename: str) -> None:
    with pytest.raises(NotAdmitted) as refused:
        of(said(name, version), filename)
    assert refused.value.response.status == 400


@pytest.mark.parametrize(
    "fields",
    [
        FIELDS[1:],
        FIELDS[:2],
        [FIELDS[0], FIELDS[2]],
        [],
        [*FIELDS, ("name", "Sample.Project")],
        [*FIELDS, ("name", "other")],
        [*FIELDS, ("version", "1.0")],
        [*FIELDS, (":action", "remove_pkg")],
        [(":action", "remove_pkg"), *FIELDS[1:]],
        [(":action", "doc_upload"), *FIELDS[1:]],
        [(":action", "submit"), *FIELDS[1:]],
        [(":action", ""), *FIELDS[1:]],
    ],
)
def test_a_form_that_says_another_thing_or_a_thing_twice_is_refused(
    fields: list[tuple[str, str]],
) -> None:
    with pytest.raises(NotAdmitted) as refused:
        of(fields)
    body = json.loads(refused.value.response.body)
    assert body["errors"][0]["code"] == "invalid-upload" and body["message"].endswith(".")


@pytest.mark.parametrize(
    "parts", [[], ["content", "content"], ["content", "gpg_signature"], ["file"], ["name"]]
)
def test_there_is_exactly_one_file(parts: list[str]) -> None:
    with pytest.raises(NotAdmitted, match="exactly one file"):
        read(FIELDS, [(part, WHEEL, io.BytesIO(CONTENT)) for part in parts])


def test_who_uploads_is_told_within_the_services_bounds() -> None:
    assert requester("::ffff:192.0.2.1", "é" * 600).ip == "192.0.2.1"
    assert len(requester("x", "é" * 600).user_agent.encode()) == 512
    assert requester(None, None).ip == requester("unix:", "").ip == ""


@dataclass
class Part:
    """A file as frameworks give it."""

    filename: str | None
    file: io.BytesIO


def test_a_form_whose_fields_and_files_come_mixed_is_read_alike() -> None:
    part = Part(WHEEL, io.BytesIO(CONTENT))
    assert read_mixed([*FIELDS[:2], ("content", part), FIELDS[2]]) == of()
    for parts in ([("content", part), ("gpg_signature", part)], [("content", Part(None, part.file))]):
        with pytest.raises(NotAdmitted):
            read_mixed([*FIELDS, *parts])


def test_an_upload_is_an_access_to_the_indexs_own_project() -> None:
    access = of().access(Project("7", "Sample.Project"), ["11"])
    digest = hashlib.sha256(CONTENT).digest()
    assert access == Access(Project("7", "Sample.Project"), ("11",), "1.0", WHEEL, digest)


def test_whoever_brings_no_token_is_asked_for_one() -> None:
    encoded = base64.b64encode(b"__token__:pypi-x").decode()
    assert credentials(f"Basic {encoded}") == "pypi-x"
    for authorization in (None, "", "Bearer pypi-x", "Basic eDp5"):
        with pytest.raises(NotAdmitted) as refused:
            credentials(authorization)
        assert refused.value.response.status == 401


@pytest.mark.parametrize(
    ("length", "status"),
    [(None, 411), ("", 411), ("x", 411), ("-1", 411), ("1e3", 411), ("9" * 30, 411), ("101", 413)],
)
def test_a_request_says_how_long_it_is_and_is_not_too_long(length: str | None, status: int) -> None:
    hold_length("100", 100)
    with pytest.raises(NotAdmitted) as refused:
        hold_length(length, 100)
    assert refused.value.response.status == status


Maintains = Callable[[str, Project], bool]
Whose = Callable[[str, Access, Maintains | None], Subject]


@pytest.fixture(params=["threads", "event loop"])
def whose(request: pytest.FixtureRequest, service: Service) -> Whose:
    """`bearer` or `async_bearer`, of the service."""

    def in_threads(token: str, access: Access, maintains: Maintains | None) -> Subject:
        with mintage.Client(service.address) as client:
            return bearer(client, token, access, maintains=maintains)

    async def in_a_loop(token: str, access: Access, maintains: Maintains | None) -> Subject:
        async with mintage.aio.Client(service.address) as client:
            return await async_bearer(client, token, access, maintains=maintains)

    if request.param == "threads":
        return in_threads
    return lambda *asked: asyncio.run(in_a_loop(*asked))


def test_a_publishers_token_needs_no_maintainer(
    whose: Whose, service: Service, issuer: Issuer
) -> None:
    with mintage.Client(service.address) as client:
        token = client.mint_for_publisher(issuer.id_token(AUDIENCE), [publisher(issuer)]).token
    access = Access(PROJECT, ("11",))
    assert whose(token, access, None) == Subject(publisher_id="11")
    with pytest.raises(NotAdmitted) as refused:
        whose(token, Access(PROJECT, ("12",)), lambda *_: True)
    assert refused.value.response.status == 403


def test_a_users_token_is_good_where_the_index_says_that_they_maintain_the_project(
    whose: Whose, service: Service
) -> None:
    with mintage.Client(service.address) as client:
        token = client.mint_for_user("alice", lifetime=timedelta(minutes=15)).token
    asked: list[tuple[str, Project]] = []

    def maintains(user: str, project: Project) -> bool:
        asked.append((user, project))
        return True

    assert whose(token, Access(PROJECT), maintains) == Subject(user_id="alice")
    assert asked == [("alice", PROJECT)]
    for refuses, access in [
        (None, Access(PROJECT)),
        (lambda *_: False, Access(PROJECT)),
        (lambda *_: True, Access()),
    ]:
        with pytest.raises(NotAdmitted, match="does not maintain this project") as refused:
            whose(token, access, refuses)
        assert refused.value.response.status == 403


def test_a_user_whose_token_is_refused_is_not_even_looked_up(
    whose: Whose, service: Service
) -> None:
    with mintage.Client(service.address) as client:
        minted = client.mint_for_user("alice", lifetime=timedelta(minutes=15))
        token = client.attenuate(minted.token, [mintage.ProjectNames(("elsewhere",))]).token
    for bad in (token, "pypi-x"):
        with pytest.raises(NotAdmitted) as refused:
            whose(bad, Access(PROJECT), lambda *_: pytest.fail("asked"))
        assert refused.value.response.status == 403


def test_without_an_answer_nothing_is_admitted() -> None:
    with mintage.Client("127.0.0.1:1", timeout=0.5) as client:
        with pytest.raises(NotAdmitted) as refused:
            bearer(client, "pypi-x", Access(PROJECT), maintains=lambda *_: True)
    assert refused.value.response.status == 503
