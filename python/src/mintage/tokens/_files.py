"""The restrictions that bind a token to files: what twine is about to upload, and nothing else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from .._caveats import Caveat, Digests, Filenames, ProjectNames, Versions
from . import _version
from ._asked import project_name
from ._errors import TokenError, asked
from ._show import quoted

__all__ = ["caveats_for_files", "release"]

_CHUNK_BYTES = 1 << 20


def caveats_for_files(
    paths: Iterable[str | os.PathLike[str]],
) -> tuple[ProjectNames, Versions, Filenames, Digests]:
    """Caveats that allow these wheels and sdists alone, by project, version, name and SHA-256.

    Each caveat allows any of its values, so what the token is bound to are the digests: the
    rest lets a refusal say what differs. Raises `TokenError` for a file that is not named as a
    wheel or an sdist, and `OSError` for one that can't be read.
    """
    projects, versions, names, digests = [], [], [], []
    for path in map(Path, paths):
        project, version = release(path.name)
        projects.append(project)
        versions.append(version)
        names.append(path.name)
        digests.append(_sha256(path))
    if not names:
        raise asked("there is no file to narrow the token to")
    return (
        ProjectNames(_unique(projects)),
        Versions(_unique(versions)),
        Filenames(_unique(names)),
        Digests(tuple(dict.fromkeys(digests))),
    )


def release(name: str) -> tuple[str, str]:
    """Project and version in their normal spelling, as a wheel's or an sdist's name has them."""
    try:
        project, version = _parts(name)
        normal_version = _version.normal(version)
        if normal_version is not None:
            return project_name(project), normal_version
    except (TokenError, ValueError):
        pass
    raise asked(f"{quoted(name)} is not named as a wheel or an sdist")


def _parts(name: str) -> tuple[str, str]:
    if name.endswith(".whl"):
        project, version, *tags = name[: -len(".whl")].split("-")
        # Three tags, and perhaps a build number before them.
        if len(tags) not in (3, 4):
            raise ValueError(name)
        return project, version
    for suffix in (".tar.gz", ".zip"):
        if name.endswith(suffix):
            project, hyphen, version = name[: -len(suffix)].rpartition("-")
            return project, version
    raise ValueError(name)


def _sha256(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
