"""Upload forms: one file whose name says what the form says, and nothing else."""

from __future__ import annotations

import hashlib
import io
import json

import pytest

from mintage.uploads import NotAdmitted, Upload, read, requester

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
