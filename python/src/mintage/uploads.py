"""Uploads by token: is this form's file allowed, and whose token is it?

Small indexes store what a form names, and serve a file under whatever project its *name* looks
like. So before a token may open the door, name, version and file name must say the same, once
each: otherwise a token for one project uploads a file that another project's users install.

`read` reads a form that the server has already parsed; it isn't a parser of its own, because two
parsers that disagree are a hole. `bearer` asks Mintage whose token may do what its bearer wants
to do, `async_bearer` the same in an event loop; `admit` is for a server whose publishers stand
in a file. All raise `NotAdmitted` with the response to send. The example index and the
integrations with pypiserver and devpi-server are made of these.

Needs the package `packaging`, which such servers bring (`pip install mintage[server]`).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

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
from ._model import Access, Denial, Project, Requester, Subject, Verification
from .pep807._payload import address
from .pep807._problems import as_sentence, internal, problem
from .publishers import Publishers

if TYPE_CHECKING:
    from . import aio

__all__ = [
    "Maintains",
    "NotAdmitted",
    "Upload",
    "admit",
    "async_bearer",
    "bearer",
    "credentials",
    "hold_length",
    "mistaken",
    "read",
    "read_mixed",
    "requester",
]

_CHUNK = 1 << 20
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,255}")
_ONCE = (":action", "name", "version")
_MAX_USER_AGENT = 512

Maintains = Callable[[str, Project], bool]
"""Whether the user with this id maintains the project."""


class NotAdmitted(Exception):
    """The upload must not be stored; `response` says why, in PEP 807's form."""

    def __init__(self, response: pep807.Response) -> None:
        super().__init__(response.sentence)
        self.response = response


@dataclass(frozen=True)
class Upload:
    """One wheel or source distribution that is to be stored.

    `project` is normalized (PEP 503), `version` too (PEP 440); `sha256` is that of the file's
    bytes, whatever digest the form claims. `content` is the very file that was looked at, and
    stands at its beginning.
    """

    project: str
    version: str
    filename: str
    sha256: bytes
    content: BinaryIO = field(repr=False, compare=False)

    def access(self, project: Project, publisher_ids: Iterable[str]) -> Access:
        """What its bearer wants to do, for `bearer`. `project` is the index's own, of this name;
        the publishers are those that are registered to it at this moment."""
        return Access(project, tuple(publisher_ids), self.version, self.filename, self.sha256)


def credentials(authorization: str | None) -> str:
    """The upload token in an `Authorization` header, unchecked. Raises NotAdmitted (401).

    Before the form is read: whoever brings none needn't send a file.
    """
    token = pep807.upload_token(authorization)
    if token is None:
        raise NotAdmitted(pep807.refused())
    return token


def hold_length(content_length: str | None, most: int) -> None:
    """Raises NotAdmitted for a request that is longer than `most` bytes (413), or doesn't say how
    long it is (411). The server holds a request to the length that it says."""
    if content_length is None or not re.fullmatch(r"[0-9]{1,19}", content_length):
        sentence = "The upload has to say how long it is."
        raise NotAdmitted(problem(411, "length-required", sentence))
    if int(content_length) > most:
        sentence = "The upload is larger than this index takes."
        raise NotAdmitted(problem(413, "content-too-large", sentence))


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
    if [name for name, _, _ in parts] != ["content"]:
        raise mistaken("an upload brings exactly one file, as `content`")
    _, filename, content = parts[0]
    project, version = _released(filename)
    if canonicalize_name(said["name"]) != project:
        raise mistaken("the file's name is that of another project than the form's")
    if _version(said["version"]) != version:
        raise mistaken("the file's name is that of another version than the form's")
    return Upload(project, str(version), filename, _sha256(content), content)


def read_mixed(items: Iterable[tuple[str, Any]]) -> Upload:
    """As `read`, for a form whose fields and files come mixed: Starlette's `form.multi_items()`
    and WebOb's `POST.items()`. What isn't text is a file, and has `filename` and `file`."""
    items = list(items)
    return read(
        [(name, value) for name, value in items if isinstance(value, str)],
        [
            (name, value.filename or "", value.file)
            for name, value in items
            if not isinstance(value, str)
        ],
    )


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
    access = upload.access(Project(id=upload.project, name=upload.project), registered)
    subject = bearer(client, token, access, requester=requester, index=index)
    if subject.publisher_id is None or subject.publisher_id not in registered:
        message = "the upload token is not that of a publisher of this project"
        raise NotAdmitted(_denied(Reason.CAVEAT_PUBLISHER, message))
    return subject.publisher_id


def bearer(
    client: Client,
    token: str,
    access: Access,
    *,
    maintains: Maintains | None = None,
    requester: Requester = Requester(),
    index: str = "",
) -> Subject:
    """Whose token it is, if that lets its bearer do this. Raises NotAdmitted.

    A publisher's token is held by Mintage against `access.publisher_ids`. Which user maintains the
    project only the index knows: `maintains` is asked for a user's token, after Mintage has
    allowed it. Without it no user's token is good. An empty `index` is the client's own.
    """
    try:
        answer = client.verify(token, access, requester=requester, index=index or None)
    except Error as error:
        raise NotAdmitted(pep807.refused(error)) from error
    return _subject(answer, access, maintains)


async def async_bearer(
    client: aio.Client,
    token: str,
    access: Access,
    *,
    maintains: Maintains | None = None,
    requester: Requester = Requester(),
    index: str = "",
) -> Subject:
    """As `bearer`, for an event loop; `maintains` runs in a thread and may wait."""
    try:
        answer = await client.verify(token, access, requester=requester, index=index or None)
    except Error as error:
        raise NotAdmitted(pep807.refused(error)) from error
    return await asyncio.to_thread(_subject, answer, access, maintains)


def _subject(answer: Verification, access: Access, maintains: Maintains | None) -> Subject:
    if not answer.allowed:
        raise NotAdmitted(pep807.refused(answer))
    subject = answer.token.subject if answer.token else None
    if subject is None:
        raise NotAdmitted(internal("the service allowed an access and didn't say whose token"))
    if subject.user_id is not None:
        project = access.project
        if maintains is None or project is None or not maintains(subject.user_id, project):
            message = "the token's user does not maintain this project"
            raise NotAdmitted(_denied(Reason.CAVEAT_USER, message))
    return subject


def _denied(reason: Reason, message: str) -> pep807.Response:
    denials = (Denial(reason, message),)
    return pep807.refused(Verification(allowed=False, denials=denials))


def requester(remote_address: str | None, user_agent: str | None) -> Requester:
    """Who uploads, within the service's bounds."""
    agent = (user_agent or "").encode("ascii", "replace")[:_MAX_USER_AGENT].decode("ascii")
    return Requester(ip=address(remote_address or ""), user_agent=agent)


def _once(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    said: dict[str, str] = {}
    for name, value in fields:
        if name not in _ONCE:
            continue
        if name in said or not isinstance(value, str):
            # Servers differ in which one they take.
            raise mistaken(f"the form has the field {name!r} more than once")
        said[name] = value
    for name in _ONCE:
        if name not in said:
            raise mistaken(f"the form lacks the field {name!r}")
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
