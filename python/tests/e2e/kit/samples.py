"""Distributions to upload, made byte by byte: no build backend runs."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

_EPOCH = (2026, 1, 1, 0, 0, 0)


def wheel(folder: Path, project: str, version: str = "1.0", text: str = "") -> Path:
    """A wheel of one module, which holds this text; the same arguments make the same bytes."""
    name = _escaped(project)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"TEXT = {text!r}\n".encode(),
        f"{info}/METADATA": _metadata(project, version),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for filename, content in files.items():
            archive.writestr(zipfile.ZipInfo(filename, _EPOCH), content)
    return path


def sdist(folder: Path, project: str, version: str = "1.0") -> Path:
    """A source distribution; the same arguments make the same bytes."""
    base = f"{_escaped(project)}-{version}"
    files = {
        f"{base}/PKG-INFO": _metadata(project, version),
        f"{base}/pyproject.toml": f'[project]\nname = "{project}"\n'.encode(),
    }
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for filename, content in files.items():
            member = tarfile.TarInfo(filename)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    path = folder / f"{base}.tar.gz"
    path.write_bytes(gzip.compress(tar_bytes.getvalue(), mtime=0))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _escaped(project: str) -> str:
    return project.lower().replace("-", "_").replace(".", "_")


def _metadata(project: str, version: str) -> bytes:
    lines = [
        "Metadata-Version: 2.3",
        f"Name: {project}",
        f"Version: {version}",
        "Summary: A sample to upload",
        "Classifier: Programming Language :: Python :: 3",
        "Description-Content-Type: text/plain",
        "",
        "Nothing is in it.",
        "",
    ]
    return "\n".join(lines).encode()


def _record(files: dict[str, bytes], itself: str) -> bytes:
    lines = []
    for filename, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        lines.append(f"{filename},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{itself},,\n"]).encode()
