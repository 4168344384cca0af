"""Uploads by token to an index server that has no such thing: is this form's file allowed?

Small indexes store what a form names, and serve a file under whatever project its *name* looks
like. So before a token may open the door, name, version and file name must say the same, once
each: otherwise a token for one project uploads a file that another project's users install.

`read` reads a form that the server has already parsed; it isn't a parser of its own, because two
parsers that disagree are a hole. `admit` asks Mintage. Both raise `NotAdmitted` with the response
to send. The integrations with pypiserver and devpi-server are made of these two.

Needs the package `packaging`, which such servers bring (`pip install mintage[server]`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from . import pep807
from ._client import Client
from ._errors import Error, Reason
from ._model import Access, Denial, Project, Requester, Verification
from .pep807._payload import address
from .pep807._problems import as_sentence, problem
from .publishers import Publishers

__all__ = ["NotAdmitted", "Upload", "admit", "mistaken", "read", "requester"]

_CHUNK = 1 << 20
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,255}")
_ONCE = (":action", "name", "version")
_MAX_USER_AGENT = 512


class NotAdmitted(Exception):
    """The upload must not be stored; `response` says why, in PEP 807's form."""

    def __init__(self, response: pep807.Response) -> None:
        super().__init__(response.sentence)
        self.response = response


@dataclass(frozen=True)
class Upload:
    """One wheel or source distribution that is to be stored.

    `project` is normalized (PEP 503), `version` too (PEP 440); `sha256` is that of the file's
    bytes, whatever digest the form claims.
    """

    project: str
    version: str
    filename: str
    sha256: bytes


def read(fields: Iterable[tuple[str, str]], files: Iterable[tuple[str, str, BinaryIO]]) -> Upload:
    """The upload of a form.

    `fields` are the text fields and `files` the parts that are files, as (field, file name,
    content), in their order and with repetitions. The content is read in pieces and rewound.
    Raises NotAdmitted (400) unless it is exactly one file whose name fits the fields.
    """
    said = _once(fields)
    if said[":action"] != "file_upload":
        raise mistaken("an upload token is good for uploading files and nothing else")
    parts = list(files)
    if [field for field, _, _ in parts] != ["content"]:
        raise mistaken("an upload brings exactly one file, as `content`")
    _, filename, content = parts[0]
    project, version = _released(filename)
    if canonicalize_name(said["name"]) != project:
        raise mistaken("the file's name is that of another project than the form's")
    if _version(said["version"]) != version:
        raise mistaken("the file's name is that of another version than the form's")
    return Upload(project, str(version), filename, _sha256(content))


def admit(
    client: Client,
    publishers: Publishers,
    upload: Upload,
    token: str,
    *,
    requester: Requester = Requester(),
    index: str = "",
) -> str:
    """The id of the publisher whose token may make this upload. Raises NotAdmitted.

    `publishers` are those of the index that is uploaded to, so a token of another index's
    publisher isn't good here though Mintage may hold both for one.
    """
    registered = publishers.of_project(upload.project)
    access = Access(
        project=Project(id=upload.project, name=upload.project),
        publisher_ids=registered,
        version=upload.version,
        filename=upload.filename,
        sha256=upload.sha256,
    )
    try:
        answer = client.verify(token, access, requester=requester, index=index)
    except Error as error:
        raise NotAdmitted(pep807.refused(error)) from error
    if not answer:
        raise NotAdmitted(pep807.refused(answer))
    subject = answer.token.subject if answer.token else None
    publisher_id = subject.publisher_id if subject else None
    if publisher_id is None or publisher_id not in registered:
        # A user's token, say, that somebody else minted on the same index of Mintage's.
        message = "the upload token is not that of a publisher of this project"
        denial = Denial(Reason.CAVEAT_PUBLISHER, message)
        raise NotAdmitted(pep807.refused(Verification(allowed=False, denials=(denial,))))
    return publisher_id


def requester(remote_address: str | None, user_agent: str | None) -> Requester:
    """Who uploads, within the service's bounds."""
    agent = (user_agent or "").encode("ascii", "replace")[:_MAX_USER_AGENT].decode("ascii")
    return Requester(ip=address(remote_address or ""), user_agent=agent)


def _once(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    said: dict[str, str] = {}
    for field, value in fields:
        if field not in _ONCE:
            continue
        if field in said or not isinstance(value, str):
            # Servers differ in which one they take.
            raise mistaken(f"the form has the field {field!r} more than once")
        said[field] = value
    for field in _ONCE:
        if field not in said:
            raise mistaken(f"the form lacks the field {field!r}")
    return said


def _released(filename: str) -> tuple[str, Version]:
    if _FILENAME.fullmatch(filename) is None:
        raise mistaken("the file's name has characters that no distribution's has")
    try:
        if filename.endswith(".whl"):
            wheel_name, version, _, _ = parse_wheel_filename(filename)
            return wheel_name, version
        return parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion) as error:
        message = "the file's name is neither a wheel's nor a source distribution's"
        raise mistaken(message) from error


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _sha256(content: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    content.seek(0)
    while piece := content.read(_CHUNK):
        digest.update(piece)
    content.seek(0)
    return digest.digest()


def mistaken(message: str) -> NotAdmitted:
    """What to raise where the server itself reads an upload otherwise: 400 with a sentence."""
    return NotAdmitted(problem(400, "invalid-upload", as_sentence(message)))
