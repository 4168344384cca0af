"""The example index as a process, and a look into what it keeps."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from example_index import Database

from mintage import Project
from packaging.utils import canonicalize_name

from .certificates import Certificate
from .places import INTEGRATIONS, PACKAGE
from .processes import PATIENCE, Server, free_port


class ExampleIndex:
    """The example index as its README starts it, over HTTP or, with a certificate, HTTPS."""

    def __init__(
        self,
        folder: Path,
        mintage: str,
        *,
        certificate: Certificate | None = None,
        host: str = "localhost",
        port: int = 0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._mintage = folder / "index.sqlite", mintage
        self.port = port or free_port()
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://{host}:{self.port}" if not port else f"{scheme}://{host}"
        self.upload_url = f"{self.url}/legacy/"
        self.simple_url = f"{self.url}/simple/"
        self.database = Database(self._file)
        command: list[str | Path] = [sys.executable, "-m", *_serving(), "--port", str(self.port)]
        if certificate:
            command += ["--ssl-certfile", certificate.certificate, "--ssl-keyfile", certificate.key]
        self._server = Server(command, folder / "index.log", env=self.environment)
        self._server.wait_until(self._is_up, "the example index is up")

    @property
    def command(self) -> list[str | Path]:
        """What its README's commands begin with."""
        return [sys.executable, "-m", "example_index"]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PYTHONPATH": os.pathsep.join([str(INTEGRATIONS), str(PACKAGE)]),
            "INDEX_DATABASE": str(self._file),
            "INDEX_MINTAGE": self._mintage,
        }

    def create_project(self, name: str, user: str) -> Project:
        """A project that is there, whoever may publish it."""
        query = "INSERT INTO projects (name, normalized, user) VALUES (:name, :normalized, :user)"
        self.database.ask(query, name=name, normalized=canonicalize_name(name), user=user)
        project = self.database.project(name)
        assert project is not None
        return project

    def stop(self) -> None:
        self._server.stop()

    def log(self) -> str:
        return self._server.log.read_text()

    def uploads(self) -> dict[str, bytes]:
        """What was uploaded, by file name."""
        with closing(sqlite3.connect(self._file, timeout=PATIENCE)) as sql:
            return dict(sql.execute("SELECT filename, content FROM files"))

    def digests(self, project: Project) -> list[str]:
        """The SHA-256 of each of the project's files."""
        query = "SELECT sha256 FROM files WHERE project = :id"
        return [digest for (digest,) in self.database.ask(query, id=project.id)]

    def reports(self, project: Project) -> int:
        """How many reports of refused jobs are kept for the project."""
        query = "SELECT count(*) FROM reports WHERE project = :id"
        return int(self.database.ask(query, id=project.id)[0][0])

    @contextmanager
    def broken(self) -> Iterator[None]:
        """Meanwhile the index's own database is of no use to it."""
        names = ("projects", "mislaid"), ("publishers", "mislaid_too")
        self._rename(names)
        yield
        self._rename([(new, old) for old, new in names])

    def _rename(self, names: Iterable[tuple[str, str]]) -> None:
        with closing(sqlite3.connect(self._file, timeout=PATIENCE)) as sql, sql:
            for old, new in names:
                sql.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def _is_up(self) -> bool:
        return "Uvicorn running" in self.log()


def _serving() -> list[str]:
    """The command of the README that serves the index."""
    readme = (INTEGRATIONS / "example_index" / "README.md").read_text()
    [line] = re.findall(r"^uvicorn .*", readme, re.MULTILINE)
    return shlex.split(line)
