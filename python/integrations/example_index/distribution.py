"""The file of an upload: what it has to be before anybody asks whether it may be uploaded.

Its name never becomes a path: on the disk it has one of the index's own making. Nothing here looks
inside the file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version
from starlette.datastructures import FormData, UploadFile

_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}(\.whl|\.tar\.gz)")


class Unacceptable(Exception):
    """The upload isn't what it has to be; the text says to its user why."""


@dataclass(frozen=True)
class Distribution:
    """A wheel or an sdist whose file name, form and digest agree.

    `sha256` is that of the bytes that came, not what the form says of them.
    """

    name: str
    version: str
    filename: str
    sha256: bytes
    content: BinaryIO

    @classmethod
    def of_form(cls, form: FormData) -> Distribution:
        """Raises Unacceptable."""
        if _field(form, ":action") != "file_upload":
            raise Unacceptable("Only uploads of files are served here.")
        content = _file(form)
        filename = content.filename or ""
        name, version = _parsed(filename)
        if canonicalize_name(_field(form, "name")) != name:
            raise Unacceptable("The file's name is that of another project.")
        if not _same_version(_field(form, "version"), version):
            raise Unacceptable("The file's name is that of another version.")
        sha256 = _digest(content.file)
        if form.get("sha256_digest", sha256.hex()) != sha256.hex():
            raise Unacceptable("The file isn't the one that was sent: its SHA-256 differs.")
        return cls(name, str(version), filename, sha256, content.file)

    def save(self, path: Path) -> None:
        """Writes the file, and comes back once it is on the disk."""
        self.content.seek(0)
        with path.open("xb") as target:
            shutil.copyfileobj(self.content, target)
            target.flush()
            os.fsync(target.fileno())


def _file(form: FormData) -> UploadFile:
    values = form.getlist("content")
    if len(values) != 1 or not isinstance(values[0], UploadFile):
        raise Unacceptable("The upload has to have exactly one file.")
    return values[0]


def _field(form: FormData, name: str) -> str:
    """The one value of a field: of two, somebody else might take the other."""
    values = form.getlist(name)
    if len(values) != 1 or not isinstance(values[0], str):
        raise Unacceptable("The upload has to name one project, one version and one file.")
    return values[0]


def _parsed(filename: str) -> tuple[str, Version]:
    """The project's normalized name and the version."""
    if not _FILENAME.fullmatch(filename):
        raise Unacceptable("The file's name isn't that of a wheel or a .tar.gz sdist.")
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)[:2]
        return parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise Unacceptable("The file's name isn't that of a wheel or a .tar.gz sdist.") from error


def _same_version(text: str, version: Version) -> bool:
    try:
        return Version(text) == version
    except InvalidVersion:
        return False


def _digest(content: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    content.seek(0)
    while chunk := content.read(1 << 20):
        digest.update(chunk)
    return digest.digest()
