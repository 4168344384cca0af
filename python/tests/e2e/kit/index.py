"""The example index as a process, and a look into what it keeps."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from example_index.database import Database

from .certificates import Certificate
from .places import INTEGRATIONS, PACKAGE
from .processes import PATIENCE, Server, free_port


class ExampleIndex:
    """`python -m example_index serve`, over HTTP or, with a certificate, HTTPS."""

    def __init__(
        self,
        folder: Path,
        mintage: str,
        *,
        certificate: Certificate | None = None,
        host: str = "localhost",
        port: int = 0,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://{host}:{self.port}" if not port else f"{scheme}://{host}"
        self.upload_url = f"{self.url}/legacy/"
        self.simple_url = f"{self.url}/simple/"
        self.database = Database(folder / "index.sqlite")
        tls: list[str | Path] = []
        if certificate:
            tls = ["--certificate", certificate.certificate, "--key", certificate.key]
        self._server = Server(
            [*self.command, "--mintage", mintage, "serve", "--port", str(self.port), *tls],
            folder / "index.log",
            env=self.environment,
        )
        self._server.wait_until(self._is_up, "the example index is up")

    @property
    def command(self) -> list[str | Path]:
        return [sys.executable, "-m", "example_index", "--data", self.folder]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": os.pathsep.join([str(INTEGRATIONS), str(PACKAGE)])}

    def stop(self) -> None:
        self._server.stop()

    def log(self) -> str:
        return self._server.log.read_text()

    def uploads(self) -> dict[str, bytes]:
        """What was uploaded, by file name; fails where bytes lie about that no upload has."""
        with closing(sqlite3.connect(self.folder / "index.sqlite", timeout=PATIENCE)) as sql:
            names = dict(sql.execute("SELECT filename, stored_as FROM files"))
        stored = {path.name: path.read_bytes() for path in (self.folder / "files").iterdir()}
        assert set(stored) == set(names.values())
        return {filename: stored[name] for filename, name in names.items()}

    @contextmanager
    def broken(self) -> Iterator[None]:
        """Meanwhile the index's own database is of no use to it."""
        names = ("projects", "mislaid"), ("publishers", "mislaid_too")
        self._rename(names)
        yield
        self._rename([(new, old) for old, new in names])

    def _rename(self, names: Iterable[tuple[str, str]]) -> None:
        with closing(sqlite3.connect(self.folder / "index.sqlite", timeout=PATIENCE)) as sql, sql:
            for old, new in names:
                sql.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def _is_up(self) -> bool:
        return "Uvicorn running" in self.log()
